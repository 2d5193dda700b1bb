"""What every published number must be, computed from the log and the definitions alone.

Shares no code with what it checks. DuckDB selects and groups; exact rationals finish. For every
definition, window size, window and group it says

- `first`: the value over the points that had arrived when the window was sealed, a domain
  (absent when the group had no data by then), and
- `latest`: the value over all accepted points of windows that are closed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import groupby
from typing import Any, NamedTuple

import duckdb
import numpy as np
from oracle import derived, epochs, guard, histograms, increments, pooled, units
from oracle.arithmetic import Number, difference, fold, is_finite, rank, to_double, total
from oracle.definitions import COUNTERS, SECOND, Definition
from oracle.log import Partition, Point, render
from oracle.windows import Size, end_after, ends_of, start_of

SHAPES = ("histogram", "exponential_histogram")
COUNTED = ("gauge", "delta", "cumulative", "unspecified")
STREAM_GAP = epochs.STREAM_GAP


class Key(NamedTuple):
    """One published row: window end in unix nanoseconds, size (`windows.py`), sorted labels."""

    definition: str
    size: Size
    window_end: int
    labels: tuple[tuple[str, str], ...]


class FinalKey(NamedTuple):
    """One point of the final topic: its row, and the topic whose time its series follows."""

    row: Key
    domain: str


class FinalPoint(NamedTuple):
    """Times in unix nanoseconds; the 64 bits of the value, or None: no recorded value.

    Of a histogram `bits` is all that it says.
    """

    start: int
    time: int
    bits: int | histograms.Histogram | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A value, how many points it counts, how many of them came late, and which they are.

    exact: the value before it was rounded.
    """

    value: histograms.Shown
    exact: histograms.Exact
    points: int
    late: int
    behind: tuple[tuple[Partition, Point], ...]


@dataclass(slots=True)
class Tally:
    """What became of the points that match one definition."""

    accepted: int = 0
    repeated: int = 0
    rejected: int = 0
    no_value: int = 0
    negative: int = 0
    unsuitable: int = 0
    contradictory: int = 0
    other_unit: int = 0
    beyond_corrections: int = 0


@dataclass(slots=True)
class Result:
    """Everything that must be published; `final` is filled by `oracle.final`."""

    first: dict[Key, dict[str, Cell]] = field(default_factory=dict[Key, dict[str, Cell]])
    latest: dict[Key, Cell] = field(default_factory=dict[Key, Cell])
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])
    final: dict[FinalKey, FinalPoint] = field(default_factory=dict[FinalKey, FinalPoint])

    def add(self, other: Result) -> None:
        """Take over the rows of other definitions."""
        self.first |= other.first
        self.latest |= other.latest
        self.tallies |= other.tallies


def compute(partitions: Sequence[Partition], definitions: Iterable[Definition]) -> Result:
    """Apply every definition to what the partitions hold."""
    result = Result()
    wanted = list(definitions)
    by_metric: dict[str, list[tuple[int, Point]]] = {}
    for number, partition in enumerate(partitions):
        for point in partition.points:
            by_metric.setdefault(point.metric, []).append((number, point))
    for definition in wanted:
        names = sorted(name for name in by_metric if reads(definition, name))
        candidates = [found for name in names for found in by_metric[name]]
        carries = any(other.final and other.carry for other in wanted if _pane(other, definition))
        _compute_one(partitions, candidates, definition, result, carries)
    return result


def _pane(one: Definition, other: Definition) -> bool:
    """Whether two definitions share panes, and so when their windows close."""
    return (one.finest, one.grace, one.corrections) == (
        other.finest, other.grace, other.corrections,
    )  # fmt: skip


def window_end(time: int, size: int) -> int:
    """The end of the window (end - size, end] that holds `time`."""
    return -(-time // size) * size


def sealed_at(partition: Partition, definition: Definition, end: int) -> int | None:
    """Index of the record that seals the window ending at `end`, or None while it is open."""
    record = bisect_left(partition.watermark, end + definition.grace)
    return record if record < len(partition.watermark) else None


# ---------------------------------------------------------------- which points a definition counts


def _compute_one(
    partitions: Sequence[Partition],
    candidates: list[tuple[int, Point]],
    definition: Definition,
    result: Result,
    carries: bool,
) -> None:
    tally = result.tallies.setdefault(definition.name, Tally())
    points: list[tuple[Partition, Point]] = []
    rows: list[tuple[int, ...]] = []
    streams: dict[tuple[str, str], int] = {}
    groups: dict[tuple[tuple[str, str], ...], int] = {}
    domains = sorted({epochs.domain_of(partition.topic) for partition in partitions})
    for number, point in candidates:
        partition = partitions[number]
        if not _counts(definition, partition, point, tally):
            continue
        labels = group_of(definition, point)
        rows.append(
            (
                len(points),
                number,
                domains.index(epochs.domain_of(partition.topic)),
                point.record,
                streams.setdefault((partition.topic, point.stream), len(streams)),
                groups.setdefault(labels, len(groups)),
                point.time,
                point.start,
                increments.is_sample(point)
                or (definition.over_time in COUNTERS and point.kind == "cumulative"),
            )
        )
        points.append((partition, pooled.as_read(definition, units.as_read(definition, point))))
    if not rows:
        return
    samples = [n for n, (_, point) in enumerate(points) if increments.is_sample(point)]
    for n, point in zip(samples, increments.ranked([points[n][1] for n in samples]), strict=True):
        points[n] = points[n][0], point
    of_group = list(groups)
    with _database().cursor() as db:
        seals = _seals(partitions, domains, definition, rows, carries)
        _load(db, rows, points, definition, seals)
        done: dict[tuple[int, int, int], tuple[list[Any], Cell | None]] = {}

        def cell_of(code: int, end: int, group: int, streams_of: list[Any]) -> Cell | None:
            same, cell = done.get((code, end, group), ([], None))
            if same != streams_of:
                size = definition.sizes[-code - 1] if code < 0 else code
                cell = _cell(definition, points, streams_of, end - start_of(end, size))
                done[code, end, group] = streams_of, cell
            return cell

        for by_domain in (True, False):
            windows = groupby(_selected(db, by_domain=by_domain), key=lambda row: row[:3])
            for (domain, code, end), members in windows:
                size = definition.sizes[-code - 1] if code < 0 else code
                found = {
                    of_group[group]: (streams, cell)
                    for *_, group, streams in members
                    if (cell := cell_of(code, end, group, streams)) is not None
                }
                for labels, cell in _within_limit(
                    definition, points, found, end - start_of(end, size)
                ).items():
                    key = Key(definition.name, size, end, labels)
                    if by_domain:
                        result.first.setdefault(key, {})[domains[domain]] = cell
                    else:
                        result.latest[key] = cell


def _within_limit(
    definition: Definition,
    points: list[tuple[Partition, Point]],
    found: dict[guard.Labels, tuple[list[Any], Cell]],
    size: int,
) -> dict[guard.Labels, Cell]:
    """The cells of a window that are published; one of many groups counts all their streams.

    size: how long the window is, in ns.
    """
    members: dict[guard.Labels, list[guard.Labels]] = {}
    for labels, name in guard.published(definition.groups, found).items():
        members.setdefault(name, []).append(labels)
    cells: dict[guard.Labels, Cell] = {}
    for name, whose in members.items():
        cell = found[whose[0]][1]
        if whose != [name]:
            streams = [one for labels in whose for one in found[labels][0]]
            merged = _cell(definition, points, streams, size)
            assert merged is not None
            cell = merged
        cells[name] = cell
    return cells


def _counts(definition: Definition, partition: Partition, point: Point, tally: Tally) -> bool:
    """Whether the definition counts the point; if it matches, the tally says what became of it."""
    if point.kind not in (*COUNTED, *SHAPES) or not any(
        derived.reads(source.metric, point.metric)
        and all(_has(definition, point, attribute, wanted) for attribute, wanted in source.where)
        for source in definition.sources
    ):
        return False
    if not epochs.owns(partition, point.time):  # told by the epoch whose it is
        base = epochs.is_base(partition, definition, point)
        base = base and units.convert(definition, point) is not None
        return base and not _beyond_corrections(definition, partition, point)
    if point.fate == "repeat":
        tally.repeated += 1
    elif point.fate == "ahead":
        tally.rejected += 1
    elif point.fate == "no value":
        tally.no_value += 1
    elif point.fate == "negative":
        tally.negative += 1
    elif not _suits(definition, point):
        tally.unsuitable += 1
    elif units.convert(definition, point) is None:
        tally.other_unit += 1
    elif point.content and point.content.wrong:
        tally.contradictory += 1
    elif pooled.as_read(definition, point) is None:  # no observations: no minimum
        tally.no_value += 1
    elif _beyond_corrections(definition, partition, point):
        tally.beyond_corrections += 1
    else:
        tally.accepted += 1
        return True
    return False


def _suits(definition: Definition, point: Point) -> bool:
    if point.content or definition.instrument:  # read by those that ask for them alone
        return pooled.reads(definition, point)
    if definition.over_points:
        return point.kind in pooled.KINDS
    grows = point.kind in ("delta", "cumulative") and point.monotonic
    return grows or definition.over_time not in COUNTERS


def _beyond_corrections(definition: Definition, partition: Partition, point: Point) -> bool:
    """Late for its finest window, and by more than the horizon: for the late ledger only."""
    end = window_end(point.time, definition.finest)
    before = partition.before(point.record)
    return before >= end + definition.grace and before - end > definition.corrections


def reads(definition: Definition, metric: str) -> bool:
    """Whether one of a definition's sources names the metric."""
    return any(derived.reads(source.metric, metric) for source in definition.sources)


def _has(definition: Definition, point: Point, attribute: str, wanted: Sequence[Any]) -> bool:
    found = attribute_of(definition, point, attribute)
    return found is not None and found in {render(value) for value in wanted}


def look_up(point: Point, attribute: str) -> str | None:
    """Tenant; else the attribute of the point, its scope, its resource (`resource.` forces it)."""
    if attribute == "tenant":
        return point.tenant
    forced = attribute.removeprefix("resource.")
    places = point.lookup if forced == attribute else point.lookup[2:]
    return next((render(place[forced]) for place in places if forced in place), None)


def attribute_of(definition: Definition, point: Point, name: str) -> str | None:
    """What a point has for a definition, which may make it of something else."""
    for own, made in definition.attributes:
        if own == name:
            return derived.value(made, partial(look_up, point))
    return look_up(point, name)


def group_of(definition: Definition, point: Point) -> tuple[tuple[str, str], ...]:
    """The labels of the point's group, sorted; an attribute that is absent is no label."""
    labels = {"tenant": point.tenant}
    for attribute in definition.keep:
        if (value := attribute_of(definition, point, attribute)) is not None:
            labels[attribute] = value
    return tuple(sorted(labels.items()))


# ---------------------------------------------------------------- windows, seals and selection


def _seals(
    partitions: Sequence[Partition],
    domains: list[str],
    definition: Definition,
    rows: list[tuple[int, ...]],
    carries: bool,
) -> list[tuple[int, int, int, int, int]]:
    """(partition, size, end, start, sealing record) of every closed window, in its own epoch.

    A size that is no number of nanoseconds is -1, -2, ... by its place among the definition's.
    """
    windows = {
        (row[2], size, end)
        for row in rows
        for size in definition.sizes
        for end in ends_of(row[6], size)
    }
    members = [
        [n for n, each in enumerate(partitions) if epochs.domain_of(each.topic) == domain]
        for domain in domains
    ]
    closed = [
        epochs.reached([partitions[number] for number in numbers], definition, carries)
        for numbers in members
    ]
    found: list[tuple[int, int, int, int, int]] = []
    for domain, size, end in windows:
        reach = (start_of(end, size) + 1, end)  # windows over two epochs are nobody's
        mine = [
            p for p in members[domain] if all(epochs.owns(partitions[p], each) for each in reach)
        ]
        seals = [(p, sealed_at(partitions[p], definition, end)) for p in mine]
        found.extend(
            (number, _code(definition, size), end, start_of(end, size), seal)
            for number, seal in seals
            if seal is not None and end <= closed[domain]
        )
    return found


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One for all: to open one takes longer than to ask for what a story says."""
    return duckdb.connect(config={"threads": 2})


def _load(
    db: duckdb.DuckDBPyConnection,
    rows: list[tuple[int, ...]],
    points: list[tuple[Partition, Point]],
    definition: Definition,
    seals: list[tuple[int, int, int, int, int]],
) -> None:
    """Tables `point` (a row a counted point, `place` orders values), `seal`, and `listed`.

    The last are the windows of sizes that are no number of nanoseconds: those that hold a point,
    and (`holds` = 0) those that may ask for a sample as a predecessor.
    """
    values = [point.value for _, point in points]
    place = _places([value for value in values if value is not None])
    names = ["id", "part", "domain", "rec", "stream", "grp", "t", "start", "sample"]
    columns = np.array(rows, dtype=np.uint64).astype(np.int64).T
    point = dict(zip(names, columns, strict=True))
    point["place"] = np.array([place[_identity(value)] for value in values], dtype=np.int64)
    sealed = np.array(seals, dtype=np.int64).reshape(-1, 5).T
    seal = dict(zip(["part", "size", "window_end", "window_start", "rec"], sealed, strict=True))
    found = np.array(list(_listed(definition, rows)), dtype=np.int64).reshape(-1, 4).T
    listed = dict(zip(["id", "size", "window_end", "holds"], found, strict=True))
    db.execute("CREATE TEMP TABLE point AS SELECT * FROM point")
    db.execute("CREATE TEMP TABLE seal AS SELECT * FROM seal")
    db.execute("CREATE TEMP TABLE listed AS SELECT * FROM listed")
    del point, seal, listed


def _code(definition: Definition, size: Size) -> int:
    return size if isinstance(size, int) else -1 - definition.sizes.index(size)


def _listed(
    definition: Definition, rows: list[tuple[int, ...]]
) -> Iterator[tuple[int, int, int, int]]:
    """(point, size, window end, holds it) for calendar and hopping sizes."""
    for size in definition.sizes:
        if isinstance(size, int):
            continue
        code = _code(definition, size)
        for identity, *_, time, _, sample in rows:
            inside = ends_of(time, size)
            yield from ((identity, code, end, 1) for end in inside)
            end = end_after(inside[-1], size)
            while sample and start_of(end, size) < time + STREAM_GAP:
                yield identity, code, end, 0
                end = end_after(end, size)


def _identity(value: int | float) -> tuple[int, int]:
    """Tells values apart and orders them: integers beyond 2**53 may share a double."""
    exact = is_finite(value) and abs(value) >= 1 << 53
    return rank(value), int(value) if exact else 0


def _places(values: list[int | float]) -> dict[tuple[int, int], int]:
    """Position of each distinct value in their order: as doubles, then (integers) exactly."""
    distinct = sorted({_identity(value) for value in values})
    return {identity: place for place, identity in enumerate(distinct)}


SELECT = f"""
WITH sizes AS (SELECT DISTINCT size FROM seal WHERE size > 0
), own AS (          -- every point, once a window size, with the end of its window
  SELECT *, t + (size - t % size) % size AS window_end FROM point CROSS JOIN sizes
), every AS (        -- the same with those of calendar and hopping windows
  SELECT * FROM own
  UNION ALL BY NAME SELECT point.*, size, window_end FROM point JOIN listed USING (id) WHERE holds
), plain AS (        -- points that count by themselves: `previous` is not asked for
  SELECT size, window_end, domain, grp, stream, id, NULL AS previous, t, place,
    p.rec > s.rec AS late
  FROM every p JOIN seal s USING (part, size, window_end)
  WHERE sample = 0 AND ($everything OR p.rec <= s.rec)
), ahead AS (        -- every sample with all windows that may ask for it as a predecessor
  SELECT * EXCLUDE window_end,
    unnest(range(window_end, t + {STREAM_GAP} + size, size)) AS window_end
  FROM own WHERE sample = 1
  UNION ALL BY NAME
  SELECT point.*, size, window_end FROM point JOIN listed USING (id) WHERE sample = 1
), reach AS (        -- samples of a window, and those before it; one a stream and time
  SELECT size, window_end, window_start, domain, grp, stream, id, t, place,
    p.rec > s.rec AS late
  FROM ahead p JOIN seal s USING (part, size, window_end)
  WHERE $everything OR p.rec <= s.rec
  QUALIFY row_number() OVER (
    PARTITION BY size, window_end, stream, t ORDER BY place DESC, start DESC, p.rec, id) = 1
), sample AS (       -- each sample of a window with its predecessor in event time, or -1
  SELECT * EXCLUDE window_start FROM (
    SELECT size, window_end, window_start, domain, grp, stream, id,
      coalesce(lag(id) OVER (PARTITION BY size, window_end, stream ORDER BY t), -1) AS previous,
      t, place, late
    FROM reach)
  WHERE t > window_start
), counted AS (SELECT * FROM plain UNION ALL SELECT * FROM sample)
SELECT if($by_domain, domain, 0) AS of_domain, size, window_end, grp, stream,
  list(id ORDER BY t, place, id), list(previous ORDER BY t, place, id),
  list(late ORDER BY t, place, id)
FROM counted GROUP BY ALL ORDER BY of_domain, size, window_end, grp, stream
"""


def _selected(
    db: duckdb.DuckDBPyConnection, *, by_domain: bool
) -> Iterator[tuple[int, int, int, int, list[Any]]]:
    """(domain, size, window end, group, its streams): in time a domain, or everything."""
    found = db.execute(SELECT, {"everything": not by_domain, "by_domain": by_domain}).fetchall()
    for (domain, size, end, group), streams in groupby(found, key=lambda row: row[:4]):
        yield domain, size, end, group, [row[5:] for row in streams]


# ---------------------------------------------------------------- finishing a row, exactly


def _cell(
    definition: Definition,
    points: list[tuple[Partition, Point]],
    streams: list[tuple[list[int], list[int | None], list[bool]]],
    size: int,
) -> Cell | None:
    """over_time for each stream, then over_space, or over_points; None when no point counts.

    size: how long the window is, in ns.
    """
    numbers: list[tuple[int, Number]] = []
    behind: list[tuple[Partition, Point]] = []
    late = 0
    for ids, previous, lates in streams:
        taken: list[Number] = []
        newest = 0
        for identity, before, was_late in zip(ids, previous, lates, strict=True):
            partition, point = points[identity]
            number = point.value
            if before is not None:
                predecessor = None if before < 0 else points[before][1]
                if increments.is_sample(point):
                    found = increments.added(point, predecessor, definition.finest)
                    number, point = (None, point) if found is None else (0, found)
                else:
                    number = contribution(point, predecessor, definition.finest)
            if number is None:
                continue
            taken.append(number)
            behind.append((partition, point))
            late += was_late
            newest = point.time
        if taken:
            how = definition.over_time or "count"  # of points taken together it is not asked for
            numbers.append((newest, over_time(how, taken)))
    if not numbers:
        return None
    if definition.over_points:
        members = [p for _, p in behind if p.value is not None]
        exact: histograms.Exact = pooled.result_of(definition, members)
    elif definition.over_time == "rate":
        exact = rates_over_space(definition.over_space, numbers, size)
    else:
        exact = over_space(definition.over_space, numbers)
    return Cell(histograms.rounded(exact), exact, len(behind), late, tuple(behind))


def contribution(sample: Point, previous: Point | None, finest: int) -> Number | None:
    """What a cumulative sample adds; None when it only sets the base line."""
    assert sample.value is not None
    start = sample.start if sample.start < sample.time else 0  # it does not say since when
    if previous is None or sample.time - previous.time > STREAM_GAP:
        end = window_end(sample.time, finest)
        return sample.value if start and end - finest < start <= end else None
    assert previous.value is not None
    another = start and 0 < previous.start < 1 << 63 and start != previous.start
    if another and start < previous.time:
        return 0  # two writers overlap
    if another or sample.value < previous.value:
        return sample.value
    return difference(sample.value, previous.value)


def over_time(aggregate: str, in_order: list[Number]) -> Number:
    """One stream's number in a window; values come in order of (time, value)."""
    if aggregate == "last":
        return to_double(in_order[-1])
    return fold("increase" if aggregate in COUNTERS else aggregate, in_order)


def rates_over_space(aggregate: str, numbers: list[tuple[int, Number]], size: int) -> Number:
    """A group's rate a second, from (time of the newest point, increase) of each stream.

    Sums are divided once, at the end; else each stream's rate is a number of its own.
    """
    seconds = size // SECOND
    if aggregate in ("sum", "avg"):
        summed = total([number for _, number in numbers])
        count = len(numbers) if aggregate == "avg" else 1
        return to_double(summed / (seconds * count))
    return over_space(aggregate, [(time, to_double(n / seconds)) for time, n in numbers])


def over_space(aggregate: str, numbers: list[tuple[int, Number]]) -> Number:
    """A group's number from (time of the newest point, number) of each of its streams."""
    if aggregate == "last":
        return max(numbers, key=lambda pair: (pair[0], rank(pair[1])))[1]
    return fold(aggregate, [number for _, number in numbers])
