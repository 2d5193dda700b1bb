"""Transactions, one promise a test, against both bare cores with a moved clock."""

from typing import Any

import pytest

from broker.coordination import WriteMarkers
from broker.groups.events import CommitTransactionOffsets, FetchOffsets, OffsetToCommit
from broker.transactions.config import DAY_MS
from broker.transactions.events import (
    AddOffsets,
    AddPartitions,
    CommitOffsets,
    EndTransaction,
    InitProducerId,
)
from broker.transactions.transaction import MAX_EPOCH
from tests.unit.broker_groups.bench import Bench

NONE, UNKNOWN_TOPIC, INVALID_REQUEST, INVALID_EPOCH, INVALID_TXN_STATE = 0, 3, 42, 47, 48
INVALID_MAPPING, INVALID_TIMEOUT, CONCURRENT, NOT_ATTEMPTED, FENCED = 49, 50, 51, 55, 90
Producer = tuple[int, int]
P0, P1 = ("t", 0), ("t", 1)


def init(bench: Bench, name: str = "x", timeout_ms: int = 60_000, **named: Any) -> Producer:
    fields = bench.answers[bench.ask(InitProducerId, name, timeout_ms, **named)]
    assert fields["error_code"] == NONE
    return fields["producer_id"], fields["producer_epoch"]


def init_error(bench: Bench, name: str = "x", timeout_ms: int = 60_000, **named: Any) -> int:
    return bench.error(bench.ask(InitProducerId, name, timeout_ms, **named))


def add(bench: Bench, producer: Producer, *partitions: tuple[str, int], **named: Any) -> list[int]:
    asked = bench.ask(AddPartitions, "x", *producer, partitions, **named)
    topics = bench.answers[asked]["results_by_topic_v3_and_below"]
    return [p["partition_error_code"] for t in topics for p in t["results_by_partition"]]


def end(bench: Bench, producer: Producer, *, commit: bool, **named: Any) -> int:
    return bench.error(bench.ask(EndTransaction, "x", *producer, commit, **named))


def outcome(marker: WriteMarkers) -> tuple[int, int, bool, tuple[tuple[str, int], ...]]:
    return marker.producer_id, marker.producer_epoch, marker.commit, marker.partitions


def test_a_transactional_id_keeps_its_producer_id_and_counts_its_owners():
    bench = Bench()
    first, second = init(bench), init(bench)
    assert second == (first[0], first[1] + 1)
    assert init(bench, "y")[0] != first[0]
    assert init(bench.restarted()) == (first[0], 2)


def test_senseless_requests_are_refused():
    bench = Bench()
    assert init_error(bench, "") == INVALID_REQUEST
    assert init_error(bench, timeout_ms=0) == INVALID_TIMEOUT
    assert init_error(bench, timeout_ms=900_001) == INVALID_TIMEOUT
    assert add(bench, (5, 0), P0) == [INVALID_MAPPING]
    producer = init(bench)
    assert end(bench, producer, commit=True) == INVALID_TXN_STATE


def test_a_committed_transaction_marks_every_partition_it_touched():
    bench = Bench()
    producer = init(bench)
    assert add(bench, producer, P0) == [NONE]
    assert add(bench, producer, P1, P0) == [NONE, NONE]
    assert end(bench, producer, commit=True) == NONE
    assert [outcome(m) for m in bench.markers] == [(*producer, True, (P0, P1))]


def test_the_end_is_answered_when_the_markers_are_written_so_the_next_may_begin():
    bench = Bench()
    producer = init(bench)
    add(bench, producer, P0)
    bench.hold_markers = True
    asked = bench.ask(EndTransaction, "x", *producer, True)
    assert asked not in bench.answers
    assert add(bench, producer, P1) == [CONCURRENT]
    bench.release_markers()
    assert bench.error(asked) == NONE
    assert add(bench, producer, P1) == [NONE]


def test_the_same_end_may_be_asked_again_and_the_other_may_not():
    bench = Bench()
    producer = init(bench)
    add(bench, producer, P0)
    bench.hold_markers = True
    bench.ask(EndTransaction, "x", *producer, True)
    assert end(bench, producer, commit=True) == CONCURRENT
    assert end(bench, producer, commit=False) == INVALID_TXN_STATE
    bench.release_markers()
    assert end(bench, producer, commit=True) == NONE
    assert end(bench, producer, commit=False) == INVALID_TXN_STATE
    assert len(bench.markers) == 1


def test_a_marker_that_a_log_refused_is_written_again_there_only():
    bench = Bench()
    producer = init(bench)
    add(bench, producer, P0, P1)
    bench.hold_markers = True
    asked = bench.ask(EndTransaction, "x", *producer, True)
    bench.release_markers(failed=(P1,))
    assert asked not in bench.answers
    bench.pass_time(1_000)
    assert outcome(bench.markers[-1]) == (*producer, True, (P1,))
    bench.release_markers()
    assert bench.error(asked) == NONE


def test_a_new_owner_ends_the_open_transaction_before_it_gets_the_id():
    bench = Bench()
    old = init(bench)
    add(bench, old, P0)
    bench.hold_markers = True
    assert init_error(bench) == CONCURRENT
    assert init_error(bench) == CONCURRENT
    assert [outcome(m) for m in bench.markers] == [(old[0], old[1] + 1, False, (P0,))]
    bench.release_markers()
    assert init(bench) == (old[0], old[1] + 2)


@pytest.mark.parametrize(("knows", "told"), [(False, INVALID_EPOCH), (True, FENCED)])
def test_the_old_owner_is_fenced_from_everything(knows: bool, told: int):
    bench = Bench()
    old, new = init(bench), init(bench)
    add(bench, new, P0)
    assert add(bench, old, P0, knows_fenced=knows) == [told]
    assert end(bench, old, commit=True, knows_fenced=knows) == told
    offsets = bench.ask(AddOffsets, "x", *old, "g", knows_fenced=knows)
    assert bench.error(offsets) == told
    wish = {"producer_id": old[0], "producer_epoch": old[1]}
    assert init_error(bench, **wish, knows_fenced=knows) == told
    assert bench.markers == []


def test_a_producer_may_bump_its_own_epoch_and_ask_again_for_the_answer_it_lost():
    bench = Bench()
    first = init(bench)
    wish = {"producer_id": first[0], "producer_epoch": first[1]}
    second = init(bench, **wish)
    assert second == (first[0], first[1] + 1)
    assert init(bench, **wish) == second
    add(bench, second, P0)
    assert init_error(bench, **wish) == INVALID_EPOCH, "it has begun: who asks is a stranger"


def test_when_epochs_run_out_the_id_gets_a_new_producer_id():
    bench = Bench()
    producer = init(bench)
    for _ in range(MAX_EPOCH):
        before, producer = producer, init(bench)
    assert before == (before[0], MAX_EPOCH - 1)
    assert producer == (before[0] + 1, 0)


def test_a_transaction_that_outlives_its_time_is_aborted_and_its_producer_fenced():
    bench = Bench()
    producer = init(bench, timeout_ms=5_000)
    add(bench, producer, P0)
    bench.pass_time(4_000)
    add(bench, producer, P1)
    assert bench.markers == []
    bench.pass_time(1_000)
    assert [outcome(m) for m in bench.markers] == [(producer[0], producer[1] + 1, False, (P0, P1))]
    assert end(bench, producer, commit=True) == INVALID_EPOCH
    assert init(bench) == (producer[0], producer[1] + 2)


def test_time_runs_anew_for_each_transaction():
    bench = Bench()
    producer = init(bench, timeout_ms=5_000)
    for _ in range(3):
        add(bench, producer, P0)
        bench.pass_time(4_000)
        assert end(bench, producer, commit=True) == NONE
    bench.pass_time(60_000)
    assert {m.commit for m in bench.markers} == {True}


def test_partitions_that_do_not_exist_are_named_and_the_others_not_attempted():
    bench = Bench()
    producer = init(bench)
    assert add(bench, producer, P0, ("t", 9)) == [NOT_ATTEMPTED, UNKNOWN_TOPIC]
    assert end(bench, producer, commit=True) == INVALID_TXN_STATE


def test_batches_are_admitted_from_the_first_answer_to_the_decision():
    bench = Bench()
    producer = init(bench)
    add(bench, producer, P0)
    add(bench, producer, P1)
    assert bench.admitted == {producer[0]: (producer[1], {P0, P1})}
    bench = bench.restarted()
    assert bench.admitted == {producer[0]: (producer[1], {P0, P1})}
    bench.hold_markers = True
    bench.ask(EndTransaction, "x", *producer, True)
    assert bench.admitted == {}


@pytest.mark.parametrize("commit", [True, False])
def test_a_decision_is_carried_out_after_a_restart(commit: bool):
    bench = Bench()
    producer = init(bench)
    add(bench, producer, P0, P1)
    bench.hold_markers = True
    bench.ask(EndTransaction, "x", *producer, commit)
    bench = bench.restarted()
    assert [outcome(m) for m in bench.markers] == [(*producer, commit, (P0, P1))]
    assert end(bench, producer, commit=commit) == NONE


def test_an_open_transaction_stays_open_over_a_restart_and_still_times_out():
    bench = Bench()
    producer = init(bench, timeout_ms=5_000)
    add(bench, producer, P0)
    bench = bench.restarted()
    assert bench.markers == []
    bench.pass_time(5_000)
    assert [m.commit for m in bench.markers] == [False]


def test_a_clock_that_was_set_back_over_a_restart_does_not_hold_a_transaction_open():
    bench = Bench(now_ms=10_000_000)
    producer = init(bench, timeout_ms=5_000)
    add(bench, producer, P0)
    bench = bench.restarted(now_ms=1_000_000)
    bench.pass_time(5_000)
    assert [m.commit for m in bench.markers] == [False]


def test_an_id_that_nobody_uses_is_forgotten_and_an_open_one_never():
    bench = Bench()
    first = init(bench)
    bench.pass_time(8 * DAY_MS)
    assert add(bench, first, P0) == [INVALID_MAPPING]
    assert init(bench.restarted())[0] != first[0]


def offsets_of(bench: Bench, producer: Producer, offset: int, group: str = "g") -> list[int]:
    bench._next += 1
    positions = (OffsetToCommit("t", 0, offset, -1, ""),)
    request = CommitTransactionOffsets(bench._next, group, producer[0], positions)
    bench.tell("transactions", CommitOffsets("x", producer[1], request))
    fields = bench.answers[bench._next]
    return [p["error_code"] for t in fields["topics"] for p in t["partitions"]]


def position(bench: Bench) -> int:
    asked = bench.ask(FetchOffsets, "g", (("t", 0),))
    return bench.answers[asked]["topics"][0]["partitions"][0]["committed_offset"]


def test_positions_become_visible_with_the_commit_and_not_with_an_abort():
    bench = Bench()
    producer = init(bench)
    for offset, commit, seen in [(1, True, 1), (2, False, 1), (3, True, 3)]:
        assert bench.error(bench.ask(AddOffsets, "x", *producer, "g")) == NONE
        assert offsets_of(bench, producer, offset) == [NONE]
        assert end(bench, producer, commit=commit) == NONE
        assert position(bench) == seen


def test_positions_need_an_open_transaction_that_named_the_group():
    bench = Bench()
    old = init(bench)
    assert offsets_of(bench, old, 1) == [INVALID_TXN_STATE]
    bench.ask(AddOffsets, "x", *old, "g")
    assert offsets_of(bench, old, 1, "other") == [INVALID_TXN_STATE]
    assert init_error(bench) == CONCURRENT
    assert offsets_of(bench, old, 1) == [INVALID_EPOCH]
    assert position(bench) == -1


def test_pending_positions_are_decided_after_a_restart_too():
    bench = Bench()
    producer = init(bench)
    add(bench, producer, P0)
    bench.ask(AddOffsets, "x", *producer, "g")
    offsets_of(bench, producer, 7)
    bench = bench.restarted()
    assert position(bench) == -1
    assert end(bench, producer, commit=True) == NONE
    assert position(bench) == 7
