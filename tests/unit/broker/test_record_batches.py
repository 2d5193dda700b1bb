"""What a client may send as a batch, and what becomes of it."""

import struct

import pytest
from crc32c import crc32c

from broker.protocol.errors import ErrorCode
from broker.records.batch import (
    HEADER_SIZE,
    BatchHeader,
    Refusal,
    check_client_batch,
    crc_is_good,
    patch_log_append_time,
    patch_position,
    read_header,
)
from broker.records.build import build_batch, build_marker, marker_is_commit
from broker.records.codecs import CorruptRecordsError
from broker.records.iterate import iterate

MANY = [(b"k%d" % i, b"v" * i) for i in range(20)]
LIMIT = 1 << 20


def resealed(batch: bytearray) -> bytearray:
    struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return batch


def changed(layout: str, at: int, value: int) -> bytearray:
    batch = build_batch(MANY, 1000)
    struct.pack_into(layout, batch, at, value)
    return resealed(batch)


def error_of(batch: bytearray, limit: int = LIMIT) -> int:
    found = check_client_batch(memoryview(batch), limit)
    return found.error if isinstance(found, Refusal) else 0


def test_a_whole_batch_is_accepted_and_its_records_come_back():
    batch = build_batch(MANY, 1234)
    header = check_client_batch(memoryview(batch), LIMIT)
    assert isinstance(header, BatchHeader)
    assert [(r.key, r.value) for r in iterate(batch, header)] == MANY
    assert {r.timestamp for r in iterate(batch, header)} == {1234}


def test_every_truncation_of_a_batch_is_refused():
    batch = build_batch(MANY[:3], 1000)
    for size in range(len(batch)):
        assert error_of(batch[:size]) == ErrorCode.corrupt_message


def test_every_flipped_byte_is_refused_except_where_the_broker_writes_itself():
    batch = build_batch(MANY[:3], 1000)
    for at in range(len(batch)):
        damaged = bytearray(batch)
        damaged[at] ^= 0x55
        patched_by_the_broker = at < 8 or 12 <= at < 16
        assert (error_of(damaged) == 0) == patched_by_the_broker, at


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (changed(">b", 16, 1), ErrorCode.unsupported_for_message_format),
        (changed(">h", 21, 5), ErrorCode.unsupported_compression_type),
        (changed(">h", 21, 0x20), ErrorCode.invalid_record),
        (changed(">h", 21, 0x10), ErrorCode.invalid_record),
        (changed(">i", 23, 5), ErrorCode.invalid_record),
        (changed(">i", 57, 0), ErrorCode.invalid_record),
        (changed(">i", 57, -3), ErrorCode.invalid_record),
        (changed(">q", 43, 7), ErrorCode.invalid_record),
        (build_batch(MANY, 1000) * 2, ErrorCode.invalid_record),
        (changed(">i", 8, 2**31 - 1), ErrorCode.corrupt_message),
        (changed(">i", 8, -1), ErrorCode.corrupt_message),
    ],
)
def test_a_batch_that_lies_about_itself_is_refused(batch: bytearray, error: int):
    assert error_of(batch) == error


def test_a_batch_over_the_topics_limit_is_refused_as_too_large():
    batch = build_batch(MANY, 1000)
    assert error_of(batch, len(batch)) == 0
    assert error_of(batch, len(batch) - 1) == ErrorCode.message_too_large


def test_offset_and_epoch_are_written_without_breaking_the_checksum():
    batch = build_batch(MANY, 1000)
    patch_position(batch, 2**40, 7)
    header = read_header(batch)
    assert (header.base_offset, header.leader_epoch, header.size) == (2**40, 7, len(batch))
    assert crc_is_good(batch, 0, header)


def test_append_time_replaces_the_records_times():
    batch = build_batch(MANY, 1000)
    patch_log_append_time(batch, read_header(batch), 5000)
    header = read_header(batch)
    assert crc_is_good(batch, 0, header)
    assert {r.timestamp for r in iterate(batch, header)} == {5000}


@pytest.mark.parametrize("commit", [True, False])
def test_a_marker_says_how_the_transaction_ended(commit: bool):
    marker = build_marker(9, 3, commit=commit, coordinator_epoch=4, now_ms=1)
    header = read_header(marker)
    assert header.is_control
    assert header.is_transactional
    assert (header.producer_id, header.producer_epoch) == (9, 3)
    assert marker_is_commit(marker) is commit
    assert crc_is_good(marker, 0, header)


def test_garbage_behind_a_good_checksum_is_found_by_parsing():
    for at in range(HEADER_SIZE, HEADER_SIZE + 12):
        batch = build_batch(MANY[:2], 1000)
        batch[at] ^= 0xFF
        resealed(batch)
        header = read_header(batch)
        try:
            records = list(iterate(batch, header))
        except CorruptRecordsError:
            continue
        assert [r.offset for r in records] == [0, 1]


def test_an_unknown_or_broken_compression_is_a_corrupt_batch():
    for codec in (1, 2, 3, 4):
        batch = build_batch(MANY[:2], 1000, attributes=codec)
        with pytest.raises(CorruptRecordsError):
            list(iterate(batch, read_header(batch)))
