"""Snapshots become changelog records and state again, whole or not at all."""

import os
import random
from dataclasses import replace

import pytest

from streams.state.changelog import (
    CHUNK_BYTES,
    ChangelogKeys,
    ChangelogReader,
    ChangelogRecord,
    ChangelogWriter,
)
from streams.state.position import Position, UnknownVersion

KEYS = ChangelogKeys("telemetry.raw", 3)


def position(offset: int) -> Position:
    return Position(offset=offset, snapshot=offset, origin=0, lineage="a")


def numbered(records: list[ChangelogRecord], start: int = 0) -> list[ChangelogRecord]:
    return [replace(record, offset=start + n) for n, record in enumerate(records)]


def apply(reader: ChangelogReader, state: dict, records: list[ChangelogRecord]) -> None:
    for key, value in reader.read(records).items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value


def test_small_blocks_are_one_record_each_and_the_position_comes_last():
    records = ChangelogWriter(KEYS).encode({b"b": b"2", b"a": b"1"}, position(5))
    assert [r.key for r in records] == [KEYS.chunk(b"a", 0), KEYS.chunk(b"b", 0), KEYS.position]
    reader = ChangelogReader(KEYS)
    assert reader.read(numbered(records)) == {b"a": b"1", b"b": b"2"}
    assert reader.position == position(5)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_a_block_of_any_size_comes_back_and_no_record_is_too_large(size):
    value = os.urandom(size)
    records = ChangelogWriter(KEYS).encode({b"a": value}, position(5))
    assert all(len(r.value or b"") < 1_000_000 for r in records)
    assert ChangelogReader(KEYS).read(numbered(records)) == {b"a": value}


def test_a_block_that_shrinks_or_goes_leaves_no_chunk_behind():
    writer = ChangelogWriter(KEYS)
    writer.encode({b"a": bytes(3 * CHUNK_BYTES)}, position(1))
    shrunk = writer.encode({b"a": b"x"}, position(2))
    assert [(r.key, r.value is None) for r in shrunk[:-1]] == [
        (KEYS.chunk(b"a", 0), False),
        (KEYS.chunk(b"a", 1), True),
        (KEYS.chunk(b"a", 2), True),
    ]
    gone = writer.encode({b"a": None}, position(3))
    assert [(r.key, r.value) for r in gone[:-1]] == [(KEYS.chunk(b"a", 0), None)]


def test_a_block_cut_by_the_end_of_a_read_is_held_back_with_the_place_to_resume():
    value = os.urandom(2 * CHUNK_BYTES + 5)
    records = numbered(ChangelogWriter(KEYS).encode({b"a": value, b"b": b"1"}, position(5)))
    reader = ChangelogReader(KEYS)
    assert reader.read(records[:2]) == {}
    assert reader.resume_offset(2) == 0
    assert reader.read(records[2:]) == {b"a": value, b"b": b"1"}
    assert reader.resume_offset(len(records)) == len(records)


def test_records_of_other_tasks_on_the_same_partition_are_passed_over():
    others = [ChangelogKeys("telemetry.history.a", 3), ChangelogKeys("telemetry.raw", 13)]
    mixed = [
        record
        for keys in (others[0], KEYS, others[1])
        for record in ChangelogWriter(keys).encode({b"a": keys.position}, position(1))
    ]
    reader = ChangelogReader(KEYS)
    assert reader.read(numbered(mixed)) == {b"a": KEYS.position}


def test_a_block_of_a_newer_version_is_refused():
    key = KEYS.chunk(b"a", 0)
    with pytest.raises(UnknownVersion):
        ChangelogReader(KEYS).read([ChangelogRecord(key, b"\x02" + bytes(10), 0)])


def test_whatever_compaction_removes_the_state_is_the_same():
    """Any older record of a key may be gone or still there; the last of each key never goes."""
    for seed in range(200):
        rng = random.Random(seed)
        writer, state, log = ChangelogWriter(KEYS), {}, []
        for snapshot in range(1, rng.randint(2, 8)):
            changes = {}
            for _ in range(rng.randint(0, 3)):
                size = rng.choice((3, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 1))
                block = rng.choice((b"a", b"b", b"c"))
                changes[block] = None if rng.random() < 0.2 else bytes([snapshot]) * size
            log += writer.encode(changes, position(snapshot))
            for key, value in changes.items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
        log = numbered(log)
        last = {record.key: record.offset for record in log}
        kept = [r for r in log if last[r.key] == r.offset or rng.random() < 0.4]
        found: dict[bytes, bytes] = {}
        reader = ChangelogReader(KEYS)
        while kept:
            count = rng.randint(1, 5)
            apply(reader, found, kept[:count])
            kept = kept[count:]
        assert found == state, seed
        assert reader.position == position(snapshot)
