"""What is written is what the reference parser reads, whatever the labels and their length."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1 import metrics_pb2

from streams.batch import BytesColumn
from topologies.encodings.otlp_writer import MalformedLabels, field, number_points

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", "\n\t\b\f\r", "\x00\x1f", "é€😀", "x" * 130, "y" * 20_000]
)


def as_json(labels: dict[str, str]) -> bytes:
    return json.dumps(labels, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write(column: BytesColumn, rows, ends, values, level: int, recorded: bool = True):
    data = np.frombuffer(column.data, np.uint8).copy()
    end = np.array(ends, np.int64)
    return number_points(
        data, np.array(column.offsets), np.array(rows, np.int64), end - level, end,
        np.array(values, np.float64), recorded,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.dictionaries(texts, texts, max_size=5), st.floats())), st.randoms())
def test_the_reference_parser_reads_what_was_written(points, random):
    column = BytesColumn.of(as_json(labels) for labels, _ in points)
    rows = list(range(len(points)))
    random.shuffle(rows)
    ends = [(row + 1) * 10**10 for row in rows]
    encoded, places = write(column, rows, sorted(ends), [v for _, v in points], 10**10)
    gauge = metrics_pb2.Gauge.FromString(encoded.tobytes())
    assert len(gauge.data_points) == len(points)
    for at, (row, found) in enumerate(zip(rows, gauge.data_points, strict=True)):
        labels, value = points[row]
        assert {each.key: each.value.string_value for each in found.attributes} == labels
        assert np.array(found.as_double).tobytes() == np.array(value).tobytes() or value != value
        assert (found.start_time_unix_nano, found.time_unix_nano) == (
            row * 10**10,
            (row + 1) * 10**10,
        )
        alone = encoded[int(places[at]) : int(places[at + 1])].tobytes()
        assert metrics_pb2.Gauge.FromString(alone).data_points[0] == found


@pytest.mark.parametrize("labels", [{}, {"a": "b"}, {"a": "x" * 120}, {"a": "x" * 20_000}])
def test_a_point_that_is_not_recorded_has_the_flag_and_no_value(labels: dict[str, str]):
    column = BytesColumn.of([as_json(labels), as_json(labels)])
    encoded, _ = write(column, [0, 1], [20, 30], [1.5, 2.5], 10, recorded=False)
    for end, point in zip(
        (20, 30), metrics_pb2.Gauge.FromString(encoded.tobytes()).data_points, strict=True
    ):
        assert point.flags == metrics_pb2.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
        assert point.WhichOneof("value") is None
        assert (point.start_time_unix_nano, point.time_unix_nano) == (end - 10, end)
        assert {each.key: each.value.string_value for each in point.attributes} == labels


@pytest.mark.parametrize(
    "labels",
    [
        b"", b"{", b"[]", b'{"a":1}', b'{"a":"b"', b'{"a" :"b"}', b'{"a":"b",}', b'{"a":"\\u0100"}',
        b'{"a":"\\x"}', b'{"a":"b\\"}', b'{"a":"b""c":"d"}',
    ],
)  # fmt: skip
def test_labels_that_are_no_compact_object_of_strings_are_refused(labels):
    with pytest.raises(MalformedLabels):
        write(BytesColumn.of([b'{"a":"b"}', labels]), [0, 1], [0, 0], [1.0, 2.0], 1)


@given(st.binary(max_size=300))
def test_a_field_is_what_the_reference_writes(content):
    exemplar = metrics_pb2.Exemplar(span_id=content)
    assert exemplar.SerializeToString() == (field(4, content) if content else b"")
