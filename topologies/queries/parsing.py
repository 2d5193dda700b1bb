"""A question about a metric as people write it: names and texts, as of a URL."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.granularities import text_of
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.resolve import in_zone
from metric_registry.values import granularity
from streams.event_time.windows import EARLIEST, LATEST, SECOND
from streams.queries.answers import Bound
from streams.queries.parsing import MOST_ROWS, MOST_WAIT_MS, behind_in, bound_in, number_in, time_in
from streams.queries.questions import QueryError
from topologies.cardinality import share_of
from topologies.epochs import LIVE
from topologies.preaggregate.columns import PaneKey
from topologies.queries.questions import MetricQuestion
from topologies.windows import level_of

OPTIONS = (
    "granularity", "windows", "domain", "from", "to", "limit", "next", "min_position", "wait_ms",
    "null",
)  # fmt: skip
WINDOWS = {"open": (True, False), "closed": (False, True), "all": (True, True)}


@dataclass(frozen=True, slots=True)
class Asking:
    """A question, how many rows and how long to wait for what it must be valid at."""

    question: MetricQuestion
    limit: int
    bound: Bound
    wait_ms: int


def found_metric(
    definitions: Iterable[ResolvedDefinition],
    name: str,
    derived: Iterable[ResolvedDerived] = (),
) -> ResolvedDefinition:
    """The definition of this name. Raises `QueryError` with those that exist.

    derived: What the store computes, which has no windows of its own.
    """
    by_name = {definition.name: definition for definition in definitions}
    if name in by_name:
        return by_name[name]
    for one in derived:
        if one.name == name:
            inputs = " and ".join(each.name for each in one.inputs)
            message = (
                f"{name!r} is derived ({one.formula}): the store computes it from rows that are "
                f"published; of windows that are open ask {inputs}"
            )
            raise QueryError(404, "derived-metric", message, metrics=[e.name for e in one.inputs])
    close = difflib.get_close_matches(name, by_name, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    message = f"no definition is called {name!r}{hint}; there are {', '.join(by_name) or 'none'}"
    raise QueryError(404, "unknown-metric", message, metrics=list(by_name))


def parse(definition: ResolvedDefinition, given: Mapping[str, str]) -> Asking:
    """What is asked, by names and texts. Raises `QueryError`.

    A name is a label (or `label.NAME`, where a label is called like an option) or an option:
    `granularity` (the finest, if it is not given), `windows` (open, closed or all), `domain`,
    `from` and `to` (windows with ends in (from, to]; unix ns or RFC 3339), `limit`, `next` (of the
    page before), `min_position` (`topic/partition:offset`, several with commas), `wait_ms`, `null`
    (labels that a group must not have, several with commas).
    """
    which = given.get("windows", "open")
    if which not in WINDOWS:
        raise _wrong("windows", which, list(WINDOWS))
    question = MetricQuestion(
        definition.name,
        _level(definition, given),
        PaneKey(definition.finest * SECOND, definition.grace_ns, definition.corrections_ns).text(),
        given.get("domain", LIVE),
        _labels(definition, given),
        time_in(given, "from", EARLIEST),
        time_in(given, "to", LATEST),
        *WINDOWS[which],
        behind_in(given),
    )
    limit = number_in(given, "limit", 100, 1, MOST_ROWS)
    wait_ms = number_in(given, "wait_ms", 2_000, 0, MOST_WAIT_MS)
    return Asking(question, limit, bound_in(given), wait_ms)


def _level(definition: ResolvedDefinition, given: Mapping[str, str]) -> int:
    sizes = definition.granularities
    size = sizes[0]
    if (text := given.get("granularity")) is not None:
        try:
            size = in_zone(granularity(text), definition.zone)
        except PydanticCustomError as error:
            message = f"granularity={text!r}: {error.message()}"
            raise QueryError(400, "wrong-option", message) from error
        if size not in sizes:
            raise _wrong("granularity", text, list(map(text_of, sizes)))
    return level_of(size, definition.zone_rules)


def _labels(definition: ResolvedDefinition, given: Mapping[str, str]) -> dict[str, str | None]:
    known = {"tenant", "otel.metric.overflow", "tidemill.shard", *definition.keep}
    found: dict[str, str | None] = {}
    for name, text in given.items():
        label = name.removeprefix("label.")
        if name not in OPTIONS:
            found[_known(definition, label, known)] = text
    for label in filter(None, given.get("null", "").split(",")):
        found[_known(definition, label, known)] = None
    return found


def _known(definition: ResolvedDefinition, label: str, known: set[str]) -> str:
    if label not in known:
        labels = ["tenant", *definition.keep]
        message = (
            f"{label!r} is neither a label of {definition.name} nor an option; labels are "
            f"{', '.join(labels)}, options are {', '.join(OPTIONS)}"
        )
        raise QueryError(400, "wrong-label", message, labels=labels)
    return label


def _wrong(option: str, text: str, known: list[str]) -> QueryError:
    message = f"{option}={text!r}: it is one of {', '.join(known)}"
    return QueryError(400, "wrong-option", message, known=known)


def shares(plan: Plan, metric: str) -> dict[str, int]:
    """By version of a metric, the groups of a tenant that a virtual shard keeps in a window."""
    return {
        definition.version: share_of(definition.series_limit).most
        for definition in plan.definitions
        if definition.name == metric
    }
