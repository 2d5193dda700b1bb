"""The rules of Protocol Buffers and OTLP that the scanner keeps, one by one."""

import struct

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from otlp_reference import Subject, by_reference, differences, example

from topologies.encodings import points as columns
from topologies.encodings.otlp import Scanner, all_points_have_time

KEY = b"0123456789abcdef"


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int, width: int = 1) -> bytes:
    out = bytearray()
    while value >= 0x80 or len(out) + 1 < width:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def fixed(number: int, value: int) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def attribute(key: str, value: str) -> bytes:
    return field(7, field(1, key.encode()) + field(2, field(1, value.encode())))


def wrap(metric: bytes, resource: bytes = b"") -> bytes:
    return field(1, field(1, resource) + field(2, field(2, metric)))


def gauge(*points: bytes) -> bytes:
    return wrap(field(1, b"m") + field(5, b"".join(field(1, point) for point in points)))


def scan(*messages: bytes):
    return Scanner(KEY).scan(messages, ["acme"] * len(messages))


def agrees(message: bytes) -> bool:
    assert by_reference(message, "acme").refused is None
    assert differences(Subject(), [message]) == []
    return True


def test_the_example_request_of_opentelemetry_is_read_as_the_reference_parser_reads_it():
    assert agrees(example())
    points = scan(example())
    assert [columns.kind_name(int(kind)) for kind in points.kind] == [
        "sum_delta",
        "gauge",
        "histogram_delta",
        "exponential_histogram_delta",
    ]
    assert not len(points.not_aggregated())


def test_what_the_sdk_sends_is_read_as_the_reference_parser_reads_it():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], Resource({"service.name": "shop", "cores": 2}))
    meter = provider.get_meter("checks", "1.0", attributes={"stage": "test"})
    meter.create_counter("orders", "1").add(3, {"kind": "new", "tags": ["a", "b"], "ok": True})
    meter.create_up_down_counter("queue").add(-2)
    meter.create_gauge("load").set(0.25, {"core": 1, "share": 0.5})
    meter.create_histogram("latency", "ms").record(12.5, {"route": "/"})
    message = encode_metrics(reader.get_metrics_data()).SerializeToString()
    provider.shutdown()
    assert agrees(message)
    assert len(scan(message)) == 4


def test_of_a_field_that_comes_twice_the_last_counts():
    twice = fixed(3, 1) + fixed(4, 5) + fixed(3, 2) + fixed(6, 7)
    points = scan(gauge(twice))
    assert (points.time[0], points.value[0], points.flags[0]) == (2, 7, columns.IS_INT)
    assert agrees(gauge(twice))


def test_of_a_metric_with_two_kinds_of_data_the_last_kind_counts_alone():
    point = field(1, fixed(3, 1) + fixed(6, 7))
    both = wrap(field(1, b"m") + field(5, point) + field(7, point + point) + field(5, point))
    assert len(scan(both)) == 1
    assert agrees(both)


def test_a_sum_in_pieces_is_one_sum():
    point = field(1, fixed(3, 1) + fixed(6, 7))
    pieces = wrap(field(7, point + b"\x10\x01") + field(7, b"\x10\x02\x18\x01" + point))
    points = scan(pieces)
    assert points.kind.tolist() == [columns.SUM_CUMULATIVE | columns.MONOTONIC] * 2
    assert agrees(pieces)


def test_a_resource_that_follows_its_metrics_belongs_to_them():
    resource = field(1, field(1, b"host") + field(2, field(1, b"a")))
    metric = field(2, field(2, field(1, b"m") + field(5, field(1, fixed(3, 1)))))
    behind = field(1, metric + field(1, resource))
    before = field(1, field(1, resource) + metric)
    assert agrees(behind)
    points = scan(behind, before)
    assert (points.fingerprint[:, 0] == points.fingerprint[:, 1]).all()


def test_tags_and_lengths_longer_than_needed_mean_the_same():
    point = varint(7 << 3 | 2, 3) + varint(0, 2) + varint(3 << 3 | 1, 2) + struct.pack("<Q", 9)
    message = gauge(point + varint(8 << 3, 4) + varint(1, 10))
    points = scan(message)
    assert (points.time[0], points.flags[0]) == (9, columns.NO_VALUE | columns.NO_RECORDED_VALUE)
    assert agrees(message)


def test_unknown_fields_are_passed_over_on_every_level():
    unknown = fixed(999, 1) + field(500, b"x") + varint(77 << 3) + varint(300)
    unknown += varint(78 << 3 | 5) + b"abcd"
    point = field(1, unknown + fixed(3, 4) + fixed(6, 1))
    metric = field(2, unknown + field(5, unknown + point))
    assert agrees(unknown + field(1, unknown + field(2, unknown + metric)))


def test_a_known_number_with_another_wire_type_is_an_unknown_field():
    assert agrees(gauge(varint(3 << 3) + varint(5) + varint(4 << 3 | 5) + b"abcd"))


def test_a_value_that_is_not_set_is_flagged():
    assert scan(gauge(fixed(3, 1))).flags.tolist() == [columns.NO_VALUE]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x0a", "truncated"),
        (b"\x0a\x05abc", "truncated"),
        (gauge(fixed(3, 1)[:-1]), "truncated"),
        (b"\x00", "bad-tag"),
        (b"\x0e", "bad-tag"),
        (b"\xff" * 5 + b"\x01", "bad-tag"),
        (b"\x0b\x0c", "group"),
        (b"\x50" + b"\xff" * 10 + b"\x01", "bad-varint"),
        (b"\x0a" + b"\xff\xff\xff\xff\x0f", "bad-length"),
        (wrap(field(1, b"\xff")), "bad-utf8"),
        (wrap(field(1, b"\xed\xa0\x80")), "bad-utf8"),
        (gauge(field(7, field(1, b"\xc0\x80"))), "bad-utf8"),
        (wrap(b"", field(1, field(2, field(1, b"\xf5")))), "bad-utf8"),
        (gauge(field(5, field(7, field(1, b"\xff")))), "bad-utf8"),
        (wrap(field(9, field(1, field(6, b"1234567")))), "bad-packed"),
        (wrap(field(10, field(1, field(8, field(2, b"\xff"))))), "bad-packed"),
    ],
)
def test_a_malformed_message_is_refused_whole_and_its_neighbours_are_kept(message, code):
    good = gauge(fixed(3, 1) + fixed(6, 1))
    subject = Subject()
    known = len(subject.series)
    first, refused, last = subject.read([good, good + message, good], "acme")
    assert refused.refused == code
    assert refused.rows == []
    assert first.rows == last.rows
    assert len(subject.series) == known + 1


def test_nesting_is_allowed_as_deep_as_in_the_reference_parser():
    def nested(levels: int) -> bytes:
        value = AnyValue(int_value=1).SerializeToString()
        for _ in range(levels):
            value = field(5, field(1, value))
        return gauge(field(7, field(1, b"a") + field(2, value)))

    refused = [subject.refused for subject in Subject().read([nested(46), nested(47)], "acme")]
    assert refused == [None, "too-deep"]
    for levels in (45, 46, 47, 48, 60):
        assert differences(Subject(), [nested(levels)]) == []


def test_columns_grow_to_what_a_batch_needs():
    points = 5000
    message = gauge(*[fixed(3, 1 + n) for n in range(points)])
    read = Scanner(KEY, points=3, size=10).scan([message, message], ["a", "b"])
    assert len(read) == 2 * points
    assert read.time.tolist() == [*range(1, points + 1)] * 2
    assert (np.diff(read.message) >= 0).all()


def test_many_metrics_grow_as_well():
    metric = field(2, field(1, b"m") + field(5, field(1, fixed(3, 1))))
    message = field(1, field(2, metric * 5000))
    assert Scanner(KEY).scan([message], ["a"]).metric.tolist() == list(range(5000))


def test_an_empty_batch_and_an_empty_message_have_no_points():
    assert len(scan()) == 0
    assert len(scan(b"")) == 0
    assert scan(b"").malformed == ()


def test_fingerprints_differ_by_whatever_identifies_a_stream_and_by_nothing_else():
    point = fixed(3, 1) + attribute("a", "b")
    base = gauge(point)
    same = gauge(fixed(3, 99) + fixed(6, 5) + attribute("a", "b"))
    others = [
        gauge(fixed(3, 1) + attribute("a", "c")),
        gauge(fixed(3, 1) + attribute("a", "b") * 2),
        gauge(fixed(3, 1)),
        wrap(field(1, b"n") + field(5, field(1, point))),
        wrap(field(1, b"m") + field(3, b"s") + field(5, field(1, point))),
        wrap(field(1, b"m") + field(7, field(1, point))),
        wrap(field(1, b"m") + field(7, field(1, point) + b"\x10\x01")),
        wrap(field(1, b"m") + field(7, field(1, point) + b"\x10\x02")),
        wrap(field(1, b"m") + field(7, field(1, point) + b"\x10\x02\x18\x01")),
        wrap(field(1, b"m") + field(5, field(1, point)), field(1, field(1, b"r"))),
    ]
    messages = [base, same, *others, base]
    tenants = ["acme"] * (len(messages) - 1) + ["other"]
    found = Scanner(KEY).scan(messages, tenants).fingerprint.T.tolist()
    assert found[0] == found[1]
    assert len({tuple(each) for each in found}) == len(messages) - 1
    for word in (0, 1):
        assert len({each[word] for each in found}) == len(messages) - 1


def test_another_key_gives_other_fingerprints():
    message = gauge(fixed(3, 1))
    one = Scanner(KEY).scan([message], ["a"]).fingerprint[:, 0].tolist()
    other = Scanner(KEY + b"x").scan([message], ["a"]).fingerprint[:, 0].tolist()
    assert one != other


def test_fingerprints_of_similar_attributes_do_not_meet():
    texts = [f"{n:05}" for n in range(20_000)]
    message = gauge(*[attribute("a", text) for text in texts])
    words = Scanner(KEY).scan([message], ["a"]).fingerprint
    assert len(np.unique(words[0])) == len(np.unique(words[1])) == len(texts)
    ones = np.unpackbits(words.view(np.uint8)).mean()
    assert 0.49 < ones < 0.51


def test_points_of_every_kind_are_asked_for_their_time():
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add().gauge.data_points.add(time_unix_nano=1)
    metrics.add().summary.data_points.add(time_unix_nano=1)
    assert all_points_have_time(request.SerializeToString())
    assert all_points_have_time(b"")
    for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary"):
        untimed = ExportMetricsServiceRequest()
        untimed.CopyFrom(request)
        point = getattr(untimed.resource_metrics[0].scope_metrics[0].metrics.add(), kind)
        point.data_points.add(start_time_unix_nano=5)
        assert not all_points_have_time(untimed.SerializeToString())
    with pytest.raises(ValueError, match="not an OTLP metrics request"):
        all_points_have_time(b"\x0a\x7f")
