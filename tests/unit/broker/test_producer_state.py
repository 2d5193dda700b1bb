"""Sequences, epochs and transactions of one partition."""

from broker.log.producers import Duplicate, ProducerTable
from broker.protocol.errors import ErrorCode
from broker.records.batch import MAX_INT32, BatchHeader, Refusal, read_header
from broker.records.build import build_batch

TRANSACTIONAL = 0x10


def batch(
    sequence: int,
    count: int = 1,
    *,
    epoch: int = 0,
    offset: int = 0,
    pid: int = 1,
    txn: bool = False,
) -> BatchHeader:
    data = build_batch(
        [(b"k", b"v")] * count,
        1000,
        producer_id=pid,
        producer_epoch=epoch,
        base_sequence=sequence,
        attributes=TRANSACTIONAL if txn else 0,
    )
    return read_header(data)._replace(base_offset=offset)


def marker(pid: int, epoch: int, offset: int) -> BatchHeader:
    return batch(-1, epoch=epoch, offset=offset, pid=pid)


def record(table: ProducerTable, header: BatchHeader, now_ms: int) -> None:
    table.record(header, header.base_offset, now_ms)


def end(table: ProducerTable, header: BatchHeader, now_ms: int, **outcome) -> None:
    table.record_marker(header, header.base_offset, now_ms, **outcome)


def error_of(table: ProducerTable, header: BatchHeader) -> int | None:
    found = table.check(header)
    return found.error if isinstance(found, Refusal) else None


def test_an_unknown_producer_may_begin_anywhere():
    assert ProducerTable().check(batch(77)) is None


def test_the_next_sequence_follows_and_any_other_is_out_of_order():
    table = ProducerTable()
    record(table, batch(0, 3, offset=10), 0)
    assert table.check(batch(3)) is None
    assert error_of(table, batch(4)) == ErrorCode.out_of_order_sequence_number
    assert error_of(table, batch(2)) == ErrorCode.out_of_order_sequence_number


def test_the_last_five_batches_are_recognised_with_their_offsets():
    table = ProducerTable()
    for i in range(7):
        record(table, batch(2 * i, 2, offset=100 + 2 * i), 0)
    for i in range(7):
        found = table.check(batch(2 * i, 2))
        if i >= 2:
            assert isinstance(found, Duplicate)
            assert (found.base_offset, found.next_offset) == (100 + 2 * i, 102 + 2 * i)
        else:
            assert isinstance(found, Refusal)


def test_a_batch_that_only_begins_like_a_known_one_is_not_a_repeat():
    table = ProducerTable()
    record(table, batch(0, 3), 0)
    assert error_of(table, batch(0, 2)) == ErrorCode.out_of_order_sequence_number


def test_an_older_epoch_is_fenced_and_a_newer_one_begins_with_zero():
    table = ProducerTable()
    record(table, batch(0, epoch=3), 0)
    assert error_of(table, batch(1, epoch=2)) == ErrorCode.invalid_producer_epoch
    assert error_of(table, batch(1, epoch=4)) == ErrorCode.out_of_order_sequence_number
    assert table.check(batch(0, epoch=4)) is None


def test_sequences_wrap_to_zero():
    table = ProducerTable()
    record(table, batch(MAX_INT32 - 1, 2), 0)
    assert table.check(batch(0)) is None
    assert error_of(table, batch(1)) == ErrorCode.out_of_order_sequence_number


def test_a_marker_of_a_newer_epoch_fences_the_old_one():
    table = ProducerTable()
    record(table, batch(0, epoch=1, txn=True), 0)
    end(table, marker(1, 2, 1), 0, commit=False, coordinator_epoch=0)
    assert error_of(table, batch(1, epoch=1)) == ErrorCode.invalid_producer_epoch
    assert table.check(batch(0, epoch=2)) is None


def test_the_last_stable_offset_waits_for_the_earliest_open_transaction():
    table = ProducerTable()
    record(table, batch(0, offset=5, pid=1, txn=True), 0)
    record(table, batch(0, offset=6, pid=2, txn=True), 0)
    assert table.last_stable_offset(7) == 5
    end(table, marker(1, 0, 7), 0, commit=True, coordinator_epoch=0)
    assert table.last_stable_offset(7) == 5, "the marker is not visible yet"
    assert table.last_stable_offset(8) == 6
    end(table, marker(2, 0, 8), 0, commit=False, coordinator_epoch=0)
    assert table.last_stable_offset(9) == 9


def test_aborted_transactions_are_found_by_the_offsets_they_touch():
    table = ProducerTable()
    for pid, first, last in ((1, 0, 4), (2, 5, 9), (3, 20, 30)):
        record(table, batch(0, offset=first, pid=pid, txn=True), 0)
        end(table, marker(pid, 0, last), 0, commit=False, coordinator_epoch=0)
    assert table.aborted_between(0, 100) == [(1, 0), (2, 5), (3, 20)]
    assert table.aborted_between(5, 20) == [(2, 5)]
    assert table.aborted_between(9, 21) == [(2, 5), (3, 20)]
    assert table.aborted_between(31, 99) == []
    table.forget_before(10, 0)
    assert table.aborted_between(0, 100) == [(3, 20)]


def test_silent_producers_are_forgotten_unless_their_transaction_is_open():
    table = ProducerTable()
    record(table, batch(0, pid=1), 100)
    record(table, batch(0, pid=2, txn=True), 100)
    record(table, batch(0, pid=3), 900)
    table.forget_before(0, 500)
    assert sorted(table.producers) == [2, 3]


def test_a_snapshot_restores_everything_and_a_damaged_one_nothing():
    table = ProducerTable()
    for i in range(7):
        record(table, batch(i, offset=i, pid=1, epoch=2), 5)
    record(table, batch(0, offset=7, pid=2, txn=True), 6)
    record(table, batch(0, offset=8, pid=3, txn=True), 6)
    end(table, marker(3, 0, 9), 7, commit=False, coordinator_epoch=4)
    data = table.encode(10)
    restored = ProducerTable.decode(data, 10)
    assert restored is not None
    assert restored.encode(10) == data
    assert restored.last_stable_offset(10) == 7
    assert isinstance(restored.check(batch(6, pid=1, epoch=2)), Duplicate)
    assert ProducerTable.decode(data, 11) is None
    for at in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 1
        assert ProducerTable.decode(bytes(damaged), 10) is None
    assert ProducerTable.decode(b"", 10) is None
