"""Two definitions that counted the same windows, row against row, in the store.

Where one keeps attributes that the other drops, its rows are added up (or the least, the greatest
taken) over them first, if their aggregate allows that; what it does not allow is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from metric_registry.granularities import Granularity, is_calendar, is_hopping, size_of, step_of
from metric_registry.over_points import SUMS
from metric_registry.plan import ResolvedDefinition
from metric_registry.ucum import SAME, Conversion, NoConversion
from metric_registry.units import conversion_of
from topologies.sink.histograms import COLUMNS, KINDS
from topologies.sink.queries import QueryClient
from topologies.sink.schema import Schema

TOLERANCE = 1e-9
"""Relative; of values that were added up, or converted, here. Others are equal to the bit."""
_FOLDS = {"sum": "sumKahan", "count": "sumKahan", "min": "min", "max": "max"}


@dataclass(frozen=True, slots=True)
class Way:
    """How two definitions are compared.

    Attributes:
        extra: Attributes that one of them keeps and the other does not.
        fold: ClickHouse's aggregate over them; empty: `values` says why values are not compared.
        values: Why only rows and points are compared; empty: values are.
        conversion: From the unit of the first to that of the second.
        shapes: Whether results are histograms.
    """

    extra: tuple[str, ...]
    fold: str
    values: str = ""
    conversion: Conversion = SAME
    shapes: bool = False

    @property
    def exact(self) -> bool:
        """Whether equal values are equal to the bit."""
        return not self.extra and self.conversion == SAME


@dataclass(frozen=True, slots=True)
class Example:
    """A row that differs; None: that definition has no such row."""

    window_end: datetime
    tenant: str
    labels: str
    old: float | None
    new: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Two definitions in the windows of one size that both have counted.

    Attributes:
        windows: How many ends of windows; `first` and `last` of them, None without any.
        rows: Of the first, of the second; after attributes were folded away.
        both: Rows that both have; `differ` of them have other values.
        largest: Greatest relative difference of these: |new - old| over the greater of both.
        points: That the rows of each have counted.
        examples: Of rows that differ, the greatest differences first.
    """

    windows: int
    first: datetime | None
    last: datetime | None
    rows: tuple[int, int]
    both: int
    differ: int
    largest: float
    points: tuple[int, int]
    examples: tuple[Example, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        points = self.points[0] == self.points[1]
        return not self.differ and self.rows == (self.both, self.both) and points


def way_of(old: ResolvedDefinition, new: ResolvedDefinition) -> Way:
    """How rows of `old` and of `new` can be compared."""
    extra = tuple(sorted({*old.group_by} ^ {*new.group_by}))
    kinds = KINDS.get(old.instrument, ""), KINDS.get(new.instrument, "")
    if kinds[0] != kinds[1]:
        return Way(extra, "", "one has numbers and the other histograms, or those of another kind")
    if kinds[0]:
        if extra:
            return Way(extra, "", f"histograms are not added up here over {_listed(extra)}")
        return Way(extra, "any", shapes=True)
    found = conversion_of(old.unit, new.unit)
    if isinstance(found, NoConversion):
        return Way(extra, "", f"units do not convert: {found.reason}")
    if not extra:
        return Way(extra, "any", conversion=found)
    folds = {_fold(one) for one in (old, new)}
    if len(folds) != 1 or "" in folds:
        return Way(extra, "", f"their aggregates do not add up over {_listed(extra)}")
    return Way(extra, folds.pop(), conversion=found)


def _fold(one: ResolvedDefinition) -> str:
    if one.over_points:
        return "sumKahan" if one.over_points in SUMS else _FOLDS.get(one.over_points, "")
    return _FOLDS.get(one.over_space, "")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def compare(
    client: QueryClient,
    old: ResolvedDefinition,
    new: ResolvedDefinition,
    size: Granularity,
    between: tuple[int, int],
    *,
    examples: int = 0,
    schema: Schema | None = None,
) -> Compared:
    """Compare windows of a size that end in [first, second] (unix ns), as far as both have come.

    Latest revisions are compared; what was deleted is not there.
    """
    way, where = way_of(old, new), schema or Schema()
    sides = [_side(number, one, way, where) for number, one in enumerate((old, new))]
    parameters = _parameters(old, new, size, between)
    last = client.query(_last(where.rollups), parameters=parameters)
    parameters["until"] = min(parameters["until"], int(last.result_rows[0][0]))
    (values,) = client.query(_facts(sides, way), parameters=parameters).result_rows
    found = _compared(dict(zip(_NAMES, values, strict=True)))
    if not examples or found.same:
        return found
    parameters["examples"] = examples
    rows = client.query(_examples(sides, way), parameters=parameters).result_rows
    shown = tuple(Example(_utc(end), *rest) for end, *rest in rows)
    return replace(found, examples=shown)


_NAMES = (
    "windows", "first", "last", "old_rows", "new_rows", "both", "differ", "largest", "old_points",
    "new_points",
)  # fmt: skip
_SIZE = "resolution = {resolution:UInt32} AND hop = {hop:UInt32} AND zone = {zone:String}"
_BETWEEN = (
    "toUnixTimestamp64Milli(window_end) >= {since:Int64} "
    "AND toUnixTimestamp64Milli(window_end) <= {until:Int64}"
)
_SETTINGS = "SETTINGS join_use_nulls = 1, do_not_merge_across_partitions_select_final = 1"


def _last(table: str) -> str:
    """Up to where both have had rows, in ms; 0 where one had none."""
    ends = (f"maxIf(window_end, rollup = {{name{n}:String}} AND version = {{version{n}:String}})"
            for n in (0, 1))  # fmt: skip
    latest = ", ".join(f"toUnixTimestamp64Milli({end})" for end in ends)
    names = "rollup IN ({name0:String}, {name1:String})"
    return f"SELECT least({latest}) FROM {table} WHERE {names} AND {_SIZE}"


def _side(number: int, one: ResolvedDefinition, way: Way, schema: Schema) -> str:
    """The rows of one of the two, by tenant, end (e) and labels (l)."""
    value = f"{way.fold}(value)" if way.fold else "nan"
    if way.conversion != SAME and number == 0:
        by = way.conversion
        value = f"({value} * {float(by.p)!r} / {float(by.q)!r} + {float(by.offset)!r})"
    shape = f"sipHash64(any(({', '.join(f'`{name}`' for name in COLUMNS)})))"
    if way.shapes:
        value = "toFloat64(any(`count`))"
    extra = ", ".join(f"'{_quoted(name)}'" for name in way.extra)
    kept = f"mapFilter((k, v) -> k NOT IN ({extra}), labels)" if extra else "labels"
    return (
        f"SELECT tenant, window_end AS e, toString({kept}) AS l, {value} AS v, "
        f"{shape if way.shapes else '0'} AS h, sum(points) AS p FROM {schema.rollups} FINAL "
        f"WHERE rollup = {{name{number}:String}} AND version = {{version{number}:String}} "
        f"AND {_SIZE} AND {_BETWEEN} GROUP BY tenant, e, l"
    )


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")


def _joined(sides: list[str]) -> str:
    return (
        f"FROM ({sides[0]}) AS o FULL OUTER JOIN ({sides[1]}) AS n "
        "ON o.tenant = n.tenant AND o.e = n.e AND o.l = n.l"
    )


def _relative(way: Way) -> str:
    """How far apart two values are: 0 where they are equal, infinite where one alone is NaN."""
    apart = "abs(n.v - o.v) / greatest(abs(o.v), abs(n.v))"
    equal = "o.v = n.v OR (isNaN(o.v) AND isNaN(n.v))"
    if way.shapes:
        equal, apart = "o.h = n.h", "if(o.v = n.v, 1, abs(n.v - o.v) / greatest(o.v, n.v))"
    return f"multiIf({equal}, 0, isNaN(o.v) OR isNaN(n.v) OR isInfinite({apart}), inf, {apart})"


def _differs(way: Way) -> str:
    return f"{_relative(way)} > {0.0 if way.exact else TOLERANCE}"


def _facts(sides: list[str], way: Way) -> str:
    both = "isNotNull(o.p) AND isNotNull(n.p)"
    differ = f"countIf({both} AND {_differs(way)})" if way.fold else "0"
    largest = f"maxIf({_relative(way)}, {both} AND {_differs(way)})" if way.fold else "0"
    return (
        "SELECT uniqExact(coalesce(o.e, n.e)), min(coalesce(o.e, n.e)), max(coalesce(o.e, n.e)), "
        f"countIf(isNotNull(o.p)), countIf(isNotNull(n.p)), countIf({both}), {differ}, {largest}, "
        f"sum(ifNull(o.p, 0)), sum(ifNull(n.p, 0)) {_joined(sides)} {_SETTINGS}"
    )


def _examples(sides: list[str], way: Way) -> str:
    differs = _differs(way) if way.fold else "0"
    apart = _relative(way) if way.fold else "0"
    return (
        "SELECT coalesce(o.e, n.e) AS e, coalesce(o.tenant, n.tenant), coalesce(o.l, n.l) AS l, "
        f"o.v, n.v {_joined(sides)} WHERE isNull(o.p) OR isNull(n.p) OR {differs} "
        f"ORDER BY isNull(o.p) OR isNull(n.p), ifNull({apart}, 0) DESC, e, l "
        f"LIMIT {{examples:UInt32}} {_SETTINGS}"
    )


def _parameters(
    old: ResolvedDefinition, new: ResolvedDefinition, size: Granularity, between: tuple[int, int]
) -> dict[str, Any]:
    return {
        "name0": old.name,
        "version0": old.version,
        "name1": new.name,
        "version1": new.version,
        "resolution": size_of(size),
        "hop": step_of(size) if is_hopping(size) else 0,
        "zone": new.zone if is_calendar(size) else "",
        "since": between[0] // 1_000_000,
        "until": between[1] // 1_000_000,
    }


def _compared(found: Mapping[str, Any]) -> Compared:
    windows = int(found["windows"])
    return Compared(
        windows=windows,
        first=_utc(found["first"]) if windows else None,
        last=_utc(found["last"]) if windows else None,
        rows=(int(found["old_rows"]), int(found["new_rows"])),
        both=int(found["both"]),
        differ=int(found["differ"]),
        largest=float(found["largest"] or 0),
        points=(int(found["old_points"]), int(found["new_points"])),
    )


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
