"""A task stops where its aggregations say so one by one: the comparisons are those, precomputed."""

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.event_time.windows import EARLIEST, LATEST, SECOND, last_complete, window_end
from topologies.epochs import Bounds
from topologies.preaggregate.stops import Stops

BASE = 1_790_000_000 * SECOND
PANES = (1, 10, 60, 300, 86_400)
SETTLE = 2 * SECOND


def aggregation(dice: random.Random) -> Any:
    """What `Stops` asks of one."""
    pane = dice.choice(PANES) * SECOND
    frontier = dice.choice([EARLIEST, LATEST, window_end(around(dice), pane), around(dice)])
    key = SimpleNamespace(pane=pane, grace=dice.choice([0, 2, 45, 400]) * SECOND)
    pending = [object()] * dice.choice([0, 0, 1])
    since = around(dice)
    panes = SimpleNamespace(frontier=frontier)
    return SimpleNamespace(key=key, panes=panes, pending=pending, pending_since=since)


def around(dice: random.Random) -> int:
    return BASE + dice.randrange(-400, 400) * SECOND + dice.choice([-1, 0, 0, 1])


def time(dice: random.Random) -> int:
    return dice.choice([around(dice), around(dice), around(dice), EARLIEST, LATEST])


def boundary(one: Any, watermark: int) -> int:
    if watermark in (EARLIEST, LATEST):
        return watermark
    return last_complete(watermark - one.key.grace, one.key.pane)


def is_late(every: list[Any], bounds: Bounds, oldest: int) -> bool:
    if oldest == LATEST:
        return False
    if bounds.known:
        oldest = max(oldest, bounds.since + 1)
    return any(window_end(oldest, one.key.pane) <= one.panes.frontier for one in every)


def is_due(every: list[Any], watermark: int, received: int, marker: bool) -> bool:
    return any(
        boundary(one, watermark) > one.panes.frontier
        or (one.pending and (marker or received >= one.pending_since + SETTLE))
        for one in every
    )


@pytest.mark.parametrize("seed", range(200))
def test_a_task_stops_where_any_aggregation_does(seed: int):
    dice = random.Random(seed)
    every = [aggregation(dice) for _ in range(dice.randrange(4))]
    bounds = dice.choice(
        [Bounds(), Bounds(since=LATEST), Bounds(since=window_end(around(dice), 60 * SECOND))]
    )
    stops = Stops.of(cast(Any, every), bounds, SETTLE)
    edges = [one.panes.frontier for one in every if abs(one.panes.frontier) < LATEST]
    edges += [edge + one.key.grace for edge in edges for one in every]
    edges += [edge + one.key.pane for edge in edges for one in every]
    times = [time(dice) for _ in range(20)] + [at + by for at in edges for by in (-1, 0, 1)]
    for each in times:
        assert (each <= stops.late) == is_late(every, bounds, each), each
        received, marker = around(dice), dice.random() < 0.5
        expected = is_due(every, each, received, marker)
        assert stops.due(each, received, marker) == expected, (each, received, marker)
