"""Topic epochs, from the rules alone: which topic counts a point, and who must have sealed.

The live domain lives on one topic after another: `telemetry.raw`, `telemetry.raw.e2`, ... A record
`control: epoch` in each partition of a topic says from which time on (`since`) and up to which
(`until`) it counts. Times are unix nanoseconds; what is not said is infinite.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oracle.definitions import Definition
    from oracle.log import Partition, Point

LIVE = "telemetry.raw"
STREAM_GAP = int(os.environ.get("TIDEMILL_STREAM_GAP_S", "900")) * 1_000_000_000


def domain_of(topic: str) -> str:
    """Whose time a topic follows: that of the live domain in all of its epochs."""
    return LIVE if re.fullmatch(r"telemetry\.raw\.e\d+", topic) else topic


def bounds(value: bytes, since: float, until: float) -> tuple[float, float]:
    """What is known of (since, until] after a record `control: epoch`."""
    told = json.loads(value)
    return told.get("since", since), told.get("until", until)


def topics_for(times: Iterable[int], changes: Sequence[int], gap: int = STREAM_GAP) -> list[int]:
    """Numbers of the epochs (from 1) that a record goes to: of its points, and where they are base.

    times: of all its points; changes: the times at which epochs 2, 3, ... begin, ascending.
    """
    limits = [-math.inf, *changes, math.inf]
    found: list[int] = []
    for number in range(1, len(limits)):
        since, until = limits[number - 1], limits[number]
        if any(since - gap < time <= until for time in times):
            found.append(number)
    return found


def owns(partition: Partition, time: int) -> bool:
    """Whether a point of this time (or a window that ends there) is this topic's to count."""
    return partition.since < time <= partition.until


def is_base(partition: Partition, definition: Definition, point: Point) -> bool:
    """Whether a point from before the epoch matters as a base line: its stream is not forgotten."""
    sample = point.kind == "cumulative" and point.monotonic and point.fate == "accepted"
    near = partition.since - STREAM_GAP < point.time <= partition.since
    if point.content is not None:
        sample = point.content.cumulative and not point.content.wrong and point.fate == "accepted"
        return definition.instrument == point.kind and sample and near
    return definition.over_time in ("increase", "rate") and sample and near


def late_from(partition: Partition, definition: Definition, point: Point) -> int:
    """From which watermark on the point is late: a base line when the first window has sealed."""
    first = point.time if math.isinf(partition.since) else max(point.time, int(partition.since) + 1)
    return -(-first // definition.finest) * definition.finest + definition.grace


def sealed(partition: Partition, definition: Definition, end: float) -> bool:
    """Whether the partition has come to the end of a window."""
    return bool(partition.watermark) and partition.watermark[-1] >= end + definition.grace


def reached(partitions: Sequence[Partition], definition: Definition, carries: bool) -> float:
    """Up to which time all of a domain have come: windows that end by then are closed.

    Each epoch in turn: all its partitions up to its end, then those of the next one. Where late
    amounts are carried (carries: by any definition of the same panes) an epoch that has ended
    goes on to be waited for, until nothing of it can change.
    """
    ends = sorted({partition.since for partition in partitions})
    so_far = -math.inf
    waits = math.inf
    for since in ends:
        mine = [partition for partition in partitions if partition.since == since]
        if since > so_far:
            break
        until = min(partition.until for partition in mine)
        come = [_come(partition, definition) for partition in mine]
        so_far = max(so_far, min(*come, until))
        if carries:
            # an epoch that has just begun holds back nothing of those before it
            each = zip(mine, come, strict=True)
            waits = min(waits, *(_waits(p, definition, max(c, since)) for p, c in each))
        if so_far < until:
            break
    return min(so_far, waits)


def _come(partition: Partition, definition: Definition) -> float:
    newest = max(partition.watermark, default=-math.inf)
    return newest if math.isinf(newest) else newest - definition.grace


def _waits(partition: Partition, definition: Definition, come: float) -> float:
    """Up to where it lets later windows close: all, once it has said that nothing changes."""
    for record, mark in enumerate(partition.watermark):
        before = partition.before(record)
        if mark - definition.corrections > partition.until and _seals(definition, before, mark):
            return math.inf
    return come


def _seals(definition: Definition, before: float, after: float) -> bool:
    if math.isinf(before) or math.isinf(after):
        return after > before
    grace, size = definition.grace, definition.finest
    return (int(after) - grace) // size > (int(before) - grace) // size
