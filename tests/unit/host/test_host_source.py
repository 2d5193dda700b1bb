"""What the host source says of a machine, of a poor one too, and of the recorded one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource

from topologies.host.app import HostConfig, HostConfigError
from topologies.host.measure import MEASURES, Moment, Totals
from topologies.host.reading import Reading
from topologies.host.record import read_requests, record, write_requests
from topologies.host.sensors import Sensors
from topologies.host.source import HostSource, host_resource, machine_id, start_provider

RECORDING = Path(__file__).parents[2] / "data" / "host_10m.otlp.zst"


def by_name(data: MetricsData | None) -> dict[str, Any]:
    assert data is not None
    return {
        metric.name: metric.data
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def observe(name: str, moment: Moment) -> list[tuple[float, dict[str, Any]]]:
    return list(next(m for m in MEASURES if m.name == name).observe(moment))


def test_this_machine_is_measured_and_counters_start_at_zero_with_their_stream() -> None:
    reader = InMemoryMetricReader()
    provider = start_provider(reader, Sensors().read, host_resource())
    first = by_name(reader.get_metrics_data())
    provider.shutdown()
    assert first["system.memory.usage"].data_points
    cpu = first["system.cpu.time"]
    assert cpu.is_monotonic
    assert {point.value for point in cpu.data_points} == {0}
    assert all(point.start_time_unix_nano > 0 for point in cpu.data_points)


def test_a_machine_without_any_sensor_sends_nothing_and_does_not_fail() -> None:
    reader = InMemoryMetricReader()
    provider = start_provider(reader, Reading, Resource({}))
    for _ in range(2):
        data = reader.get_metrics_data()
        assert data is None or not any(d.data_points for d in by_name(data).values())
    provider.shutdown()


def test_one_collection_reads_the_machine_once() -> None:
    readings: list[Reading] = []

    def read() -> Reading:
        readings.append(Reading(load={"1m": 1.0}))
        return readings[-1]

    reader = InMemoryMetricReader()
    provider = start_provider(reader, read, Resource({}))
    reader.get_metrics_data()
    provider.shutdown()
    assert len(readings) == 1


def test_counters_are_what_happened_since_the_first_reading_and_never_step_back() -> None:
    totals = Totals()
    key = ("cpu", "0", "iowait")
    assert [totals.since_first(key, raw) for raw in (50, 52, 51, 53)] == [0, 2, 2, 3]
    assert totals.since_first(("cpu", "1", "iowait"), 9) == 0


def test_utilization_is_the_share_of_each_mode_between_two_readings() -> None:
    before = Reading(cpu={"0": {"user": 10.0, "idle": 90.0, "irq": 1.0, "softirq": 1.0}})
    now = Reading(cpu={"0": {"user": 11.0, "idle": 92.0, "irq": 1.5, "softirq": 1.5}})
    shares = observe("system.cpu.utilization", Moment(now, before, Totals()))
    assert {a["cpu.mode"]: share for share, a in shares} == {
        "user": 0.25,
        "idle": 0.5,
        "interrupt": 0.25,
    }
    assert observe("system.cpu.utilization", Moment(now, None, Totals())) == []
    assert observe("system.cpu.utilization", Moment(now, now, Totals())) == []


def test_a_cpu_a_disk_or_a_field_that_appears_later_does_no_harm() -> None:
    totals = Totals()
    for disk in (
        {},
        {"sda": {"read_bytes": 5.0}},
        {"sda": {"read_bytes": 7.0, "write_bytes": 1.0}},
    ):
        found = observe("system.disk.io", Moment(Reading(disk=disk), None, totals))
    assert found == [
        (2.0, {"system.device": "sda", "disk.io.direction": "read"}),
        (0.0, {"system.device": "sda", "disk.io.direction": "write"}),
    ]
    cpus = Reading(cpu={"0": {"user": 1.0}, "1": {"user": 1.0}})
    only = Moment(cpus, Reading(cpu={"0": {"user": 0.0}}), totals)
    assert len(observe("system.cpu.utilization", only)) == 1


def test_memory_states_add_up_to_one() -> None:
    now = Reading(memory={"used": 1.0, "free": 2.0, "cached": 1.0})
    found = observe("system.memory.utilization", Moment(now, None, Totals()))
    assert [share for share, _ in found] == [0.25, 0.5, 0.25]


def test_a_source_keeps_measuring_when_the_sensors_come_late() -> None:
    moments = iter(
        [Reading(), Reading(cpu={"0": {"user": 1.0}}), Reading(cpu={"0": {"user": 3.0}})]
    )
    clock = iter([0.0, 10.0, 20.0])
    source = HostSource(lambda: next(moments), lambda: next(clock))
    seen = [source.current() for _ in range(3)]
    assert [moment.before is None for moment in seen] == [True, True, False]


def test_a_machine_has_an_id_even_where_no_file_holds_one(tmp_path: Path) -> None:
    assert machine_id([tmp_path / "none"])
    file = tmp_path / "id"
    file.write_text("abc\n", encoding="ascii")
    assert machine_id([tmp_path / "none", file]) == "abc"


def test_wrong_settings_are_refused_with_what_to_give() -> None:
    with pytest.raises(HostConfigError, match=r"http://127\.0\.0\.1:4318"):
        HostConfig(endpoint="localhost")
    with pytest.raises(HostConfigError, match=r"0\.1 to 3600"):
        HostConfig(interval=0)
    assert "secret" not in repr(HostConfig(token="secret"))


def test_a_recording_gives_back_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "r.zst"
    requests = [b"", b"x" * 200, b"y" * 70_000]
    write_requests(file, requests)
    assert list(read_requests(file)) == requests
    own = record(seconds=0.2, interval=0.1, resource=Resource({}), stop=threading.Event())
    assert len(own) == 2
    assert ExportMetricsServiceRequest.FromString(own[1]).resource_metrics


def test_the_recording_is_ten_minutes_of_one_host_with_monotonic_counters() -> None:
    requests = [ExportMetricsServiceRequest.FromString(r) for r in read_requests(RECORDING)]
    assert len(requests) == 300
    assert RECORDING.stat().st_size < 1_500_000
    times: list[int] = []
    last: dict[bytes, float] = {}
    for request in requests:
        (resource,) = request.resource_metrics
        attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
        assert attributes["host.name"] == "recorded-host"
        for metric in resource.scope_metrics[0].metrics:
            if metric.WhichOneof("data") != "sum" or not metric.sum.is_monotonic:
                continue
            for point in metric.sum.data_points:
                labels = sorted(a.SerializeToString() for a in point.attributes)
                stream = metric.name.encode() + b"".join(labels)
                value = point.as_double or point.as_int
                assert value >= last.get(stream, 0)
                last[stream] = value
                times.append(point.time_unix_nano)
    assert 590e9 < max(times) - min(times) < 660e9
    assert max(last.values()) > 0
