"""Record batches: what producers send, and the records within; the reference is aiokafka's."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint_py
from crc32c import crc32c

from broker.records.batch import Refusal, check_client_batch, read_header
from broker.records.codecs import CorruptRecordsError
from broker.records.iterate import iterate
from broker.records.rewrite import records_of, rewrite, unpack
from streams.worker import unpacking
from tests.fuzz.subject import Outcome, shown

_CRC_AT, _CRC_FROM, _LENGTH_AT, _BEHIND_LENGTH = 17, 21, 8, 12
_LARGEST = 1 << 20


class Batches:
    """Checked as a broker does, and read in full.

    Damage would not pass the checksum, so it is mended: what a bad producer could send. Of every
    ten one is left as it is.
    """

    def corpus(self) -> list[bytes]:
        rng = random.Random(3)
        found: list[bytes] = []
        for codec in (0, 0, 0, 0, 1, 2, 3, 4):
            batch = DefaultRecordBatchBuilder(
                magic=2, compression_type=codec, is_transactional=0, producer_id=-1,
                producer_epoch=-1, base_sequence=-1, batch_size=1 << 20,
            )  # fmt: skip
            for offset in range(rng.choice((1, 3, 20))):
                key = None if offset % 4 == 3 else b"k%d" % offset
                value = None if offset % 5 == 4 else rng.randbytes(3) * rng.randrange(1, 30)
                headers = [("h", b"x"), ("é", None)][: offset % 3]
                batch.append(offset, 1_700_000_000_000 + offset, key, value, headers=headers)
            found.append(bytes(batch.build()))
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for number, message in enumerate(messages):
            data = message if number % 10 == 9 else _mended(message)
            header = check_client_batch(memoryview(data), _LARGEST)
            if isinstance(header, Refusal):
                continue
            try:
                ours: Any = [
                    (each.offset, each.timestamp, each.key, each.value, each.headers)
                    for each in iterate(data, header)
                ]
                accepted += 1
            except CorruptRecordsError:
                ours = None
            if ours is not None and ours != (theirs := _by_aiokafka(data)):
                differences.append(shown(data, ours, theirs))
            differences += _compaction(data, ours)
        return Outcome(accepted, differences)


def _mended(message: bytes) -> bytes:
    """With its length and checksum as they should be, and records counted as the offsets say."""
    if len(message) <= 61:
        return message
    data = bytearray(message)
    struct.pack_into(">i", data, _LENGTH_AT, len(data) - _BEHIND_LENGTH)
    (last,) = struct.unpack_from(">i", data, 23)
    struct.pack_into(">i", data, 57, (last & 0xFFFF) + 1)
    struct.pack_into(">i", data, 23, last & 0xFFFF)
    data[16] = 2
    struct.pack_into(">I", data, _CRC_AT, crc32c(memoryview(data)[_CRC_FROM:]))
    return bytes(data)


class _Varints(_DefaultRecordBatchPy):
    """aiokafka's reader without its C parts."""

    def _read_msg(self, decode_varint: Any = decode_varint_py) -> Any:
        return super()._read_msg(decode_varint)


class _Plain(_DefaultRecordBatchPy):
    """The same, but that a record's attributes are a byte, as Kafka has it, not a varint."""

    def _read_msg(self, decode_varint: Any = decode_varint_py) -> Any:
        calls = 0

        def number(buffer: bytearray, at: int) -> tuple[int, int]:
            nonlocal calls
            calls += 1
            return (buffer[at], at + 1) if calls == 2 else decode_varint(buffer, at)

        return super()._read_msg(number)


def _by_aiokafka(data: bytes, reader: type[_DefaultRecordBatchPy] = _Plain) -> Any:
    """The same records; refused in any way, for it raises whatever comes of what it reads."""
    try:
        return [
            (each.offset, each.timestamp, each.key, each.value, len(each.headers))
            for each in reader(data)
        ]
    except Exception as error:
        return f"refused: {error!r}"


def _compaction(data: bytes, ours: Any) -> list[str]:
    """What compaction reads of it are the same records; rewritten with all, they are so still."""
    header = read_header(data)
    try:
        plain = records_of(data, header)
        found = unpack(plain, header)
    except CorruptRecordsError:
        return [] if ours is None else [shown(data, "refused by compaction", ours)]
    if ours is None:
        return []
    if [(each.offset, each.key) for each in found] != [(each[0], each[2]) for each in ours]:
        return [shown(data, found, ours)]
    again = rewrite(header, data, plain, found[:1])
    if [(each.offset, each.key, each.value) for each in iterate(again, read_header(again))] != [
        (each[0], each[2], each[3]) for each in ours[:1]
    ]:
        return [shown(data, again, ours)]
    return []


class FetchedBatches(Batches):
    """What workers read of a broker that checks nothing."""

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            data = _mended(message)
            try:
                ours = _fetched(data)
            except Exception:
                continue
            accepted += 1
            theirs = _by_aiokafka(data, _Varints)  # not sooner: its snappy takes any size's memory
            if ours and ours != _in_a_word(theirs):
                differences.append(shown(data, ours, theirs))
        return Outcome(accepted, differences)


def _in_a_word(records: Any) -> Any:
    """Offsets and times past 2**63 as C has them."""
    if isinstance(records, str):
        return records
    return [(*((word + 2**63) % 2**64 - 2**63 for word in each[:2]), *each[2:]) for each in records]


def _fetched(data: bytes) -> list[Any]:
    found: list[Any] = []
    batches = unpacking.FetchedBatches(data)
    while batches.has_next():
        found += [
            (each.offset, each.timestamp, each.key, each.value, len(each.headers))
            for each in batches.next_batch()
        ]
    return found
