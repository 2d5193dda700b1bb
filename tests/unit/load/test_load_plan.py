"""Files become samples, samples become records, the same each time; no row goes missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.edge.cut import digest, partition_of
from topologies.load.config import Columns, LoadConfig, LoadError, Naming, csv_files
from topologies.load.files import read_files
from topologies.load.naming import name_of
from topologies.load.plan import Planned, Slice, fingerprint, marker, slices
from topologies.load.rows import (
    Attributes,
    BadRow,
    Samples,
    SeriesKey,
    parse_time,
    parse_value,
    read_rows,
)

DAY = 86_400 * 10**9
KEY = SeriesKey((("cloud.resource_id", "a"),), "m", "By", ())
OTHER = SeriesKey((("cloud.resource_id", "b"),), "m", "By", (("disk", "sda"),))
PLANNED = Planned("telemetry.history.x", "acme", 4, b"f" * 16, 3, DAY)


def samples(times: Iterable[int]) -> Samples:
    found = Samples()
    for time in times:
        found.times.append(time)
        found.values.append(time / 7)
    return found


def points_of(part: Slice) -> list[tuple[str, int, float]]:
    found: list[tuple[str, int, float]] = []
    for record in part.data:
        (resource,) = ExportMetricsServiceRequest.FromString(record.value).resource_metrics
        (metric,) = resource.scope_metrics[0].metrics
        who = resource.resource.attributes[0].value.string_value
        points = metric.gauge.data_points
        found += [(who, point.time_unix_nano, point.as_double) for point in points]
    return found


event_times = st.lists(st.integers(1, 20 * DAY), max_size=30)


@settings(max_examples=150, deadline=None)
@given(first=event_times, second=event_times, repeated=st.integers(1, 9))
def test_every_sample_is_in_one_record_of_the_slice_that_its_time_belongs_to(
    first: list[int], second: list[int], repeated: int
) -> None:
    given_times = {KEY: [*first, *[5] * repeated], OTHER: second or [DAY]}
    series = {key: samples(times) for key, times in given_times.items()}
    parts = list(slices(series, PLANNED))
    expected = [(k.resource[0][1], t, t / 7) for k, times in given_times.items() for t in times]
    assert sorted(p for part in parts for p in points_of(part)) == sorted(expected)
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    before = 0
    for part in parts:
        assert before < part.until
        assert all(before < time <= part.until for _, time, _ in points_of(part))
        assert part.last or part.until % DAY == 0
        assert part.points == len(points_of(part))
        before = part.until
    records = [record for part in parts for record in part.data]
    assert len({record.value for record in records}) == len(records)
    assert list(slices(series, PLANNED)) == parts


def test_records_carry_what_a_worker_needs() -> None:
    (part,) = slices({KEY: samples([1, 2])}, PLANNED)
    (record,) = part.data
    headers = dict(record.headers)
    assert headers["encoding"] == b"otlp"
    assert headers["tenant"] == b"acme"
    assert headers["digest"] == digest("acme", record.value)
    assert record.partition == partition_of(record.key, 4)
    end = marker(PLANNED, 3, time=7, end=True, received_ns=9)
    assert json.loads(end.value) == {"time": 7, "end": True}
    assert dict(end.headers)["control"] == b"marker"
    assert (end.partition, dict(end.headers)["received"]) == (3, b"9")


def test_years_without_a_sample_cost_no_slice() -> None:
    parts = list(slices({KEY: samples([1, 10_000 * DAY])}, PLANNED))
    assert [part.until for part in parts] == [DAY, 10_000 * DAY]


def read(text: str, columns: Columns) -> tuple[dict[SeriesKey, Samples], int, list[BadRow]]:
    into: dict[SeriesKey, Samples] = {}

    def key_of(resource: Attributes, attributes: Attributes) -> SeriesKey:
        return SeriesKey(resource, "m", "", attributes)

    rows, bad = read_rows("f.csv", text.splitlines(keepends=True), columns, key_of, into)
    return into, rows, bad


def test_rows_that_hold_no_sample_are_named_by_line_and_kept_as_written() -> None:
    text = (
        "timestamp,value\n2014-02-14 14:30:00,0.5\nyesterday,1\n\n"
        '2014-02-14 14:35:00,"1\n2"\n2014-02-14 14:40:00,nan\n2014-02-14 14:45:00\n'
        "2014-02-14 14:50:00,7\n1969-12-31 23:59:59,1\n"
    )
    into, rows, bad = read(text, Columns())
    (found,) = into.values()
    assert list(found.values) == [0.5, 7.0]
    assert found.times[0] == 1_392_388_200 * 10**9
    assert rows == 7
    assert [(row.line, row.text) for row in bad] == [
        (3, b"yesterday,1\n"),
        (6, b'2014-02-14 14:35:00,"1\n2"\n'),
        (7, b"2014-02-14 14:40:00,nan\n"),
        (8, b"2014-02-14 14:45:00\n"),
        (10, b"1969-12-31 23:59:59,1\n"),
    ]
    assert "'yesterday' is no time" in bad[0].reason
    assert "1970" in bad[-1].reason


def test_columns_become_attributes_of_the_point_or_the_resource() -> None:
    columns = Columns("t", "v", ("disk",), ("host",), "unix-ms")
    into, _, bad = read("host,t,disk,v\na,1.5,sda,1\na,2,,2\nb,3,sda,3\n", columns)
    assert {
        (k.resource, k.attributes): (list(s.times), list(s.values)) for k, s in into.items()
    } == {
        ((("host", "a"),), (("disk", "sda"),)): ([1_500_000], [1.0]),
        ((("host", "a"),), ()): ([2_000_000], [2.0]),
        ((("host", "b"),), (("disk", "sda"),)): ([3_000_000], [3.0]),
    }
    assert not bad


def test_a_file_without_the_columns_is_refused_with_those_it_has() -> None:
    with pytest.raises(LoadError, match=r"no column timestamp, only time, value: .*--time"):
        read("time,value\n", Columns())
    with pytest.raises(LoadError, match="is empty"):
        read("", Columns())


def test_bytes_that_are_not_text_make_a_bad_row_and_stay_as_they_are() -> None:
    text = b"timestamp,value,a\n2014-02-14 14:30:00,1,\xff\n".decode("utf-8", "surrogateescape")
    _, _, bad = read(text, Columns(attributes=("a",)))
    assert bad[0].text == b"2014-02-14 14:30:00,1,\xff\n"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1970-01-01 00:00:01", "iso", 10**9),
        ("1970-01-01T01:00:01+01:00", "iso", 10**9),
        ("1970-01-01T00:00:01.000000001Z", "iso", 10**9 + 1),
        ("1970-01-01T00:00:01,000000001Z", "iso", 10**9 + 1),
        ("2013-10-09 16:25:00.123456", "iso", 1_381_335_900_123_456_000),
        ("1381335900", "unix-s", 1_381_335_900 * 10**9),
        ("1381335900.123456789", "unix-s", 1_381_335_900_123_456_789),
        ("1381335900123456789", "unix-ns", 1_381_335_900_123_456_789),
    ],
)
def test_times_are_exact_to_the_nanosecond_and_utc_unless_they_say_otherwise(
    text: str, kind: str, expected: int
) -> None:
    assert parse_time(text, kind) == expected  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("", "iso"), ("1e9", "unix-s"), ("-1", "unix-s"), ("9" * 19, "unix-s"), ("1.5", "unix-ns")],
)
def test_what_is_no_time_is_refused(text: str, kind: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text, kind)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("text", ["", "inf", "nan", "1_0", "0x1", "1,5"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_value(text)


def test_file_names_say_what_the_documented_table_says() -> None:
    def told(name: str) -> tuple[str, str, dict[str, str]]:
        named = name_of(name, Naming())
        return named.metric, named.unit, dict(named.resource)

    assert told("ec2_cpu_utilization_24ae8d.csv") == (
        "aws.ec2.cpu_utilization",
        "%",
        {"cloud.provider": "aws", "cloud.service": "ec2", "cloud.resource_id": "24ae8d"},
    )
    assert told("elb_request_count_8c0756.csv")[:2] == ("aws.elb.request_count", "{request}")
    assert told("grok_asg_anomaly.csv")[0] == "aws.asg.anomaly"
    metric, _, resource = told("iio_us-east-1_i-a2eb1cd9_NetworkIn.csv")
    assert (metric, resource["cloud.region"]) == ("aws.ec2.network_in", "us-east-1")
    with pytest.raises(LoadError, match="--metric"):
        told("data.csv")
    assert name_of("data.csv", Naming("m", "s")).metric == "m"


def test_files_are_found_once_each_and_a_load_is_told_by_names_contents_and_settings(
    tmp_path: Path,
) -> None:
    for name in ("b_m_1.csv", "a_m_1.csv"):
        (tmp_path / name).write_text("timestamp,value\n2014-02-14 14:30:00,1\n", encoding="utf-8")
    files = csv_files((tmp_path,))
    assert [path.name for path in files] == ["a_m_1.csv", "b_m_1.csv"]
    with pytest.raises(LoadError, match="two files"):
        csv_files((tmp_path, tmp_path / "a_m_1.csv"))
    with pytest.raises(LoadError, match="no file or folder"):
        csv_files((tmp_path / "none",))
    config = LoadConfig("x", files)
    first = read_files(config, files)
    assert (first.rows, len(first.series)) == (2, 2)
    assert read_files(config, files).fingerprint == first.fingerprint
    assert read_files(LoadConfig("x", files, tenant="b"), files).fingerprint != first.fingerprint
    (tmp_path / "a_m_1.csv").write_text("timestamp,value\n2014-02-14 14:30:00,2\n", "utf-8")
    assert read_files(config, files).fingerprint != first.fingerprint
    assert len(fingerprint("s", {})) == 16


def test_files_without_a_single_sample_are_refused_with_the_first_reason(tmp_path: Path) -> None:
    file = tmp_path / "a_m_1.csv"
    file.write_text("timestamp,value\nx,1\n", encoding="utf-8")
    with pytest.raises(LoadError, match=r"a_m_1\.csv:2: 'x' is no time"):
        read_files(LoadConfig("x", (file,)), (file,))


def test_a_load_needs_a_name_that_can_be_a_topic_and_a_file() -> None:
    with pytest.raises(LoadError, match="can't name a load"):
        LoadConfig("A b", (Path("x"),))
    with pytest.raises(LoadError, match="no file"):
        LoadConfig("a", ())
