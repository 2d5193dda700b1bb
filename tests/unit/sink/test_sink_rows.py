"""Messages become blocks: their bounds, their faults, their determinism."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streams.batch import BytesColumn, Column, Table, encode_table
from topologies.sink import native, rows
from topologies.sink.rows import MessageReader, chunks
from topologies.sink.schema import DEFAULT_RETENTION_DAYS, Schema, definition_view, migrations


def table(count: int = 3, **changed: Column) -> Table:
    columns: dict[str, Column] = {
        "definition": np.zeros(count, np.uint16),
        "resolution": np.full(count, 10, np.uint32),
        "window_end": np.full(count, 10_000_000_000, np.int64),
        "group_hi": np.arange(count, dtype=np.uint64),
        "group_lo": np.arange(count, dtype=np.uint64),
        "labels": BytesColumn.of([b'{"host":"a","tenant":"t"}'] * count),
        "value": np.ones(count),
        "points": np.ones(count, np.uint64),
        "revision": np.ones(count, np.uint32),
        "deleted": np.zeros(count, np.uint8),
        "late": np.zeros(count, np.uint64),
    }
    meta: dict[str, Any] = {
        "definitions": [{"name": "m", "version": "0" * 16, "unit": "s"}],
        "certificates": [],
    }
    return Table(columns | changed, meta)


def read(value: Table | bytes, offset: int = 5) -> rows.Message:
    raw = value if isinstance(value, bytes) else encode_table(value)
    return MessageReader().read(0, offset, raw)


def test_a_message_knows_its_rows_and_definitions() -> None:
    message = read(table(3))
    assert (message.offset, message.rows, message.names, message.fault) == (5, 3, {("m", "")}, "")


def test_a_message_knows_when_its_newest_window_ended_and_whether_it_tells_of_one() -> None:
    ends = np.array([20, 40, 30], np.int64) * 1_000_000_000
    assert read(table(3, window_end=ends)).newest == 40_000_000_000
    certified = table(0)
    certified.meta["certificates"] = [{"resolution": 10, "window_end": 50_000_000_000}]
    assert read(certified).newest == 50_000_000_000
    assert read(table(0)).newest == 0


def test_the_same_records_make_the_same_inserts_whatever_was_read_before() -> None:
    used = MessageReader()
    used.read(0, 1, encode_table(table(2, labels=BytesColumn.of([b'{"z":"1"}', b"{}"]))))
    raw = encode_table(table(3))
    fresh = chunks([MessageReader().read(0, 5, raw), MessageReader().read(0, 6, raw)])
    again = chunks([used.read(0, 5, raw), used.read(0, 6, raw)])
    assert [chunk.rows for chunk in fresh] == [chunk.rows for chunk in again] == [6]


def test_inserts_are_cut_at_records_and_only_a_giant_record_is_cut_itself() -> None:
    limit = rows.CHUNK_ROWS
    big, small = limit - 1, 2
    messages = [
        rows.Message(0, blocks=((big, b"a"),)),
        rows.Message(1, blocks=((small, b"b"),)),
        rows.Message(2, blocks=((limit, b"c"), (1, b"d"))),
    ]
    assert [(c.rows, c.body) for c in chunks(messages)] == [
        (big, b"a"),
        (small, b"b"),
        (limit, b"c"),
        (1, b"d"),
    ]
    giant = read(table(rows.CHUNK_ROWS + 1))
    assert [count for count, _ in giant.blocks] == [rows.CHUNK_ROWS, 1]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"", "no table"),
        (b"TMT1", "no table"),
        (table(2, value=np.ones(2, np.float32)), "column 'value' is f4, not f8"),
        (table(2, definition=np.array([0, 1], np.uint16)), "past the 1 of the message"),
        (table(2, labels=BytesColumn.of([b"{}", b'{"a":1}'])), "no object of strings"),
        (table(2, window_end=np.array([10, 20], np.int64)), "whole millisecond"),
        (Table({"value": np.ones(1)}), "column 'definition' is missing"),
    ],
)
def test_a_record_that_cannot_be_stored_has_a_fault_and_keeps_its_bytes(
    value: Table | bytes, fault: str
) -> None:
    message = read(value)
    assert fault in message.fault
    assert message.rows == 0
    assert message.raw == (value if isinstance(value, bytes) else encode_table(value))
    assert chunks([message]) == []


def test_an_empty_table_is_no_fault() -> None:
    assert (read(table(0)).fault, read(table(0)).rows) == ("", 0)


def test_lengths_are_leb128() -> None:
    assert [native.varint(n) for n in (0, 127, 128, 300)] == [
        b"\0",
        b"\x7f",
        b"\x80\x01",
        b"\xac\x02",
    ]


# The schema --------------------------------------------------------------------------------------


def test_rows_live_as_long_as_their_resolution_is_kept_counted_from_when_they_were_written() -> (
    None
):
    lifetime = Schema().lifetime
    assert "greatest(toDateTime(window_end), recorded_at)" in lifetime
    assert "multiIf(resolution <= 10, 2, resolution <= 60, 14, resolution <= 3600, 400, 1825)" in (
        lifetime
    )
    assert list(DEFAULT_RETENTION_DAYS) == [10, 60, 3600, 86_400]
    assert Schema(retention_days={60: 7}).lifetime.endswith("toIntervalDay(7)")


def test_a_cluster_differs_by_engine_and_on_cluster_only() -> None:
    plain = migrations(Schema())[0][1]
    replicated = migrations(Schema(cluster="main"))[0][1]
    for one, many in zip(plain, replicated, strict=True):
        assert "ON CLUSTER 'main'" in many
        assert "ON CLUSTER" not in one
    assert "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/" in replicated[0]
    assert "'{replica}', revision, is_deleted)" in replicated[0]
    assert "replicated_deduplication_window = 10000" in replicated[0]


def test_names_that_would_end_the_statement_are_refused_or_quoted() -> None:
    with pytest.raises(ValueError, match="no plain name"):
        Schema(database="x; DROP")
    with pytest.raises(ValueError, match="no plain name"):
        Schema(cluster="it's")
    view = definition_view(Schema(), "it's `odd`")
    assert view is not None
    assert "tidemill.`it's \\`odd\\``" in view
    assert "rollup = 'it\\'s `odd`'" in view
    assert definition_view(Schema(), "rollups") is None
