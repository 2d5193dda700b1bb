"""The parts of compaction: the offset map, thinned batches, which log is next, what goes wrong."""

from __future__ import annotations

import asyncio
import errno
import itertools
import struct
from pathlib import Path

import cramjam
import pytest

from broker.log.compaction.cleaning import Cleaned, Pass, StoppedError, UncleanableError, finish
from broker.log.compaction.dirt import choose, measure, roll_if_due
from broker.log.compaction.offset_map import OffsetMap
from broker.log.memory_disk import MemoryDisk
from broker.log.partition import PartitionLog
from broker.log.recovery import open_log
from broker.log.settings import LogSettings
from broker.protocol.errors import ErrorCode
from broker.records.batch import HEADER_SIZE, crc_is_good, read_header
from broker.records.build import build_batch
from broker.records.codecs import compress, decompress
from broker.records.iterate import iterate
from broker.records.rewrite import records_of, rewrite, unpack
from broker.runtime.cleaner import Pace

HOUR = 3_600_000


def test_the_map_knows_the_latest_offset_of_each_key_and_refuses_new_ones_when_it_is_full():
    offsets = OffsetMap(keys=1_000_000, most_bytes=24 * 100)
    told = [offsets.put(b"key %d" % number, number) for number in range(100)]
    assert told == [True] * 80 + [False] * 20
    assert offsets.put(b"key 7", 1000)
    assert offsets.latest(b"key 7") == 1000
    assert [offsets.latest(b"key %d" % n) for n in (0, 79, 80, 99)] == [0, 79, -1, -1]


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4, "xerial"])
def test_a_thinned_batch_keeps_offsets_sequences_compression_and_times(codec: int | str):
    records = [(b"k%d" % n, None if n == 2 else b"v" * 40_000) for n in range(4)]
    plain = build_batch(
        records, 5000, producer_id=7, producer_epoch=2, base_sequence=90, attributes=0x10
    )
    number, like = (2, b"\x82SNAPPY\0\0\0\0\1\0\0\0\1") if codec == "xerial" else (int(codec), b"")
    packed = compress(number, bytes(plain[HEADER_SIZE:]), like)
    batch = bytearray(plain[:HEADER_SIZE]) + packed
    struct.pack_into(">qi", batch, 0, 1000, len(batch) - 12)
    struct.pack_into(">h", batch, 21, 0x10 | number)
    header = read_header(batch)
    data = records_of(batch, header)
    kept = unpack(data, header)[1:3]
    for horizon in (None, 99_000):
        thin = rewrite(header, batch, data, kept, horizon)
        told = read_header(thin)
        assert crc_is_good(thin, 0, told)
        assert (told.base_offset, told.next_offset, told.last_sequence) == (1000, 1004, 93)
        assert (told.producer_id, told.producer_epoch, told.record_count) == (7, 2, 2)
        assert told.delete_horizon_ms == horizon
        assert told.max_timestamp == 5000
        found = [(r.offset, r.timestamp, r.key, r.value) for r in iterate(thin, told)]
        assert found == [(1001, 5000, b"k1", b"v" * 40_000), (1002, 5000, b"k2", None)]
        assert told.attributes & 7 == number
        if codec == "xerial":
            assert thin[HEADER_SIZE:].startswith(b"\x82SNAPPY\0")


def test_an_emptied_batch_says_what_the_producers_last_sequence_was():
    batch = build_batch([(b"k", b"v")] * 3, 1, producer_id=7, producer_epoch=2, base_sequence=4)
    header = read_header(batch)
    empty = rewrite(header, batch, records_of(batch, header), [])
    told = read_header(empty)
    assert (len(empty), told.record_count, told.last_sequence) == (HEADER_SIZE, 0, 6)
    assert crc_is_good(empty, 0, told)
    assert list(iterate(empty, told)) == []


def test_lz4_frames_have_independent_blocks_as_javas_client_wants_them():
    frame = compress(3, bytes(200_000), b"")
    assert frame[:4] == b"\x04\x22\x4d\x18"
    assert frame[4] & 0x20
    assert decompress(3, frame) == bytes(200_000)
    assert bytes(cramjam.lz4.decompress(frame)) == bytes(200_000)


# --- which log, and what of it ------------------------------------------------------------------


def compacted(disk: MemoryDisk, name: str = "0", **settings: float) -> PartitionLog:
    known = LogSettings(segment_bytes=400, retention_ms=-1, compacts=True, deletes=False)
    fields = {name: getattr(known, name) for name in known.__slots__} | settings
    return open_log(disk, f"logs/t/{name}", LogSettings(**fields), 0, visible_when_synced=True)


def fill(log: PartitionLog, batches: int, time: int = 1000, keys: int = 1) -> None:
    for number in range(batches):
        batch = build_batch([(b"k%d" % (number % keys), b"x" * 50)], time)
        log.append(batch, read_header(batch), time)
    job = log.begin_sync()
    log.finish_sync(job, job.run())


def clean(log: PartitionLog, now_ms: int = 2000) -> Cleaned | Exception:
    log.compaction.running = True
    work = Pass(
        log, measure(log, now_ms), now_ms, 1 << 20, lambda one: log.swap_in(*one), lambda: None
    )
    try:
        outcome = work.run()
    except (OSError, UncleanableError) as problem:
        outcome = problem
    finish(log, outcome, now_ms)
    return outcome


def content(log: PartitionLog) -> list[tuple[int, bytes | None]]:
    found: list[tuple[int, bytes | None]] = []
    for segment in log.segments:
        for position, header in segment.scan(0, segment.size, verify=True):
            batch = segment.file.read(position, header.size)
            found += [(record.offset, record.key) for record in iterate(batch, header)]
    return found


def test_the_dirtiest_log_is_cleaned_first_and_none_below_the_ratio():
    disk = MemoryDisk()
    little, much = compacted(disk, "0"), compacted(disk, "1")
    fill(little, 30)
    clean(little)
    assert choose([little], 2000) is None
    fill(little, 6)
    fill(much, 30)
    first = choose([little, much], 2000)
    assert first is not None
    assert first.log is much
    assert first.ratio == 1.0
    assert measure(little, 2000).ratio > 0.5
    clean(much)
    second = choose([little, much], 2000)
    assert second is not None
    assert second.log is little


def test_a_record_younger_than_the_least_lag_keeps_its_segment_from_being_cleaned():
    log = compacted(MemoryDisk(), min_compaction_lag_ms=HOUR)
    fill(log, 30, time=1000)
    assert measure(log, 1000 + HOUR - 1).segments == ()
    assert measure(log, 1000 + HOUR).segments != ()


def test_the_active_segment_is_sealed_and_cleaned_when_a_record_waited_for_the_most_lag():
    log = compacted(MemoryDisk(), max_compaction_lag_ms=HOUR, min_cleanable_ratio=1.0)
    fill(log, 3)
    assert not roll_if_due(log, 1000 + HOUR)
    assert roll_if_due(log, 1001 + HOUR)
    assert measure(log, 1001 + HOUR).segments == ()
    fill(log, 0)
    due = choose([log], 1001 + HOUR)
    assert due is not None
    assert due.overdue
    clean(log, 1001 + HOUR)
    assert content(log) == [(2, b"k0")]
    assert choose([log], 1001 + 2 * HOUR) is None


def test_small_segments_are_merged_up_to_the_size_of_one():
    log = compacted(MemoryDisk())
    fill(log, 60, keys=20)
    assert len(log.segments) > 15
    for _ in range(3):
        clean(log)
    sizes = [segment.size for segment in log.segments[:-1]]
    assert all(one + other > 400 for one, other in itertools.pairwise(sizes))
    assert [offset for offset, _ in content(log)][-20:] == list(range(40, 60))
    assert len(content(log)) == 20 + log.segments[-1].next_offset - log.segments[-1].base_offset
    assert measure(log, 2000).segments[0].base_offset == 0


def test_a_full_disk_stops_a_pass_and_leaves_the_log_as_it_was():
    disk = MemoryDisk()
    log = compacted(disk)
    fill(log, 41, keys=40)
    before, files = content(log), disk.names("logs/t/0")
    disk.capacity = disk.used + 50
    outcome = clean(log)
    assert isinstance(outcome, OSError)
    assert outcome.errno == errno.ENOSPC
    assert content(log) == before
    assert [name for name in disk.names("logs/t/0") if name not in files] in (
        [],
        ["cleaner-checkpoint"],
    )
    assert choose([log], 3000) is None
    disk.capacity = None
    assert choose([log], 70_000) is not None
    assert isinstance(clean(log, 70_000), Cleaned)
    assert [key for _, key in content(log)][-8:] == [
        b"k%d" % n for n in (33, 34, 35, 36, 37, 38, 39, 0)
    ]


def test_a_damaged_batch_makes_a_log_uncleanable_and_it_is_not_tried_again():
    disk = MemoryDisk()
    log = compacted(disk)
    fill(log, 40)
    disk.damage(f"logs/t/0/{log.segments[1].base_offset:020d}.log", 80)
    before = log.size
    assert isinstance(clean(log), UncleanableError)
    assert "no whole batch at byte 0" in (log.compaction.uncleanable or "")
    assert choose([log], 10 * HOUR) is None
    assert log.size == before


def test_the_pace_leaves_the_interpreter_to_others_for_its_share_of_the_time():
    pace = Pace(share=0.5)
    pace.begin()
    pace()
    pace.stop()
    with pytest.raises(StoppedError):
        for _ in iter(pace, 0):
            pass


# --- the broker ---------------------------------------------------------------------------------


def test_records_without_key_are_named_by_their_places_and_nothing_is_appended(serve):
    async def work() -> None:
        async with serve() as broker:
            client = await broker.connect()
            assert await client.create_topic("t", cleanup_policy="compact") == 0
            batch = build_batch([(b"a", b"1"), (None, b"2"), (b"c", b"3"), (None, b"4")], 1000)
            answer = await client.ask(0, 8, client.produce_body("t", 0, bytes(batch)))
            told = answer.responses[0].partition_responses[0]
            assert told.error_code == ErrorCode.invalid_record
            assert [error.batch_index for error in told.record_errors] == [1, 3]
            assert "without key" in told.error_message
            assert (await client.fetch("t", 0)).high_watermark == 0

    asyncio.run(work())


async def produced(client, topic: str, batches: int) -> None:
    for number in range(batches):
        batch = build_batch([(b"k%d" % (number % 3), b"x" * 300)], 1000)
        answer = await client.ask(0, 8, client.produce_body(topic, 0, bytes(batch)))
        assert answer.responses[0].partition_responses[0].error_code == 0


async def metric(broker, name: str) -> float:
    _, text = await broker.http("/metrics")
    found = [line for line in text.splitlines() if line.startswith(f"tidemill_broker_{name}")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


async def until(broker, name: str, least: float) -> None:
    async with asyncio.timeout(30):
        while await metric(broker, name) < least:  # noqa: ASYNC110 (another process's number)
            await asyncio.sleep(0.02)


def test_a_corrupt_log_is_reported_and_others_are_cleaned_all_the_same(serve, tmp_path: Path):
    async def work() -> None:
        small = {"cleanup_policy": "compact", "segment_bytes": "1024"}
        async with serve(cleaner_interval_ms=HOUR) as broker:
            client = await broker.connect()
            for topic in ("bad", "good"):
                assert await client.create_topic(topic, **small) == 0
                await produced(client, topic, 20)
        (first,) = (tmp_path / "data" / "logs" / "bad").glob("*.0/00000000000000000000.log")
        data = bytearray(first.read_bytes())
        data[100] ^= 0xFF
        first.write_bytes(data)
        async with serve(cleaner_interval_ms=20) as broker:
            await until(broker, 'log_uncleanable{topic="bad"', 1)
            await until(broker, 'log_last_cleaned_seconds{topic="good"', 1)
            assert await metric(broker, "cleaner_failures_total") == 1
            assert await metric(broker, 'log_dirty_ratio{topic="good"') == 0
            assert await metric(broker, "cleaner_removed_records_total") > 10
            assert await metric(broker, 'log_size_bytes{topic="good"') < 3000
            status, health = await broker.http("/health")
            assert status == 200
            assert 'topic=\\"bad\\"' in health

    asyncio.run(work())
