"""Histograms from the topic to the table: every field in its column, beside numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from streams.batch import BytesColumn, Column, Table, encode_table
from tests.conformance import sink_world
from tidemill.embedded_store.testing import StoreProcess
from topologies.sink.queries import query_rollups
from topologies.sink.rows import ROLLUP_COLUMNS, MessageReader, chunks
from topologies.sink.schema import Schema, migrations, preparation
from topologies.sink.store import Store, StoreAddress, connect

store = sink_world.store
END = 1_700_000_010
SCHEMA = Schema(database="shapes")
DEFINITIONS = [
    {"name": "load", "version": "1" * 16, "unit": "s", "instrument": "gauge"},
    {"name": "spread", "version": "2" * 16, "unit": "s", "instrument": "histogram"},
    {"name": "shape", "version": "3" * 16, "unit": "s", "instrument": "exponential_histogram"},
]
EXPLICIT = HistogramDataPoint(
    count=3, sum=7.0, min=1.0, max=4.0, explicit_bounds=[1.0, 5.0], bucket_counts=[1, 2, 0]
)
EXPONENTIAL = ExponentialHistogramDataPoint(
    count=6, min=-3.0, max=4.0, scale=-1, zero_count=1, zero_threshold=0.5
)
EXPONENTIAL.positive.offset = -2
EXPONENTIAL.positive.bucket_counts.extend([1, 0, 2])
EXPONENTIAL.negative.offset = 1
EXPONENTIAL.negative.bucket_counts.extend([2])


def table(rows: list[tuple[int, bytes, int]], shaped: bool = True) -> bytes:
    """Rows of a definition (its index), with a body, deleted or not."""
    n = len(rows)
    columns: dict[str, Column] = {
        "definition": np.array([row[0] for row in rows], np.uint16),
        "resolution": np.full(n, 10, np.uint32),
        "window_end": np.full(n, END * 10**9, np.int64),
        "group_hi": np.zeros(n, np.uint64),
        "group_lo": np.arange(n, dtype=np.uint64),
        "labels": BytesColumn.of([b'{"tenant":"t"}'] * n),
        "value": np.array([1.5 if row[0] == 0 else math.nan for row in rows]),
        "points": np.full(n, 3, np.uint64),
        "revision": np.ones(n, np.uint32),
        "deleted": np.array([row[2] for row in rows], np.uint8),
        "late": np.zeros(n, np.uint64),
    }
    if shaped:
        columns["histogram"] = BytesColumn.of([row[1] for row in rows])
    return encode_table(Table(columns, {"definitions": DEFINITIONS, "certificates": []}))


@pytest.fixture(scope="module")
def client(store: StoreProcess) -> Iterator[Any]:
    """A store of the second version, migrated, with both kinds of histograms and numbers."""
    address = StoreAddress(port=store.port, timeout_s=20)
    opened = Store(address, Schema(database="elsewhere"))
    for statement in preparation(SCHEMA):
        opened.command(statement)
    for version, statements in migrations(SCHEMA)[:2]:
        for statement in statements:
            opened.command(statement)
        opened.command(f"INSERT INTO {SCHEMA.applied} (version, lifetime) VALUES ({version}, '')")
    opened.command(f"INSERT INTO {SCHEMA.rollups} (rollup, resolution, value) VALUES ('old', 1, 2)")
    opened.close()
    made = Store(address, SCHEMA)
    made.ensure_schema()
    reader = MessageReader()
    bodies = [(1, EXPLICIT.SerializeToString(), 0), (2, EXPONENTIAL.SerializeToString(), 0)]
    messages = [
        reader.read(0, 0, table([(0, b"", 0)], shaped=False)),  # a block without the columns
        reader.read(0, 1, table([*bodies, (0, b"", 0), (1, b"", 1)])),
    ]
    assert [message.fault for message in messages] == ["", ""]
    (chunk,) = chunks(messages)
    made.insert(SCHEMA.rollups, ROLLUP_COLUMNS, "Native", chunk.body, "token")
    made.ensure_views({name for message in messages for name in message.names})
    yield made
    made.close()


def test_every_field_of_a_histogram_has_its_column(client: Store):
    assert client.rows(
        "SELECT * EXCEPT (labels, window_start, window_end, source_offset) FROM shapes.`spread`"
    ) == [
        (
            *("t", "spread", "2" * 16, "s", "10s", "", 10, 0),
            *(pytest.approx(math.nan, nan_ok=True), 3, 0, 1, 0),
            *(3, 7.0, 1.0, 4.0, [1.0, 5.0], [1, 2, 0]),
        )
    ]
    (found,) = client.rows(
        "SELECT count, sum, min, max, scale, zero_count, zero_threshold, positive_offset, "
        "positive_bucket_counts, negative_offset, negative_bucket_counts FROM shapes.shape"
    )
    assert found == (
        *(6, pytest.approx(math.nan, nan_ok=True), -3.0, 4.0, -1, 1, 0.5),
        *(-2, [1, 0, 2], 1, [2]),
    )


def test_numbers_beside_them_and_older_rows_have_empty_columns(client: Store):
    found = client.rows(
        "SELECT value, histogram, count, bucket_counts, positive_bucket_counts "
        "FROM shapes.rollups WHERE rollup IN ('load', 'old') ORDER BY value"
    )
    assert found == [(1.5, "", 0, [], []), (1.5, "", 0, [], []), (2.0, "", 0, [], [])]
    assert client.rows("SELECT histogram FROM shapes.rollups WHERE histogram != '' ORDER BY 1") == [
        ("explicit",),
        ("exponential",),
    ]
    of_numbers = (
        "SELECT name, type FROM system.columns WHERE database = 'shapes' AND table = 'load'"
    )
    assert "histogram" not in dict(client.rows(of_numbers))


def test_a_histogram_that_does_not_parse_is_a_fault_of_its_record():
    for body in (b"\xff\xff", EXPLICIT.SerializeToString()[:-3]):
        message = MessageReader().read(0, 0, table([(1, body, 0)]))
        assert "a histogram does not parse" in message.fault
    message = MessageReader().read(0, 0, table([(0, EXPLICIT.SerializeToString(), 0)]))
    assert "a histogram of a definition that is a gauge" in message.fault


def test_questions_give_histograms_with_their_quantiles(client: Store, store: StoreProcess):
    def asked(name: str) -> Any:
        between = (datetime.fromtimestamp(END - 60, UTC), datetime.fromtimestamp(END, UTC))
        (row,) = query_rollups(
            connect(StoreAddress(port=store.port)), name, 10, *between, schema=SCHEMA,
            histograms=True,
        )  # fmt: skip
        return row

    explicit, exponential = asked("spread").histogram, asked("shape").histogram
    assert (explicit.count, explicit.sum, explicit.bucket_counts) == (3, 7.0, (1, 2, 0))
    assert [explicit.quantile(q) for q in (0, 1 / 3, 1)] == [1.0, 1.0, 4.0]
    assert math.isnan(exponential.sum)
    assert [exponential.quantile(q) for q in (0, 1)] == [-3.0, 4.0]
    assert exponential.quantile(0.4) <= 0 <= exponential.quantile(0.6)
