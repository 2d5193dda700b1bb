"""Appending to, reading from and forgetting parts of one partition's log, on both disks."""

from dataclasses import replace
from pathlib import Path

import pytest

from broker.log.disk import Disk
from broker.log.memory_disk import MemoryDisk
from broker.log.partition import Appended, PartitionLog
from broker.log.recovery import open_log
from broker.log.settings import LogSettings
from broker.protocol.errors import ErrorCode
from broker.records.batch import Refusal, read_header
from broker.records.build import build_batch
from broker.records.iterate import iterate
from broker.runtime.os_disk import OsDisk

SMALL = LogSettings(segment_bytes=2000, retention_ms=-1)
TRANSACTIONAL = 0x10


@pytest.fixture(params=["memory", "os"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return MemoryDisk() if request.param == "memory" else OsDisk(tmp_path)


def opened(disk: Disk, settings: LogSettings = SMALL, *, synced: bool = True) -> PartitionLog:
    return open_log(disk, "logs/t/0", settings, 0, visible_when_synced=synced)


def append(
    log: PartitionLog, *values: bytes, time: int = 1000, **producer: int
) -> Appended | Refusal:
    batch = build_batch([(None, value) for value in values], time, **producer)
    return log.append(batch, read_header(batch), 1000)


def sync(log: PartitionLog) -> None:
    job = log.begin_sync()
    log.finish_sync(job, job.run())


def values(log: PartitionLog, offset: int = 0, *, committed: bool = False) -> list[bytes | None]:
    """What a reader sees from `offset` on, fetch by fetch."""
    found: list[bytes | None] = []
    while True:
        piece = log.read(offset, 500, committed=committed, at_least_one=True)
        assert piece.error == 0
        if not piece.records:
            return found
        at = 0
        while at + 61 <= len(piece.records):
            header = read_header(piece.records, at)
            if at + header.size > len(piece.records):
                break
            batch = bytes(piece.records[at : at + header.size])
            found += [r.value for r in iterate(batch, header) if r.offset >= offset]
            offset = header.next_offset
            at += header.size


def test_offsets_are_given_in_order_across_segments(disk: Disk):
    log = opened(disk)
    for i in range(100):
        assert append(log, b"%d" % i, b"x" * 50) == Appended(2 * i, 2 * i + 2, -1)
    assert len(log.segments) > 3
    sync(log)
    assert values(log)[::2] == [b"%d" % i for i in range(100)]
    for start in range(0, 200, 7):
        assert len(values(log, start)) == 200 - start


def test_readers_see_only_what_was_synced(disk: Disk):
    log = opened(disk)
    append(log, b"a")
    assert values(log) == []
    job = log.begin_sync()
    append(log, b"b")
    log.finish_sync(job, job.run())
    assert values(log) == [b"a"]
    assert log.dirty
    sync(log)
    assert values(log) == [b"a", b"b"]


def test_without_group_commit_readers_see_what_was_appended(disk: Disk):
    log = opened(disk, synced=False)
    append(log, b"a")
    assert values(log) == [b"a"]


def test_an_offset_outside_the_log_is_out_of_range_and_its_end_is_empty(disk: Disk):
    log = opened(disk)
    append(log, b"a")
    sync(log)
    for offset, error in ((0, 0), (1, 0), (2, ErrorCode.offset_out_of_range), (-1, 1)):
        assert log.read(offset, 100, committed=False, at_least_one=True).error == error


def test_a_batch_larger_than_the_limit_comes_whole_or_not_at_all(disk: Disk):
    log = opened(disk)
    append(log, b"x" * 1500)
    sync(log)
    assert len(log.read(0, 10, committed=False, at_least_one=True).records) > 1500
    assert len(log.read(0, 10, committed=False, at_least_one=False).records) == 0


def test_a_repeated_batch_is_answered_with_its_first_offset_and_not_appended(disk: Disk):
    log = opened(disk)
    batch = {"producer_id": 5, "producer_epoch": 0}
    append(log, b"other")
    first = append(log, b"a", b"b", base_sequence=0, **batch)
    again = append(log, b"a", b"b", base_sequence=0, **batch)
    assert isinstance(again, Appended)
    assert again.repeated
    assert again[:2] == first[:2]
    sync(log)
    assert values(log) == [b"other", b"a", b"b"]


def test_read_committed_stops_at_an_open_transaction_and_names_aborted_ones(disk: Disk):
    log = opened(disk)
    for i, (pid, commit) in enumerate([(1, True), (2, False), (3, True)]):
        append(
            log,
            b"%d" % i,
            producer_id=pid,
            producer_epoch=0,
            base_sequence=0,
            attributes=TRANSACTIONAL,
        )
        if pid != 3:
            log.append_marker(pid, 0, 1000, commit=commit, coordinator_epoch=0)
    append(log, b"plain")
    sync(log)
    assert log.last_stable_offset() == 4
    piece = log.read(0, 10_000, committed=True, at_least_one=True)
    assert piece.aborted == [(2, 2)]
    assert read_header(piece.records, 0).base_offset == 0
    assert values(log, committed=True)[0::2] == [b"0", b"1"]
    assert b"plain" in values(log)
    log.append_marker(3, 0, 1000, commit=True, coordinator_epoch=0)
    assert log.last_stable_offset() == 4, "the marker is not synced"
    sync(log)
    assert log.last_stable_offset() == log.high_watermark == 7


def test_a_marker_of_a_fenced_epoch_is_refused(disk: Disk):
    log = opened(disk)
    append(log, b"a", producer_id=1, producer_epoch=4, base_sequence=0)
    outcome = log.append_marker(1, 3, 0, commit=True, coordinator_epoch=0)
    assert isinstance(outcome, Refusal)
    assert outcome.error == ErrorCode.invalid_producer_epoch


def test_times_find_the_first_record_that_is_not_older(disk: Disk):
    log = opened(disk)
    for i in range(200):
        append(log, b"%d" % i, b"x" * 20, time=1000 + 10 * i)
    sync(log)
    end = log.high_watermark
    for i in (0, 1, 57, 199):
        found = log.offset_for_time(1000 + 10 * i, end)
        assert found == (2 * i, 1000 + 10 * i)
        assert log.offset_for_time(1000 + 10 * i - 9, end) == found
    assert log.offset_for_time(0, end) == (0, 1000)
    assert log.offset_for_time(1000 + 10 * 200, end) is None
    assert log.offset_for_time(1000 + 10 * 100, 200) is None, "not visible"
    assert log.offset_of_max_time(end) == (398, 2990)


def test_times_out_of_order_still_find_the_first_offset(disk: Disk):
    log = opened(disk)
    for time in (500, 9000, 100, 700, 8000, 9500):
        append(log, b"x" * 600, time=time)
    sync(log)
    for time, offset in ((0, 0), (501, 1), (8500, 1), (9001, 5)):
        found = log.offset_for_time(time, log.high_watermark)
        assert found is not None
        assert found.offset == offset


def test_old_segments_go_by_time_and_the_start_moves(disk: Disk):
    log = opened(disk, replace(SMALL, retention_ms=1000))
    for i in range(60):
        append(log, b"x" * 100, time=100 * i)
    sync(log)
    assert log.retain(100 * 59 + 500) > 0
    assert log.log_start == log.segments[0].base_offset > 0
    assert log.segments[0].max_timestamp >= 100 * 59 + 500 - 1000
    assert log.read(0, 100, committed=False, at_least_one=True).error == 1
    log.retain(10**9)
    assert log.log_start == log.next_offset == 60
    assert append(log, b"more") == Appended(60, 61, -1)


def test_old_segments_go_by_size_but_never_below_the_bound(disk: Disk):
    log = opened(disk, replace(SMALL, retention_bytes=5000))
    for _ in range(100):
        append(log, b"x" * 100)
    sync(log)
    log.retain(0)
    assert 5000 <= log.size < 5000 + 2000


def test_a_compacted_topic_loses_nothing_to_retention(disk: Disk):
    log = opened(disk, replace(SMALL, retention_ms=1, retention_bytes=1, deletes=False))
    for _ in range(100):
        append(log, b"x" * 100)
    sync(log)
    assert log.retain(10**12) == 0
    assert len(values(log)) == 100


def test_records_that_were_deleted_are_gone_also_after_a_restart(disk: Disk):
    log = opened(disk)
    for i in range(50):
        append(log, b"%d" % i, b"x" * 100)
    sync(log)
    assert log.delete_before(51) == 51
    assert isinstance(log.delete_before(101), Refusal)
    assert log.read(50, 100, committed=False, at_least_one=True).error == 1
    assert len(values(log, 51)) == 49
    log.retain(0)
    assert log.segments[0].next_offset > 51
    log.close()
    again = opened(disk)
    assert again.log_start == 51
    assert len(values(again, 51)) == 49
    assert again.delete_before(-1) == 100


def test_append_time_is_stamped_when_the_topic_asks_for_it(disk: Disk):
    log = opened(disk, replace(SMALL, stamp_append_time=True))
    assert append(log, b"a", time=5) == Appended(0, 1, 1000)
    sync(log)
    assert log.offset_for_time(6, 1) == (0, 1000)


def test_a_topic_may_ask_for_its_records_to_be_parsed(disk: Disk):
    garbage = build_batch([(b"k", b"v")], 0, attributes=4)
    for checks in (True, False):
        log = opened(disk, replace(SMALL, check_records=checks))
        outcome = log.append(bytearray(garbage), read_header(garbage), 0)
        assert isinstance(outcome, Refusal) == checks
