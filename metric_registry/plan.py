"""What the workers run: resolved definitions, and the plan compiled from all of them together.

A plan is a value. A task stores `Plan.to_json()` in its state and gets the same plan back, on any
machine and from any file order; `Plan.hash` tells two plans apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import msgspec

from metric_registry.derive import Derivation, NamePattern, lookup_of
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.granularities import Granularity, order, step_of
from metric_registry.over_points import SUMS, result_of
from metric_registry.tables import Table

OverTime = Literal["sum", "count", "min", "max", "avg", "last", "increase", "rate"]
OverSpace = Literal["sum", "count", "min", "max", "avg", "last"]
Temporality = Literal["delta", "cumulative"]
Late = Literal["drop", "carry"]
SourceInstrument = Literal["histogram", "exponential_histogram"]
AttributeLookup = Callable[[str], str | None]
"""Gives a data point's attribute as text (`tenant`, point, scope, then resource; `resource.NAME`
asks the resource alone; what is not a string is rendered as JSON), or None where it is absent."""
Where = tuple[tuple[str, tuple[str, ...]], ...]

API_VERSION = "tidemill/v1"
PLAN_FORMAT = 4
SEMANTIC_FIELDS = (
    "name",
    "sources",
    "where",
    "source_unit",
    "source_instrument",
    "unit",
    "keep",
    "over_time",
    "over_space",
    "over_points",
    "granularities",
    "grace_ns",
    "corrections_ns",
    "series_limit",
    "beyond",
    "patterns",
    "attributes",
)
"""The fields whose change can change a published number or the identity of a row. The version is
their hash, with the rules of the zone if a granularity follows one. Where numbers go and how long
they stay (`publish`) is not among them, nor is who owns them; a plan's hash covers `publish` as
well."""


class PlanError(ValueError):
    """A serialised plan that is damaged, or was written in another format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedDefinition:
    """One definition with nothing left implicit. Times are nanoseconds where the name says so."""

    name: str
    """The definition's name, which is the name of the metric it publishes."""
    version: str
    """The first 16 hex characters of blake2b over the canonical JSON of SEMANTIC_FIELDS."""
    sources: tuple[str, ...]
    """Metric names that it reads, sorted, each once."""
    where: Where
    """Sorted (attribute, sorted values): a point matches if each attribute has one of its values.
    An absent attribute never matches."""
    source_unit: str
    """UCUM unit of the source's points that do not say theirs."""
    read_unit: str
    """UCUM unit that values are converted to when they are read. It follows from the published
    unit, or is the source's where points or streams are counted; so a version needs no more."""
    unit: str
    """UCUM unit of the published value; differs from `read_unit` where points or streams are
    counted."""
    keep: tuple[str, ...]
    """Attributes that a group keeps, sorted. `tenant` is part of every group and never listed."""
    over_time: OverTime | Literal[""]
    """What becomes of a stream's points in a window; empty where all points are taken together."""
    over_space: OverSpace | Literal[""]
    """What becomes of the streams of a group; empty where all points are taken together."""
    over_points: str = ""
    """The aggregate of all points of a group, as `over_points.spelled` writes it: `sum`, or with
    its parameter `quantile(0.95)`, one that users added with its version `apdex@1(0.5)`; empty
    where there are two steps."""
    source_instrument: SourceInstrument | Literal[""] = ""
    """What the points are that it reads; empty: numbers."""
    granularities: tuple[Granularity, ...]
    """Window sizes, finer ones first: seconds, or what `granularities` says of text."""
    grace_ns: int
    corrections_ns: int
    series_limit: int
    beyond: Literal["other"]
    publish_final: bool
    publish_upsert: bool
    publish_temporality: Temporality
    """Of the final topic's points where they are a sum."""
    publish_late: Late
    """Whether the final topic's next point carries what late points have changed."""
    publish_expire_after: tuple[tuple[Granularity, int], ...]
    """(granularity, windows without data that a series survives on the final topic), one a
    granularity, in their order."""
    retention: tuple[tuple[Granularity, int], ...]
    """(granularity, seconds that its rows are kept), one a granularity, in their order."""
    zone_rules: str = ""
    """Of the zone that calendar granularities follow, see `zones.Zone`; empty if there are none."""
    patterns: tuple[str, ...] = ()
    """Patterns of metric names that it reads as well, sorted, each once: `*` is any text."""
    attributes: tuple[Derivation, ...] = ()
    """What `where` and `keep` name that streams do not have so, sorted by name."""
    pane: int = 0
    """Seconds of the windows that are computed from points, if none of the granularities is."""

    @property
    def group_by(self) -> tuple[str, ...]:
        """The labels of a group, sorted: `keep` and `tenant`."""
        return tuple(sorted({*self.keep, "tenant"}))

    @property
    def finest(self) -> int:
        """Seconds of the windows that are computed from points: panes."""
        return self.pane or step_of(self.granularities[0])

    @property
    def zone(self) -> str:
        """The name of the zone that calendar granularities follow."""
        return self.zone_rules.partition("|")[0] or "UTC"

    @property
    def instrument(self) -> Instrument:
        """What the published metric is, by the names of OTLP's data."""
        return instrument_of(self.over_time, self.over_space, self.over_points)

    def matches(self, lookup: AttributeLookup) -> bool:
        """Whether a point of one of the sources passes `where`."""
        found = lookup_of(self.attributes, lookup)
        return all(found(attribute) in values for attribute, values in self.where)


Instrument = Literal["gauge", "sum", "histogram", "exponential_histogram"]


def instrument_of(over_time: str, over_space: str, over_points: str = "") -> Instrument:
    """What is published. All but gauges add up: those of neighbouring windows make one."""
    if over_points:
        result = result_of(over_points)
        if result != "number":
            return result
        return "sum" if over_points in SUMS else "gauge"
    sums = over_space == "sum" and over_time in ("increase", "sum", "count")
    return "sum" if sums else "gauge"


@dataclass(frozen=True, slots=True)
class Pane:
    """Definitions that share their finest granularity, so that one pass serves them."""

    seconds: int
    definitions: tuple[int, ...]
    """Indexes into Plan.definitions, ascending."""
    granularities: tuple[Granularity, ...]
    """Every granularity of these definitions, finer ones first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All definitions together, in order of name. Make one with `compile.compile_plan`.

    An index into `definitions` is what messages carry (u16); it means something only together
    with this plan's hash.
    """

    definitions: tuple[ResolvedDefinition, ...]
    derived: tuple[ResolvedDerived, ...] = ()
    """What the store computes of their rows when it is asked, in order of name."""
    hash: str = field(init=False)
    """The first 32 hex characters of blake2b over the canonical JSON of the definitions, and of
    what is derived from them."""
    panes: tuple[Pane, ...] = field(init=False, compare=False, repr=False)
    """By seconds, ascending."""
    _by_metric: Mapping[str, tuple[int, ...]] = field(init=False, compare=False, repr=False)
    _patterns: tuple[tuple[int, NamePattern], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        told: Any = [_stored(d) for d in self.definitions]
        if self.derived:
            told = {"definitions": told, "derived": list(map(asdict, self.derived))}
        object.__setattr__(self, "hash", digest(told, 32))
        object.__setattr__(self, "panes", _panes(self.definitions))
        object.__setattr__(self, "_by_metric", _by_metric(self.definitions))
        every = ((i, match) for i, one in enumerate(self.definitions) for match in one.patterns)
        object.__setattr__(self, "_patterns", tuple((i, NamePattern.of(m)) for i, m in every))

    @property
    def metrics(self) -> frozenset[str]:
        """Every metric name that some definition reads by name."""
        return frozenset(self._by_metric)

    @property
    def patterns(self) -> frozenset[str]:
        """Every pattern of metric names that some definition reads."""
        return frozenset(match for one in self.definitions for match in one.patterns)

    def candidates(self, metric: str) -> tuple[int, ...]:
        """Indexes of the definitions that read `metric`, whatever its attributes; ascending."""
        named = self._by_metric.get(metric, ())
        if not self._patterns:
            return named
        matched = {index for index, pattern in self._patterns if pattern.matches(metric)}
        return tuple(sorted(matched.union(named)))

    def matches(self, metric: str, lookup: AttributeLookup) -> tuple[int, ...]:
        """Indexes of the definitions that a stream belongs to, ascending. Called once a stream."""
        return tuple(i for i in self.candidates(metric) if self.definitions[i].matches(lookup))

    def to_json(self) -> bytes:
        """Canonical JSON: equal plans give equal bytes."""
        stored: dict[str, Any] = {"format": PLAN_FORMAT, "hash": self.hash}
        stored["definitions"] = [_stored(definition) for definition in self.definitions]
        if self.tables:
            told = self.tables.items()
            stored["tables"] = {digest: dict(table.entries) for digest, table in told}
        if self.derived:
            stored["derived"] = list(map(asdict, self.derived))
        return canonical(stored)

    @property
    def tables(self) -> dict[str, Table]:
        """The tables that definitions look up in, by digest: each once, whoever uses it."""
        return tables_of(self.definitions)

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """The plan that `to_json` wrote. Raises PlanError if it is damaged or of another format."""
        try:
            stored = _PLAN.decode(data)
        except msgspec.MsgspecError as error:
            raise PlanError(f"not a plan: {error}") from error
        if stored.format != PLAN_FORMAT:
            raise PlanError(
                f"plan of format {stored.format}, this program reads {PLAN_FORMAT}: "
                "compile it again from its definitions"
            )
        plan = cls(_with_tables(stored), stored.derived)
        if plan.hash != stored.hash:
            raise PlanError(f"plan is damaged: says hash {stored.hash}, has {plan.hash}")
        return plan


def tables_of(definitions: Iterable[ResolvedDefinition]) -> dict[str, Table]:
    """The tables that these definitions look up in, by digest."""
    made = (each for one in definitions for each in one.attributes)
    return {each.table.digest: each.table for each in made if each.table is not None}


def _with_tables(stored: _StoredPlan) -> tuple[ResolvedDefinition, ...]:
    """The definitions, with the tables that they name by digest."""
    tables = {digest: Table(entries) for digest, entries in stored.tables.items()}
    for digest, table in tables.items():
        if table.digest != digest:
            raise PlanError(f"plan is damaged: a table says digest {digest}, has {table.digest}")

    def whole(made: Derivation) -> Derivation:
        if made.table is None:
            return made
        found = tables.get(made.table.digest)
        if found is None:
            raise PlanError(f"plan is damaged: it lacks the table {made.table.digest}")
        return replace(made, table=found)

    return tuple(
        replace(one, attributes=tuple(map(whole, one.attributes)))
        if any(made.table is not None for made in one.attributes)
        else one
        for one in stored.definitions
    )


def described(definition: ResolvedDefinition) -> dict[str, Any]:
    """Every field, as JSON has it: tables by their digest."""
    fields = asdict(definition)
    fields["attributes"] = [_described(one) for one in definition.attributes]
    return fields


def _described(made: Derivation) -> dict[str, Any]:
    fields = asdict(made)
    if made.table is None:
        del fields["table"], fields["column"]
    else:
        fields["table"] = made.table.digest
    return fields


def _stored(definition: ResolvedDefinition) -> dict[str, Any]:
    """As it is written: a field that came later is there where it is used, so that plans of the
    release before are read, and have the hash that they had."""
    fields = described(definition)
    for later in ("source_instrument", "patterns", "attributes"):
        if not fields[later]:
            del fields[later]
    return fields


@dataclass(frozen=True, slots=True)
class _StoredPlan:
    format: int
    hash: str
    definitions: tuple[ResolvedDefinition, ...]
    tables: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    derived: tuple[ResolvedDerived, ...] = ()


def _named(kind: type, digest: Any) -> Any:
    """In the place of a table that is named by its digest."""
    if kind is not Table or not isinstance(digest, str):
        raise NotImplementedError(f"{kind}: {digest!r}")
    return Table.named(digest)


_PLAN = msgspec.json.Decoder(_StoredPlan, dec_hook=_named)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no white space, as UTF-8: equal values give equal bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def digest(value: Any, characters: int) -> str:
    """The first hex characters of blake2b over the canonical JSON of `value`."""
    return hashlib.blake2b(canonical(value)).hexdigest()[:characters]


def version_of(definition: Mapping[str, Any]) -> str:
    """The version of a definition, given its resolved fields by name."""
    semantic = {name: definition[name] for name in SEMANTIC_FIELDS}
    if definition["zone_rules"]:
        semantic["zone_rules"] = definition["zone_rules"]
    semantic["attributes"] = [_meant(one) for one in definition["attributes"]]
    for later in ("over_points", "source_instrument", "patterns", "attributes"):
        if not semantic[later]:  # changes no version where it is not used
            del semantic[later]
    return digest({"apiVersion": API_VERSION, **semantic}, 16)


def _meant(made: Derivation) -> dict[str, Any]:
    """What of an attribute can change a number: not what its table is called."""
    fields = _described(made)
    fields.pop("column", None)
    return fields


def _panes(definitions: tuple[ResolvedDefinition, ...]) -> tuple[Pane, ...]:
    members: dict[int, list[int]] = {}
    for index, definition in enumerate(definitions):
        members.setdefault(definition.finest, []).append(index)
    return tuple(
        Pane(
            seconds=seconds,
            definitions=tuple(indexes),
            granularities=tuple(
                sorted({g for i in indexes for g in definitions[i].granularities}, key=order)
            ),
        )
        for seconds, indexes in sorted(members.items())
    )


def _by_metric(definitions: tuple[ResolvedDefinition, ...]) -> dict[str, tuple[int, ...]]:
    readers: dict[str, list[int]] = {}
    for index, definition in enumerate(definitions):
        for metric in definition.sources:
            readers.setdefault(metric, []).append(index)
    return {metric: tuple(found) for metric, found in readers.items()}
