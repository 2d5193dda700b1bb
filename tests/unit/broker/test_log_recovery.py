"""What is left of a log after power cuts, torn writes, full disks and failing syncs."""

import errno
import random

import pytest

from broker.log.memory_disk import MemoryDisk
from broker.log.partition import Appended, PartitionLog
from broker.log.recovery import open_log
from broker.log.settings import LogSettings
from broker.protocol.errors import ErrorCode
from broker.records.batch import Refusal, read_header
from broker.records.build import build_batch

SETTINGS = LogSettings(segment_bytes=1500, retention_ms=-1)
FOLDER = "logs/t/0"
TRANSACTIONAL = 0x10


def opened(disk: MemoryDisk, settings: LogSettings = SETTINGS) -> PartitionLog:
    return open_log(disk, FOLDER, settings, 0, visible_when_synced=True)


def append(log: PartitionLog, value: bytes, **producer: int) -> Appended | Refusal:
    batch = build_batch([(None, value)], 1000, **producer)
    return log.append(batch, read_header(batch), 1000)


def sync(log: PartitionLog, *, checkpoint: bool = False) -> None:
    job = log.begin_sync(checkpoint=checkpoint)
    log.finish_sync(job, job.run())


def content(log: PartitionLog) -> bytes:
    return b"".join(segment.file.read(0, segment.size) for segment in log.segments)


def test_a_torn_tail_is_cut_at_every_byte_and_what_was_synced_stays():
    sample = MemoryDisk()
    log = opened(sample)
    ends = [0]
    for i in range(4):
        append(log, b"v%d" % i * 7, producer_id=1, producer_epoch=0, base_sequence=i)
        ends.append(log.size)
        if i == 1:
            sync(log)
    synced, whole = ends[2], content(log)
    for kept in range(len(whole) - synced + 1):
        disk = MemoryDisk()
        log = opened(disk)
        for i in range(4):
            append(log, b"v%d" % i * 7, producer_id=1, producer_epoch=0, base_sequence=i)
            if i == 1:
                sync(log)
        disk.cut_power(lambda path, unsynced, kept=kept: min(kept, unsynced))
        again = opened(disk)
        expected = max(end for end in ends if end <= synced + kept)
        assert content(again) == whole[:expected]
        assert again.high_watermark == again.next_offset == ends.index(expected)
        following = append(
            again, b"next", producer_id=1, producer_epoch=0, base_sequence=again.next_offset
        )
        assert following == Appended(ends.index(expected), ends.index(expected) + 1, -1)


def test_a_damaged_tail_is_cut_where_the_damage_begins():
    for damaged in range(3):
        disk = MemoryDisk()
        log = opened(disk)
        positions: list[int] = []
        for i in range(3):
            positions.append(log.size)
            append(log, b"value %d" % i)
        disk.damage(f"{FOLDER}/{0:020d}.log", positions[damaged] + 70)
        assert opened(disk).next_offset == damaged


@pytest.mark.parametrize("seed", range(40))
def test_nothing_synced_is_lost_whatever_a_power_cut_leaves(seed: int):
    chance = random.Random(seed)
    disk = MemoryDisk()
    synced, sequence = 0, 0
    kept = b""
    for _ in range(chance.randint(2, 6)):
        log = opened(disk)
        assert log.next_offset >= synced
        assert content(log).startswith(kept)
        sequence = log.next_offset
        for _ in range(chance.randint(0, 40)):
            outcome = append(
                log,
                chance.randbytes(chance.randint(1, 300)),
                producer_id=1,
                producer_epoch=0,
                base_sequence=sequence,
            )
            assert outcome == Appended(sequence, sequence + 1, -1)
            sequence += 1
            if chance.random() < 0.2:
                sync(log, checkpoint=chance.random() < 0.3)
                synced, kept = log.high_watermark, content(log)
        disk.cut_power(lambda path, unsynced: chance.randint(0, unsynced))
    log = opened(disk)
    assert content(log).startswith(kept)
    assert log.next_offset >= synced


@pytest.mark.parametrize("checkpoint", [True, False])
def test_producers_and_transactions_are_as_before_after_a_restart(checkpoint: bool):
    disk = MemoryDisk()
    log = opened(disk)
    for i in range(30):
        append(log, b"x" * 100, producer_id=1, producer_epoch=2, base_sequence=i)
        append(
            log, b"t", producer_id=2, producer_epoch=0, base_sequence=i, attributes=TRANSACTIONAL
        )
        if i % 10 == 5:
            log.append_marker(2, 0, 1000, commit=i > 10, coordinator_epoch=3)
    sync(log, checkpoint=checkpoint)
    disk.cut_power()
    again = opened(disk)
    before, after = log.producers, again.producers
    assert after.encode(0) == before.encode(0)
    assert again.last_stable_offset() == log.last_stable_offset() < again.high_watermark
    piece = again.read(0, 10**6, committed=True, at_least_one=True)
    assert piece.aborted == [(2, 1)]


def test_a_snapshot_from_beyond_the_end_is_not_believed_later():
    disk = MemoryDisk()
    log = opened(disk)
    append(log, b"a", producer_id=1, producer_epoch=0, base_sequence=0)
    sync(log)
    disk.replace(f"{FOLDER}/{3:020d}.producers", log.producers.encode(3))
    again = opened(disk)
    assert disk.read(f"{FOLDER}/{3:020d}.producers") is None
    assert again.next_offset == 1


def test_a_start_scans_only_what_no_checkpoint_vouches_for():
    disk = MemoryDisk()
    log = opened(disk, LogSettings())
    for i in range(100):
        append(log, b"x" * 500, producer_id=1, producer_epoch=0, base_sequence=i)
    sync(log, checkpoint=True)
    vouched = log.size
    append(log, b"more")
    sync(log)
    again = opened(disk, LogSettings())
    assert again.segments[-1].vouched == vouched
    assert content(again) == content(log)
    assert again.segments[-1].index.offsets == log.segments[-1].index.offsets


def test_damaged_index_files_are_made_again():
    disk = MemoryDisk()
    log = opened(disk)
    for _ in range(40):
        append(log, b"x" * 200)
    sync(log, checkpoint=True)
    for name in disk.names(FOLDER):
        if name.endswith((".index", ".producers")):
            disk.damage(f"{FOLDER}/{name}", 9)
    again = opened(disk)
    assert content(again) == content(log)
    assert [s.index.positions for s in again.segments] == [s.index.positions for s in log.segments]


def test_a_torn_segment_in_the_middle_ends_the_log():
    disk = MemoryDisk()
    log = opened(disk)
    for _ in range(40):
        append(log, b"x" * 200)
    middle = log.segments[len(log.segments) // 2]
    disk.damage(f"{FOLDER}/{middle.base_offset:020d}.log", middle.size - 1)
    again = opened(disk)
    assert again.next_offset == middle.next_offset - 1
    assert len([name for name in disk.names(FOLDER) if name.endswith(".log")]) == len(
        again.segments
    )


def test_a_full_disk_refuses_writes_keeps_reads_and_recovers_when_there_is_room():
    disk = MemoryDisk(capacity=5000)
    log = opened(disk)
    count = 0
    while isinstance(
        outcome := append(log, b"x" * 100, producer_id=1, producer_epoch=0, base_sequence=count),
        Appended,
    ):
        count += 1
    assert outcome.error == ErrorCode.kafka_storage_error
    assert "No space left" in outcome.message
    sync(log)
    assert log.failed is None
    assert log.high_watermark == count
    assert log.read(0, 10_000, committed=False, at_least_one=True).error == 0
    disk.capacity = 1_000_000
    following = append(log, b"x" * 100, producer_id=1, producer_epoch=0, base_sequence=count)
    assert following == Appended(count, count + 1, -1)
    sync(log)
    disk.cut_power()
    assert opened(disk).next_offset == count + 1


@pytest.mark.parametrize("room", range(0, 4000, 130))
def test_a_disk_that_fills_up_at_any_moment_leaves_a_log_that_opens(room: int):
    disk = MemoryDisk(capacity=room)
    log = opened(disk)
    good = 0
    for i in range(60):
        outcome = append(log, b"x" * 60, producer_id=1, producer_epoch=0, base_sequence=good)
        good += isinstance(outcome, Appended)
        if i % 7 == 0:
            sync(log)
    sync(log)
    assert log.failed is None
    disk.cut_power()
    disk.capacity = None
    assert opened(disk).next_offset == good


def test_after_a_failed_sync_nothing_is_acknowledged_and_reads_go_on():
    disk = MemoryDisk()
    log = opened(disk)
    append(log, b"a")
    sync(log)
    append(log, b"b")
    disk.sync_error = OSError(errno.EIO, "Input/output error")
    sync(log)
    assert log.failed is not None
    assert log.high_watermark == 1
    assert log.read(0, 100, committed=False, at_least_one=True).error == 0
    disk.sync_error = None
    refused = append(log, b"c")
    assert isinstance(refused, Refusal)
    assert refused.error == ErrorCode.kafka_storage_error
    disk.cut_power()
    assert opened(disk).next_offset == 1
