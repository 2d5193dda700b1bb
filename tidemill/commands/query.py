"""`tidemill query`."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic_core import PydanticCustomError

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.durations import DurationError, parse
from metric_registry.explain import reads
from metric_registry.granularities import (
    Granularity,
    is_calendar,
    is_hopping,
    size_of,
    step_of,
    text_of,
)
from metric_registry.plan import ResolvedDefinition
from metric_registry.resolve import in_zone
from metric_registry.values import granularity
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import USAGE, CommandError
from tidemill.commands.output import Output, emit, note
from tidemill.commands.query_derived import query_derived
from tidemill.commands.query_open import query_open
from tidemill.commands.store import NoTables, store_client
from tidemill.commands.why import definition_of, derived_of, no_worker
from tidemill.holding import explain
from tidemill.settings import Settings
from tidemill.situation import ask
from topologies.sink.histograms import KINDS
from topologies.sink.queries import DEFAULT_LIMIT, RollupRow, query_rollups

_COLUMNS = ("window_end", "labels", "value", "unit", "points", "late", "revision")


def query(
    name: str,
    *,
    resolution: str | None = None,
    open_: Annotated[bool, Parameter(name="--open", negative=())] = False,
    since: str | None = None,
    until: str | None = None,
    where: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    quantile: Annotated[tuple[float, ...], Parameter(negative=())] = (),
    limit: int = DEFAULT_LIMIT,
    settings: SettingsFile = None,
    output: Output = "table",
) -> int:
    """The latest revision of a definition's windows, from the store; or what is open, so far.

    With --open the workers are asked what windows hold that have not sealed: exactly what has
    arrived, and nothing that anybody else counts. Over HTTP: GET /windows/NAME of any worker.

    Parameters
    ----------
    name:
        The definition.
    resolution:
        Size of the windows as the definition writes it, such as 10s, 1h, 1mo or 5m/1m; its finest
        if not given.
    open_:
        What open windows hold so far, in place of what has sealed.
    since:
        How far back to look, as a duration before now, or a time such as 2014-02-14T14:30:00Z; 10m
        if not given.
    until:
        Where to stop, likewise; now if not given.
    where:
        Only groups with this label, as LABEL=VALUE.
    quantile:
        Of a definition whose results are histograms: these quantiles of each, such as 0.99; if none
        is given, 0.5, 0.9 and 0.99.
    limit:
        Rows at most.
    """
    deployment = settings_of(settings)
    derived = derived_of(deployment, name)
    if derived is not None and not open_:
        if quantile:
            raise CommandError(f"--quantile: the results of {name} are numbers", USAGE)
        labels = dict(_label(word) for word in where)
        now = datetime.now(UTC)
        between = (_moment(since or "10m", now), _moment(until or "0s", now))
        size = _granularity(derived, resolution)
        return query_derived(deployment, derived, size, between, labels, limit, output)
    definition = definition_of(deployment, name)
    quantiles = _quantiles(definition, quantile)
    size = _granularity(definition, resolution)
    names = (f"p{(Decimal(repr(q)) * 100).normalize():f}" for q in quantiles)
    named = dict(zip(names, quantiles, strict=True))
    labels = dict(_label(word) for word in where)
    if open_:
        if since is not None or until is not None:
            raise CommandError("--open shows every open window: --since and --until are of "
                               "sealed ones", USAGE)  # fmt: skip
        return query_open(deployment, definition, size, labels, named, limit, output)
    now, since = datetime.now(UTC), since or "10m"
    between = (_moment(since, now), _moment(until or "0s", now))
    rows = _ask_store(deployment, definition, size, between, labels, limit)
    columns = _COLUMNS
    if quantiles:
        columns = ("window_end", "labels", *_MOMENTS, *named, "unit", "points", "late", "revision")
        emit([_shaped(row, named) for row in rows], columns, output)
    else:
        emit([_printable(row) for row in rows], columns, output)
    if not rows:
        _say_why(deployment, definition, size, since)
    elif len(rows) == limit:
        note(f"the first {limit} rows; ask for more with --limit")
    return 0


def _ask_store(
    settings: Settings,
    definition: ResolvedDefinition,
    size: Granularity,
    between: tuple[datetime, datetime],
    labels: dict[str, str],
    limit: int,
) -> list[RollupRow]:
    try:
        with store_client(settings) as client:
            return query_rollups(
                client,
                definition.name,
                size_of(size),
                *between,
                labels,
                hop=step_of(size) if is_hopping(size) else 0,
                zone=definition.zone if is_calendar(size) else "",
                limit=limit,
                histograms=definition.instrument in KINDS,
            )
    except NoTables:
        return []


def _say_why(
    settings: Settings, definition: ResolvedDefinition, granularity: Granularity, since: str
) -> None:
    size, finest = text_of(granularity), definition.granularities[0]
    note(f"no {size} window of {definition.name} since {since}")
    situation = asyncio.run(ask(settings, definition))
    if not situation.workers:
        note(no_worker(settings))
        return
    holding = explain(situation)[0]
    for sentence in holding.sentences:
        note(sentence)
    if granularity != finest:
        note(f"a {size} window is published when it has ended; what it holds so far: --open; "
             f"finer ones come sooner: --resolution {text_of(finest)}")  # fmt: skip
    elif not holding.held:
        note(f"does an agent send {reads(definition)}? Look further back with --since")


def _granularity(
    definition: ResolvedDefinition | ResolvedDerived, given: str | None
) -> Granularity:
    if given is None:
        return definition.granularities[0]
    try:
        found = in_zone(granularity(given), definition.zone)
    except PydanticCustomError as error:
        raise CommandError(f"--resolution: {error.message()}", USAGE) from None
    if found not in definition.granularities:
        sizes = ", ".join(text_of(size) for size in definition.granularities)
        raise CommandError(f"{definition.name} has windows of {sizes}, not {given}", USAGE)
    return found


def _moment(text: str, now: datetime) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return now - timedelta(microseconds=_duration("--since and --until", text) // 1000)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _duration(flag: str, text: str) -> int:
    try:
        return parse(text)
    except DurationError as error:
        raise CommandError(f"{flag}: {error}; write it like 10s, 5m or 2d", USAGE) from None


def _label(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not sign or not name:
        raise CommandError(f"--where {word}: write LABEL=VALUE", USAGE)
    return name, value


_USUAL = (0.5, 0.9, 0.99)
_MOMENTS = ("count", "sum", "min", "max")


def _quantiles(definition: ResolvedDefinition, given: tuple[float, ...]) -> tuple[float, ...]:
    """Which are shown of a definition's results; none if they are numbers."""
    if definition.instrument in KINDS:
        for q in given:
            if not 0 <= q <= 1:
                raise CommandError(f"--quantile {q}: a quantile is within 0 and 1", USAGE)
        return given or _USUAL
    if given:
        raise CommandError(
            f"--quantile: the results of {definition.name} are numbers; quantiles are of "
            "definitions with `over_points: exponential_histogram` or `explicit_histogram`",
            USAGE,
        )
    return ()


def _shaped(row: RollupRow, quantiles: dict[str, float]) -> dict[str, Any]:
    """A row whose result is a histogram: its fields, and these quantiles of it by name."""
    found = row.histogram
    shape: dict[str, Any] = {"histogram": None}
    if found is not None:
        values = {name: found.quantile(q) for name, q in quantiles.items()}
        known = {name: None if math.isnan(value) else value for name, value in values.items()}
        said = found.said()
        shape = {name: said[name] for name in _MOMENTS} | known | {"histogram": said}
    return {name: value for name, value in _printable(row).items() if name != "value"} | shape


def _printable(row: RollupRow) -> dict[str, Any]:
    times = {
        name: getattr(row, name).astimezone(UTC).isoformat(sep=" ").removesuffix("+00:00") + "Z"
        for name in ("window_start", "window_end")
    }
    found = {name: value for name, value in asdict(row).items() if name != "histogram"}
    return found | times | {"labels": dict(row.labels)}
