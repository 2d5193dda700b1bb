"""Compacted topics take records with a key only."""

from __future__ import annotations

from typing import NamedTuple

from broker.protocol.errors import ErrorCode
from broker.records.batch import BatchHeader
from broker.records.codecs import CorruptRecordsError
from broker.records.rewrite import records_of, unpack


class BadRecords(NamedTuple):
    """Why a batch is refused, and by which of its records (their places in it; KIP-467)."""

    error: int
    message: str
    indexes: tuple[int, ...] = ()


def without_key(batch: bytes | bytearray | memoryview, header: BatchHeader) -> BadRecords | None:
    """The records of a checked client batch that have no key, None if all of them have one."""
    header = header._replace(base_offset=0)
    try:
        records = unpack(records_of(batch, header), header)
    except CorruptRecordsError as problem:
        return BadRecords(ErrorCode.invalid_record, str(problem))
    bad = tuple(index for index, record in enumerate(records) if record.key is None)
    if not bad:
        return None
    return BadRecords(
        ErrorCode.invalid_record, "a compacted topic takes no record without key", bad
    )
