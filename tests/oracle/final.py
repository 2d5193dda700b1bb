"""What the final topic must hold, point by point, from the first publications.

Walks every series through its windows, one after the other, and says of each what a reader must
find: a value, or that there is none (`bits` is None then), and since when it counts.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from oracle import epochs, guard, plain
from oracle.arithmetic import Number, is_finite, total
from oracle.definitions import SECOND, Definition
from oracle.histograms import Exact, Population, mark, rounded, together
from oracle.log import Partition, Point
from oracle.oracle import (
    Cell,
    FinalKey,
    FinalPoint,
    Key,
    Result,
    Tally,
    _counts,
    group_of,
)
from oracle.units import as_read
from oracle.windows import Size, end_after, ends_of, overlaps, start_of

SETTLE = 2 * SECOND
Labels = tuple[tuple[str, str], ...]
Amounts = dict[int, list[Number]]  # window end -> what it carries of earlier windows


class Series(NamedTuple):
    """One stream of the final topic; `domain` is the topic whose time it follows."""

    definition: str
    size: Size
    domain: str
    labels: Labels


def compute(
    partitions: Sequence[Partition], definitions: Iterable[Definition], result: Result
) -> dict[Series, list[FinalPoint]]:
    """Every point of the final topic, in order of time, by series; also put in `result.final`."""
    every = list(definitions)
    found: dict[Series, dict[int, Cell]] = defaultdict(dict)
    for key, cells in result.first.items():
        for domain, cell in cells.items():
            series = Series(key.definition, key.size, domain, key.labels)
            found[series][key.window_end] = cell
    points: dict[Series, list[FinalPoint]] = {}
    for definition in every:
        if not definition.final:
            continue
        late = carried(partitions, every, definition) if definition.carry else {}
        values = {
            series: {end: cell.exact for end, cell in cells.items()}
            for series, cells in found.items()
            if series.definition == definition.name
            and not (definition.histogram and overlaps(series.size))
        }
        known = {
            domain: _known([p for p in partitions if _domain(p) == domain], definition, every)
            for domain in {series.domain for series in values.keys() | late.keys()}
        }
        for series, amounts in late.items():
            limit = _limit(known[series.domain], values.get(series, {}))
            late[series] = {end: found for end, found in amounts.items() if end <= limit}
        if late:
            _within_limit(definition, values, late)
        for series in values.keys() | late.keys():
            cells, amounts = values.get(series, {}), late.get(series, {})
            limit = _limit(known[series.domain], [*cells, *amounts])
            walked = _walk(definition, series.size, cells, amounts, limit)
            if walked:
                points[series] = walked
    for series, of_series in points.items():
        for point in of_series:
            row = Key(series.definition, series.size, point.time, series.labels)
            result.final[FinalKey(row, series.domain)] = point
    return points


def _within_limit(
    definition: Definition, values: dict[Series, dict[int, Exact]], late: dict[Series, Amounts]
) -> None:
    """What a window carries counts as a group, and may be one too many."""
    there: dict[tuple[Size, str, int], set[Labels]] = defaultdict(set)
    for series, ends in [*values.items(), *late.items()]:
        for end in ends:
            there[series.size, series.domain, end].add(series.labels)
    for (size, domain, end), groups in there.items():
        for labels, name in guard.published(definition.groups, groups).items():
            if name == labels:
                continue
            old, new = (Series(definition.name, size, domain, one) for one in (labels, name))
            amounts = late.get(old, {}).pop(end, [])
            if (value := values.get(old, {}).pop(end, None)) is not None:
                mine = values.setdefault(new, {})
                mine[end] = together([mine.get(end, 0), value])
            if amounts:
                late.setdefault(new, {}).setdefault(end, []).extend(amounts)


def _domain(partition: Partition) -> str:
    return epochs.domain_of(partition.topic)


def _known(
    partitions: Sequence[Partition], definition: Definition, definitions: Sequence[Definition]
) -> tuple[float, float]:
    """Up to where all of a domain has sealed, and the last time short of its end that was told."""
    marks = [[mark - definition.grace for mark in p.watermark] for p in partitions]
    carries = any(d.final and d.carry for d in definitions if _pane(d) == _pane(definition))
    closed = epochs.reached(partitions, definition, carries)
    told = max((mark for each in marks for mark in each if mark < math.inf), default=-math.inf)
    return closed, told


def _limit(known: tuple[float, float], data: Iterable[int]) -> float:
    """The last window of a series; past the end of a load it ends with its own data."""
    closed, told = known
    return closed if closed < math.inf else max(told, *data, -math.inf)


def _walk(
    definition: Definition,
    size: Size,
    cells: dict[int, Exact],
    amounts: Amounts,
    limit: float,
) -> list[FinalPoint]:
    """One series, window by window."""
    adds_up = definition.adds_up and not overlaps(size)  # what overlaps is a gauge
    eventful = sorted({*cells, *amounts})
    points: list[FinalPoint] = []
    silent = since = 0
    nothing: Exact = 0
    if definition.over_points and definition.histogram:
        nothing = Population(*definition.over_points, ())
    run = nothing
    alive = False
    end = eventful[0] if eventful else math.inf
    while end <= limit:
        end = int(end)
        number: Exact = nothing
        if end in cells or end in amounts:
            if not alive:
                alive, since, run = True, start_of(end, size), nothing
            silent = 0
            number = cells.get(end, nothing)
            if end in amounts:
                number = together([number, *amounts[end]])
        else:
            silent += 1
        start = since if definition.cumulative and adds_up else start_of(end, size)
        if silent > definition.expires_after(size):
            points.append(FinalPoint(start, end, None))
            alive = False
        elif adds_up:
            run = together([run, number])
            shown = run if definition.cumulative else number
            points.append(FinalPoint(start, end, mark(rounded(shown))))
        elif not silent:
            points.append(FinalPoint(start, end, mark(rounded(number))))
        end = end_after(end, size) if alive else next(_from(eventful, end + 1), math.inf)
    return points


def _from(ends: list[int], first: int) -> Iterator[int]:
    at = bisect_left(ends, first)
    return iter(ends[at : at + 1])


# ---------------------------------------------------------------- what late points changed


def carried(
    partitions: Sequence[Partition], definitions: Sequence[Definition], definition: Definition
) -> dict[Series, Amounts]:
    """By series and window: what was changed in windows that its partitions had sealed before.

    A change shows when late points have settled; it travels with the first window that the
    partition seals by a later record. From or to what is not finite there is no difference.
    """
    found: dict[Series, Amounts] = {}
    same_pane = [other for other in definitions if _pane(other) == _pane(definition)]
    for partition in partitions:
        settled = _settled(partition, same_pane)
        counted = [
            (as_read(definition, point), group_of(definition, point))
            for point in partition.points
            if _counts(definition, partition, point, Tally())
        ]
        windows = {
            (size, end)
            for point, _ in counted
            for size in definition.sizes
            if not overlaps(size)
            for end in ends_of(point.time, size)
            if epochs.owns(partition, end)
        }
        for size, end in sorted(windows, key=repr):
            sealing = plain._seal(partition, definition, end)
            before = _numbers(definition, size, end, partition, counted, sealing)
            every = [point for point, _ in counted]
            for record in _changing(every, [one for one in settled if one > sealing], sealing):
                now = _numbers(definition, size, end, partition, counted, record)
                due = _first_open(partition, definition, size, record)
                for labels in sorted(now.keys() | before.keys()):
                    is_now, was = now.get(labels, 0), before.get(labels, 0)
                    finite = is_finite(is_now) and is_finite(was)
                    if due is not None and finite and is_now != was:
                        series = Series(definition.name, size, _domain(partition), labels)
                        amount = total([is_now, -was])
                        found.setdefault(series, {}).setdefault(due, []).append(amount)
                before = now
    return found


def _changing(points: Sequence[Point], settled: list[int], sealing: float) -> list[int]:
    """Of these records those before which a point came since the last of them."""
    found: list[int] = []
    before = sealing
    for record in settled:
        if any(before < point.record <= record for point in points):
            found.append(record)
        before = record
    return found


def _pane(definition: Definition) -> tuple[int, int, int]:
    return definition.finest, definition.grace, definition.corrections


def _settled(partition: Partition, definitions: Sequence[Definition]) -> list[int]:
    """The records at which late points of these definitions had settled.

    A marker, two seconds of receipt, or the next record that seals a window of theirs.
    """
    late = {
        point.record
        for definition in definitions
        for point in partition.points
        if _is_late(partition, definition, point) and _counts(definition, partition, point, Tally())
    }
    since: int | None = None
    newest = 0
    found: list[int] = []
    for record, received in enumerate(partition.received):
        newest = max(newest, received)
        if record in late and since is None:
            since = received
        marked = partition.marked[record] or _seals(partition, definitions[0], record)
        if since is not None and (marked or newest >= since + SETTLE):
            found.append(record)
            since = None
    return found


def _seals(partition: Partition, definition: Definition, record: int) -> bool:
    """Whether the record seals a window of the definition's finest size."""
    before, after = partition.before(record), partition.watermark[record]
    if math.isinf(before) or math.isinf(after):
        return after > before
    grace, size = definition.grace, definition.finest
    return (int(after) - grace) // size > (int(before) - grace) // size


def _is_late(partition: Partition, definition: Definition, point: Point) -> bool:
    return partition.before(point.record) >= epochs.late_from(partition, definition, point)


def _numbers(
    definition: Definition,
    size: Size,
    end: int,
    partition: Partition,
    counted: Sequence[tuple[Point, Labels]],
    record: float,
) -> dict[Labels, Number]:
    """What the partition has of the window by this record: the number of each group, by name."""
    groups: dict[Labels, list[tuple[Partition, Point]]] = defaultdict(list)
    inside: set[Labels] = set()
    for point, labels in counted:
        if point.record <= record:
            groups[labels].append((partition, point))
            if start_of(end, size) < point.time <= end:
                inside.add(labels)
    rows = {labels: plain.row(definition, size, end, groups[labels]) for labels in inside}
    numbers = {labels: row[0] for labels, row in rows.items() if row is not None}
    members: dict[Labels, list[Labels]] = defaultdict(list)
    for labels, name in guard.published(definition.groups, numbers).items():
        members[name].append(labels)
    for name, whose in members.items():
        if whose != [name]:
            merged = [one for labels in whose for one in groups[labels]]
            row = plain.row(definition, size, end, merged)
            assert row is not None
            numbers[name] = row[0]
    return {name: numbers[name] for name in members}


def _first_open(
    partition: Partition, definition: Definition, size: Size, record: int
) -> int | None:
    """The end of the first window of this size that is open after the record; None: never one."""
    mark = partition.watermark[record] - definition.grace
    return None if mark == math.inf else end_after(int(mark), size)
