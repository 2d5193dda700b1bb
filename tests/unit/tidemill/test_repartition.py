"""When another number of partitions may begin, and what is said where it may not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from metric_registry.zones import find
from streams.event_time.windows import rfc3339
from tidemill.repartition import RepartitionError, Wanted, change, key_text, next_boundary
from topologies.epochs import LIVE, Epochs, Listed
from topologies.windows import level_of

SECOND = 1_000_000_000
SIZES = [10 * SECOND, 60 * SECOND, 3600 * SECOND]
NONE = Epochs()


def test_a_change_begins_where_windows_of_every_size_end():
    assert next_boundary(1, SIZES) == 3600 * SECOND
    assert next_boundary(3600 * SECOND, SIZES) == 3600 * SECOND
    assert next_boundary(1, [6 * SECOND, 10 * SECOND]) == 30 * SECOND


def test_the_soonest_time_is_proposed_and_the_next_topic_named():
    decided = change(NONE, 4, Wanted(8), 3601 * SECOND, SIZES)
    assert decided.new == Listed(f"{LIVE}.e2", 8, 7200 * SECOND)
    assert decided.before == Listed(LIVE, 4, 0)
    then = change(decided.epochs, 4, Wanted(4), 7300 * SECOND, SIZES)
    assert then.new == Listed(f"{LIVE}.e3", 4, 10800 * SECOND)
    assert then.before == decided.new
    assert len(then.epochs.later) == 2


def test_the_key_may_change_and_stays_otherwise():
    keyed = change(NONE, 4, Wanted(key=("cluster",)), 3601 * SECOND, SIZES)
    assert keyed.new == Listed(f"{LIVE}.e2", 4, 7200 * SECOND, ("cluster",))
    more = change(keyed.epochs, 4, Wanted(8), 7300 * SECOND, SIZES)
    assert more.new == Listed(f"{LIVE}.e3", 8, 10800 * SECOND, ("cluster",))
    back = change(more.epochs, 4, Wanted(key=None), 10900 * SECOND, SIZES)
    assert back.new.key is None
    again = Epochs.from_json(back.epochs.to_json())
    assert [one.key for one in again.later] == [("cluster",), ("cluster",), None]
    with pytest.raises(RepartitionError, match="e2 has 4 partitions already, keyed by tenant, c"):
        change(keyed.epochs, 4, Wanted(4, ("cluster",)), 7300 * SECOND, SIZES)
    assert [key_text(key) for key in (None, (), ("a", "b"))] == [
        "tenant and resource",
        "tenant",
        "tenant, a, b",
    ]


def test_epochs_without_keys_are_the_bytes_that_they_were():
    told = Epochs((Listed(f"{LIVE}.e2", 8, 7200 * SECOND),)).to_json()
    assert b"key" not in told


def test_days_and_months_of_a_zone_end_there_too():
    rules = find("Europe/Berlin").rules
    levels = [level_of(size, rules) for size in (10, "1d", "1mo")]
    march = datetime(2024, 3, 10, tzinfo=UTC).timestamp()
    assert rfc3339(next_boundary(int(march) * SECOND, levels)) == "2024-03-31T22:00:00Z"
    days = [level_of("1d", rules), level_of("1d", find("America/New_York").rules)]
    with pytest.raises(RepartitionError, match="no end in common"):
        next_boundary(int(march) * SECOND, days)


@pytest.mark.parametrize(
    ("partitions", "at", "said"),
    [
        (4, None, "has 4 partitions already"),
        (8, 3600, "too soon"),
        (8, 7201, "lies within windows; the next time at which all end is 1970-01-01T03:00:00Z"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(partitions: int, at: int | None, said: str):
    when = None if at is None else at * SECOND
    with pytest.raises(RepartitionError, match=said):
        change(NONE, 4, Wanted(partitions, at=when), 3601 * SECOND, SIZES)


def test_a_change_begins_after_the_one_before_it():
    known = Epochs((Listed(f"{LIVE}.e2", 8, 7200 * SECOND),))
    assert change(known, 4, Wanted(2), 3601 * SECOND, SIZES).new.since == 10800 * SECOND


def test_a_time_is_said_as_it_can_be_given():
    assert rfc3339(3600 * SECOND) == "1970-01-01T01:00:00Z"
