"""What a fetch brought is what aiokafka reads of it, and takes no more memory than it may."""

import random
import struct

import cramjam
import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from crc32c import crc32c

from streams.worker.unpacking import (
    MOST_UNPACKED,
    QUIET_S,
    QUIET_WAIT_MS,
    FetchedBatches,
    FetchWaits,
)

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch(chance: random.Random, codec: int, base: int, count: int) -> bytes:
    """As a client writes it and the broker numbers it."""
    builder = DefaultRecordBatchBuilder(2, codec, 1, 7, 0, 0, 1 << 30)
    for number in range(count):
        value = chance.choice((None, b"", chance.randbytes(50) * chance.randrange(1, 400)))
        headers = [("h", b"x"), ("é", b"")][: number % 3]
        builder.append(number, 1_000 + number, chance.choice((None, b"key")), value, headers)
    return numbered(builder.build(), base)


def numbered(raw: bytes | bytearray, base: int) -> bytes:
    return struct.pack(">q", base) + bytes(raw[8:])


def with_records(raw: bytes, codec: int, packed: bytes) -> bytes:
    """The batch with these bytes in place of its records, and a checksum that is right."""
    made = bytearray(raw[:61] + packed)
    struct.pack_into(">i", made, 8, len(made) - 12)
    struct.pack_into(">h", made, 21, codec)
    struct.pack_into(">I", made, 17, crc32c(bytes(made[21:])))
    return bytes(made)


def read(batches) -> list:
    found = []
    while batches.has_next():
        each = batches.next_batch()
        about = (each.base_offset, each.next_offset, each.is_control_batch, each.producer_id)
        records = [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in each]
        found.append((about, records))
    return found


def test_all_codecs_in_any_order_are_read_as_aiokafka_reads_them() -> None:
    chance = random.Random(5)
    for _ in range(60):
        data, base = b"", 0
        for _ in range(chance.randrange(1, 5)):
            count = chance.choice((1, 3, 40))
            data += batch(chance, chance.choice(list(CODECS.values())), base, count)
            base += count + chance.choice((0, 9))
        cut = chance.choice((b"", batch(chance, 4, base, 2)[: chance.randrange(60)]))
        ours, theirs = FetchedBatches(data + cut), MemoryRecords(data + cut)
        assert ours.size_in_bytes() == theirs.size_in_bytes()
        behind = ours.next_offset()
        wanted = read(theirs)
        assert read(ours) == wanted
        assert behind == wanted[-1][0][1]


@pytest.mark.parametrize("data", [b"", b"\0" * 11, b"\0" * 8 + b"\xff" * 4 + b"\0" * 60])
def test_what_holds_no_whole_batch_has_none(data: bytes) -> None:
    batches = FetchedBatches(data)
    assert not batches.has_next()
    assert batches.next_offset() is None


def old_batch(magic: int) -> bytes:
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, 5, b"key", b"value")
    return bytes(builder.build())


@pytest.mark.parametrize("magic", [0, 1])
def test_batches_of_the_first_formats_are_read_as_well(magic: int) -> None:
    batches = FetchedBatches(old_batch(magic))
    assert batches.next_offset() == 1
    assert [(r.offset, r.key, r.value) for r in batches.next_batch()] == [(0, b"key", b"value")]


@pytest.mark.parametrize("magic", [0, 1])
def test_a_wrong_checksum_of_the_first_formats_is_told_with_the_offset(magic: int) -> None:
    raw = bytearray(numbered(old_batch(magic), 77))
    raw[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="batch at offset 77"):
        FetchedBatches(bytes(raw)).next_batch()


@pytest.mark.parametrize("magic", [0, 1, 2, 9])
def test_a_batch_shorter_than_its_own_head_is_refused(magic: int) -> None:
    head = 61 if magic >= 2 else 26
    for length in range(head - 12):
        raw = bytearray(struct.pack(">qi", 5, length) + bytes(length))
        if length > 4:
            raw[16] = magic
        for take in (FetchedBatches.next_batch, FetchedBatches.next_offset):
            batches = FetchedBatches(bytes(raw))
            assert batches.has_next()
            with pytest.raises(CorruptRecordException, match=f"ends after {12 + length} bytes"):
                take(batches)


def test_zstd_without_a_size_or_in_several_frames_is_unpacked() -> None:
    plain = batch(random.Random(8), 0, 0, 300)
    records = plain[61:]
    stream = cramjam.zstd.Compressor(level=1)
    stream.compress(records)
    halves = records[:9000], records[9000:]
    frames = b"".join(bytes(cramjam.zstd.compress(half)) for half in halves)
    for packed in (bytes(stream.finish()), frames):
        (_, found), (_, wanted) = (
            read(FetchedBatches(raw))[0] for raw in (with_records(plain, 4, packed), plain)
        )
        assert found == wanted
        assert len(found) == 300


def test_a_wrong_checksum_is_told_with_the_offset() -> None:
    raw = bytearray(batch(random.Random(1), 4, 77, 3))
    raw[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="batch at offset 77"):
        FetchedBatches(bytes(raw)).next_batch()


def bombs() -> dict[str, bytes]:
    """By codec, what unpacks to more than a batch may hold; of snappy, what says so."""
    much = bytes(MOST_UNPACKED + (1 << 20))
    return {
        "gzip": bytes(cramjam.gzip.compress(much)),
        "lz4": bytes(cramjam.lz4.compress(much)),
        "zstd": bytes(cramjam.zstd.compress(much)),
        "snappy": b"\xff\xff\xff\xff\x0f" + b"\0" * 40,
    }


def test_a_batch_that_unpacks_to_too_much_is_refused_before_there_is_room_for_it() -> None:
    plain = batch(random.Random(2), 0, 5, 1)
    for name, packed in bombs().items():
        raw = with_records(plain, CODECS[name], packed)
        with pytest.raises(CorruptRecordException, match="offset 5 does not unpack, or to more"):
            FetchedBatches(raw).next_batch()


def test_damaged_content_behind_a_right_checksum_is_refused() -> None:
    plain = batch(random.Random(3), 0, 9, 2)
    for codec in (1, 2, 3, 4):
        with pytest.raises(CorruptRecordException, match="offset 9"):
            FetchedBatches(with_records(plain, codec, b"no such thing")).next_batch()


def test_fetches_wait_longer_where_nothing_came_for_a_while_and_never_less_than_asked():
    waits = FetchWaits(100, now=10.0)
    assert waits.after(False, 10.0 + QUIET_S / 2) == 100
    assert waits.after(False, 10.0 + QUIET_S) == QUIET_WAIT_MS
    assert waits.after(True, 20.0) == 100
    assert waits.after(False, 20.0 + QUIET_S / 2) == 100
    assert waits.after(False, 20.0 + QUIET_S) == QUIET_WAIT_MS
    assert FetchWaits(QUIET_WAIT_MS * 2, now=0.0).after(False, 100.0) == QUIET_WAIT_MS * 2
