"""How late the points of a definition came to a partition: by the rule, point by point."""

from __future__ import annotations

import math
from collections import Counter

from oracle import epochs
from oracle.definitions import SECOND, Definition
from oracle.log import Partition
from oracle.oracle import Tally, _counts, window_end

DAY = 86_400 * SECOND


def lateness(partition: Partition, definition: Definition) -> tuple[Counter[tuple], dict[int, int]]:
    """(how many by day, word and bucket; the latest of each day, ns).

    word: `late`, or `beyond` the corrections; bucket: 0 below a second, then up to 2, 4, 8, ...
    """
    counts: Counter[tuple] = Counter()
    most: dict[int, int] = {}
    for point in partition.points:
        if not epochs.owns(partition, point.time):
            continue
        tally = Tally()
        _counts(definition, partition, point, tally)
        before = partition.before(point.record)
        if not (tally.accepted or tally.beyond_corrections) or math.isinf(before):
            continue
        past = int(before) - window_end(point.time, definition.finest)
        if past >= definition.grace:
            day = int(before) // DAY
            bucket = 0
            while 1 << bucket <= past // SECOND:
                bucket += 1
            counts[day, "beyond" if tally.beyond_corrections else "late", bucket] += 1
            most[day] = max(most.get(day, 0), past)
    return counts, most
