"""Who is told of limits: once when it becomes so, and at every window that is over."""

import json

from streams.event_time.windows import SECOND
from topologies.rollup.guard import Fill
from topologies.rollup.ledger import Limits

PANE = "10000000000/0/0"
DEFINITIONS = [{"name": "m", "version": "v1", "limit": 100}]


def fill(end: int, groups: int, points: int = 0) -> Fill:
    return Fill(0, 10 * SECOND, end * SECOND, b"t", points > 0, groups, points)


def told(limits: Limits, end: int, *fills: Fill) -> list[tuple[str, int, int, int]] | None:
    """What a closing up to `end` writes: (state, groups, windows over, points) of each account."""
    limits.closed("telemetry.raw", PANE, end * SECOND, fills, DEFINITIONS)
    row = limits.news("telemetry.partials/0")
    if row is None:
        return None
    rows = json.loads(row)["limits"]
    return [(one["state"], one["groups"], one["windows"], one["points"]) for one in rows]


def test_near_is_told_once_over_at_every_window_and_back_once():
    limits = Limits()
    assert told(limits, 10) is None
    assert told(limits, 20, fill(20, 80)) == [("near", 80, 0, 0)]
    assert told(limits, 30, fill(30, 85)) is None
    assert told(limits, 50, fill(40, 200, 7), fill(50, 300, 8)) == [("over", 300, 2, 15)]
    assert told(limits, 60, fill(60, 300, 9)) == [("over", 300, 3, 24)]
    assert told(limits, 70) == [("within", 300, 3, 24)]
    assert told(limits, 80) is None


def test_a_restart_tells_nothing_twice():
    limits, again = Limits(), Limits()
    told(limits, 20, fill(20, 80))
    again.restore(json.loads(json.dumps(limits.to_meta())))
    assert told(again, 30, fill(30, 81)) is None
    assert told(again, 40, fill(40, 200, 1)) == [("over", 200, 1, 1)]
    assert again.rows()[0] | {"state": "near"} != limits.rows()[0]
