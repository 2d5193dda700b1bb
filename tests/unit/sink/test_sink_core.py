"""The sink's core, step by step."""

from __future__ import annotations

from dataclasses import replace

from topologies.sink.core import BatchLimits, SinkCore
from topologies.sink.events import (
    Arrived,
    Assigned,
    Bounds,
    Commit,
    Committed,
    Done,
    Failed,
    Forget,
    Insert,
    Records,
    Report,
    Revoked,
    Seek,
    Tick,
)

TOPIC = "telemetry.rollups"
LIMITS = BatchLimits(max_rows=10, linger_ms=100, interval_ms=500, backoff_ms=200)


def assigned(committed: Committed | None = None, start: int = 0, end: int = 100) -> Assigned:
    return Assigned(0, 1, committed, start, end, "fresh")


def records(*offsets_and_rows: tuple[int, int]) -> Records:
    arrived = tuple(Arrived(offset, rows) for offset, rows in offsets_and_rows)
    return Records(0, 1, arrived, arrived[-1].offset + 1)


def started(committed: Committed | None = None) -> SinkCore:
    core = SinkCore(TOPIC, LIMITS)
    core.step(assigned(committed), 0)
    return core


def test_bounds_are_kept_before_anything_is_inserted() -> None:
    core = started()
    assert core.step(records((3, 4), (5, 4)), 0) == []
    assert core.wakeup_ms() == 100
    (commit,) = core.step(Tick(), 100)
    assert commit == Commit(0, 1, Committed(0, "fresh", Bounds(3, 5)))
    assert core.step(Tick(), 10_000) == []
    (insert,) = core.step(Done(0, 1), 101)
    assert insert == Insert(0, 1, Bounds(3, 5), f"{TOPIC}/0/fresh/3-5")
    forget, advance = core.step(Done(0, 1), 130)
    assert forget == Forget(0, 5)
    assert advance == Commit(0, 1, Committed(6, "fresh"))
    assert core.step(Done(0, 1), 131) == []


def test_a_full_batch_does_not_wait_and_is_cut_where_it_is_full() -> None:
    core = started()
    (commit,) = core.step(records((0, 4), (1, 4), (2, 4)), 0)
    assert commit == Commit(0, 1, Committed(0, "fresh", Bounds(0, 1)))


def test_a_record_with_more_rows_than_a_batch_may_have_is_a_batch_of_its_own() -> None:
    core = started()
    (commit,) = core.step(records((0, 50), (1, 1)), 0)
    assert commit == Commit(0, 1, Committed(0, "fresh", Bounds(0, 0)))


def test_the_next_bounds_say_that_the_batch_before_is_stored() -> None:
    core = started()
    core.step(records((0, 10), (1, 10)), 0)
    core.step(Done(0, 1), 1)
    forget, commit = core.step(Done(0, 1), 2)
    assert (forget, commit) == (
        Forget(0, 0),
        Commit(0, 1, Committed(1, "fresh", Bounds(1, 1))),
    )


def test_small_batches_keep_their_distance() -> None:
    core = started()
    core.step(records((0, 1)), 0)
    core.step(Tick(), 100)
    core.step(Done(0, 1), 101)
    core.step(Done(0, 1), 110)
    core.step(Done(0, 1), 111)
    core.step(records((1, 1)), 120)
    assert core.wakeup_ms() == 610
    assert core.step(Tick(), 300) == []
    assert core.step(Tick(), 610) == [Commit(0, 1, Committed(1, "fresh", Bounds(1, 1)))]


def test_after_a_batch_of_many_rows_the_next_is_larger_unless_it_is_full_before() -> None:
    limits = BatchLimits(max_rows=10, linger_ms=100, interval_ms=500, many_rows=5)
    core = SinkCore(TOPIC, limits)
    core.step(assigned(), 0)
    core.step(records((0, 5)), 0)
    core.step(Tick(), 100)
    core.step(Done(0, 1), 101)
    core.step(Done(0, 1), 110)
    core.step(Done(0, 1), 111)
    core.step(records((1, 4)), 120)
    assert core.wakeup_ms() == 110 + limits.many_interval_ms
    assert core.step(Tick(), 1_000) == []
    assert core.step(records((2, 6)), 1_010) == [Commit(0, 1, Committed(1, "fresh", Bounds(1, 2)))]


def inserted() -> SinkCore:
    """A core with room for many that inserted something at 110."""
    core = SinkCore(TOPIC, replace(LIMITS, max_rows=100))
    core.step(assigned(), 0)
    core.step(records((0, 1)), 0)
    core.step(Tick(), 100)
    for now in (101, 110, 111):
        core.step(Done(0, 1), now)
    return core


def old(offset: int, behind_ms: int) -> Records:
    return Records(0, 1, (Arrived(offset, 1, behind_ms),), offset + 1)


def test_old_rows_wait_a_twentieth_of_their_age_as_long_as_others_come() -> None:
    core = inserted()
    for number, now in enumerate(range(200, 3_200, 500)):
        assert core.step(old(number + 1, 60_000), now) == []
    assert core.wakeup_ms() == 110 + 60_000 // 20
    assert core.step(Tick(), 3_109) == []
    (commit,) = core.step(Tick(), 3_110)
    assert commit == Commit(0, 1, Committed(1, "fresh", Bounds(1, 6)))


def test_however_old_they_are_they_do_not_wait_for_long() -> None:
    core = inserted()
    for number, now in enumerate(range(200, 15_100, 500)):
        assert core.step(old(number + 1, 10**12), now) == []
    assert core.wakeup_ms() == 110 + LIMITS.behind_interval_ms


def test_old_rows_do_not_wait_when_no_others_come() -> None:
    core = inserted()
    core.step(old(1, 10**9), 200)
    assert core.wakeup_ms() == 200 + LIMITS.quiet_ms
    core.step(old(2, 10**9), 1_000)
    assert core.wakeup_ms() == 1_000 + LIMITS.quiet_ms


def test_new_rows_among_old_ones_do_not_wait() -> None:
    core = inserted()
    core.step(old(1, 10**9), 200)
    core.step(old(2, 500), 300)
    core.step(old(3, 10**9), 400)
    assert core.wakeup_ms() == 610


def test_the_bounds_of_a_predecessor_are_read_again_and_inserted_under_the_same_token() -> None:
    kept = Committed(3, "old", Bounds(3, 5))
    core = SinkCore(TOPIC, LIMITS)
    assert core.step(assigned(kept), 0) == [Seek(0, 3)]
    assert core.step(records((3, 20)), 0) == []
    (insert,) = core.step(records((5, 20), (6, 1)), 1)
    assert insert == Insert(0, 1, Bounds(3, 5), f"{TOPIC}/0/old/3-5")


def test_what_is_in_the_table_is_not_taken_in_again() -> None:
    core = started(Committed(3, "old"))
    core.step(records((1, 4), (2, 4), (3, 4)), 0)
    assert core.step(Tick(), 100) == [Commit(0, 1, Committed(3, "old", Bounds(3, 3)))]


def test_a_failed_insert_is_tried_again_as_it_was_and_ever_less_often() -> None:
    core = started()
    core.step(records((0, 10)), 0)
    (insert,) = core.step(Done(0, 1), 0)
    now, waits = 0, []
    for _ in range(8):
        core.step(records((99, 1)), now)
        core.step(Failed(0, 1), now)
        at = core.wakeup_ms()
        assert at is not None
        assert core.step(Tick(), at - 1) == []
        waits.append(at - now)
        now = at
        assert core.step(Tick(), now) == [insert]
    assert waits == [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]


def test_answers_to_an_assignment_that_is_over_are_ignored() -> None:
    core = started()
    core.step(records((0, 10)), 0)
    core.step(Revoked(0), 1)
    assert core.step(Done(0, 1), 2) == []
    core.step(Assigned(0, 2, None, 0, 5, "other"), 3)
    assert core.step(Done(0, 1), 4) == []
    assert core.step(records((0, 10)), 5) == []


def test_a_topic_made_anew_is_reported_and_stored_from_its_beginning_under_new_tokens() -> None:
    core = SinkCore(TOPIC, LIMITS)
    report, seek = core.step(assigned(Committed(500, "old"), start=0, end=100), 0)
    assert isinstance(report, Report)
    assert "made anew" in report.message
    assert seek == Seek(0, 0)
    (commit,) = core.step(records((0, 10)), 0)
    assert commit == Commit(0, 1, Committed(0, "fresh", Bounds(0, 0)))


def test_what_retention_took_before_it_was_stored_is_reported() -> None:
    core = SinkCore(TOPIC, LIMITS)
    report, seek = core.step(assigned(Committed(3, "old"), start=7), 0)
    assert isinstance(report, Report)
    assert "offsets 3 to 6 were deleted" in report.message
    assert seek == Seek(0, 7)


def test_no_more_than_two_batches_are_held() -> None:
    core = started()
    assert core.wants(0)
    core.step(records((0, 19)), 0)
    assert core.wants(0)
    core.step(records((1, 1)), 0)
    assert not core.wants(0)
    assert not core.wants(1)


def test_metadata_of_the_group_is_read_as_it_was_written() -> None:
    for kept in (Committed(7, "e"), Committed(7, "e", Bounds(8, 9))):
        assert Committed.read(7, kept.metadata()) == kept
    for foreign in ("", "x", "[]", '["tidemill-sink/2","e"]', '{"a":1}'):
        assert Committed.read(7, foreign) is None
