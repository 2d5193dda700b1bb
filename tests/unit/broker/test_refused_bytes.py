"""What no client sends: bytes that would stop a broker, fill its memory, or stop its consumers."""

from __future__ import annotations

import gzip
import resource
import struct

import cramjam
import pytest

from broker.protocol.counts import check_counts
from broker.protocol.errors import MalformedRequestError
from broker.protocol.fetch import decode_fetch
from broker.protocol.headers import skip_tags
from broker.protocol.messages import decode_request
from broker.protocol.produce import decode_produce
from broker.records.batch import HEADER_SIZE, read_header
from broker.records.build import build_batch
from broker.records.codecs import CorruptRecordsError, decompress
from broker.records.iterate import iterate

ROUNDS = 2**31 - 1
BACK = struct.pack(">hi", -6, 0)  # a name of -6 bytes and no partitions: six bytes, six back


def test_a_name_of_a_negative_length_is_not_read_for_ever():
    produce = struct.pack(">hhii", -1, -1, 1, ROUNDS) + BACK
    with pytest.raises(MalformedRequestError):
        decode_produce(memoryview(produce), 8)
    fetch = struct.pack(">iiiib", -1, 0, 1, 1, 0) + struct.pack(">iii", 0, -1, ROUNDS) + BACK
    with pytest.raises(MalformedRequestError):
        decode_fetch(11, memoryview(fetch))


@pytest.mark.parametrize("topics", [ROUNDS, 2**24])
def test_more_topics_than_bytes_are_refused_before_room_is_made_for_them(topics: int):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MalformedRequestError, match="an array of"):
        decode_request(3, 1, struct.pack(">i", topics))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    with pytest.raises(MalformedRequestError, match="an array of"):
        decode_request(3, 9, b"\xff\xff\xff\xff\x07" + bytes(3))
    with pytest.raises(MalformedRequestError, match="cut short"):
        check_counts(3, 1, struct.pack(">ih", 1, 200))


def test_tagged_fields_come_in_order():
    assert skip_tags(memoryview(b"\2\0\0\5\1x"), 0) == 6
    with pytest.raises(MalformedRequestError, match="tagged field"):
        skip_tags(memoryview(b"\2\5\1x\0\0"), 0)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy", "xerial"])
def test_a_bomb_is_refused_at_the_limit(codec: str):
    plain, limit = bytes(64 << 20), 1 << 20
    raw = bytes(cramjam.snappy.compress_raw(plain[: 2 << 20]))
    numbered = {
        "gzip": (1, gzip.compress(plain, 1)),
        "lz4": (3, bytes(cramjam.lz4.compress(plain))),
        "zstd": (4, bytes(cramjam.zstd.compress(plain))),
        "snappy": (2, b"\xff\xff\xff\xff\x0f" + bytes(9)),
        "xerial": (
            2,
            b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, len(raw)) + raw,
        ),
    }
    number, bomb = numbered[codec]
    with pytest.raises(CorruptRecordsError):
        decompress(number, bomb, limit)
    small = {"gzip": gzip.compress, "lz4": cramjam.lz4.compress, "zstd": cramjam.zstd.compress}
    if codec in small:
        assert decompress(number, bytes(small[codec](b"ab" * 1000)), limit) == b"ab" * 1000


def test_a_block_of_java_snappy_in_another_version_is_refused():
    raw = bytes(cramjam.snappy.compress_raw(b"abc"))
    block = struct.pack(">i", len(raw)) + raw
    assert decompress(2, b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + block) == b"abc"
    with pytest.raises(CorruptRecordsError):
        decompress(2, b"\x82SNAPPY\0" + struct.pack(">ii", 2, 1) + block)
    with pytest.raises(CorruptRecordsError):
        decompress(2, b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, -4) + raw)


def test_a_header_whose_name_is_no_text_is_refused_for_consumers_would_stop_at_it():
    batch = bytearray(build_batch([(b"k", b"v")], 5000))
    header = read_header(batch)
    assert len(list(iterate(batch, header))) == 1
    record = bytes(batch[HEADER_SIZE:])
    good, bad = (record[1:-1] + b"\2\2" + name + b"\2x" for name in (b"h", b"\xff"))
    for body, whole in ((good, True), (bad, False)):
        changed = bytes(batch[:HEADER_SIZE]) + bytes([2 * len(body)]) + body
        header = read_header(changed)._replace(length=len(changed) - 12)
        if whole:
            assert next(iterate(changed, header)).headers == 1
        else:
            with pytest.raises(CorruptRecordsError):
                list(iterate(changed, header))
