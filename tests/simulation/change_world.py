"""A run of the product's own topology, in one process, in the midst of which definitions change."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.plan import Plan
from streams.batch import decode_table
from streams.topology.testing import TopologyTestDriver
from tests.simulation.change_points import HOUR, PARTITIONS, SECOND, Log, Sent
from tidemill.product import product
from tidemill.settings import Settings
from topologies.deployment import Deployment, changed
from topologies.edge.cut import cut
from topologies.epochs import ONE_EPOCH

RAW = "telemetry.raw"
Labels = tuple[tuple[str, str], ...]


class RowKey(NamedTuple):
    """A row of the tables."""

    name: str
    version: str
    granularity: str
    zone: str
    start: int
    end: int
    labels: Labels


class Row(NamedTuple):
    """Its latest revision. value: of a number its bits, of a histogram the body of its point."""

    value: str
    points: int
    instrument: str


class Identity(NamedTuple):
    """What OpenTelemetry tells a stream by, but for the values of attributes."""

    name: str
    version: str
    interval: str
    zone: str
    unit: str
    data: str
    temporality: str
    monotonic: bool
    labels: tuple[str, ...]


class Point(NamedTuple):
    """Of the final topic. value: None where it says that there is none."""

    start: int
    end: int
    value: str | None


class UpsertKey(NamedTuple):
    """A record's key on the upsert topic."""

    name: str
    version: str
    granularity: str
    end: int
    labels: Labels


@dataclass(frozen=True, slots=True)
class Outputs:
    """What stands on the topics when all is read. Of upserts the last record of each key."""

    rows: dict[RowKey, Row] = field(default_factory=dict[RowKey, Row])
    final: dict[tuple[Identity, Labels], list[Point]] = field(
        default_factory=dict[tuple[Identity, Labels], list[Point]]
    )
    upserts: dict[UpsertKey, str] = field(default_factory=dict[UpsertKey, str])


def run(log: Log, before: Plan, after: Plan | None = None, *, restarts: bool = False) -> Outputs:
    """What becomes of a log under definitions, and others from the change on.

    restarts: every process dies, and loses its disk, behind the announcement and behind the change.
    """
    settings = Settings(
        raw_partitions=PARTITIONS, shard_partitions=2, key="00" * 16, idle_after_ms=1 << 40
    )
    driver = TopologyTestDriver(product(settings, Deployment(before)), {RAW: PARTITIONS})
    told = after is None
    deaths = [log.announced + SECOND, log.since + SECOND] if restarts else []
    for one in log.sent:
        if not told and one.time >= log.announced:
            told = True
            assert after is not None
            driver.run()  # what could be published by then is
            deployed = changed(Deployment(before), after, log.since, ONE_EPOCH)
            _announce(driver, replace(deployed, decided=log.announced))
        if deaths and one.time >= deaths[0]:
            deaths.pop(0)
            driver.run()
            driver.restart()
        _append(driver, one)
    for partition in range(PARTITIONS):
        mark = json.dumps({"time": log.end + 70 * 24 * HOUR}).encode()
        driver.pipe_record(RAW, mark, partition=partition, headers=(("control", b"idle"),))
    driver.run()
    assert driver.dead_letters() == []
    return Outputs(_rows(driver), _final(driver), _upserts(driver))


def _announce(driver: TopologyTestDriver, deployed: Deployment) -> None:
    for partition in range(PARTITIONS):
        headers = (("control", b"plan"),)
        driver.pipe_record(RAW, deployed.to_json(), partition=partition, headers=headers)


def _append(driver: TopologyTestDriver, one: Sent) -> None:
    cutting = cut(
        one.request, tenant="t", topic=RAW, partitions=1, received_ns=one.time, limit=1 << 20
    )
    for record in cutting.records:
        driver.pipe_record(
            RAW, record.value, key=record.key, partition=one.partition, headers=record.headers
        )


def _rows(driver: TopologyTestDriver) -> dict[RowKey, Row]:
    latest: dict[RowKey, tuple[int, Row | None]] = {}
    for record in driver.read_records("telemetry.rollups"):
        table = decode_table(record.value or b"")
        definitions, kinds = table.meta["definitions"], table.meta["granularities"]
        labels = [json.loads(text) for text in table.strings("labels")]
        shapes = list(table.strings("histogram")) if "histogram" in table.columns else None
        names = ("definition", "granularity", "window_start", "window_end", "points", "revision",
                 "deleted", "value")  # fmt: skip
        columns = zip(*(table.array(name).tolist() for name in names), strict=True)
        for at, (which, kind, start, end, points, revision, deleted, value) in enumerate(columns):
            one, size = definitions[which], kinds[kind]
            zone = "" if size["zone"] == "UTC" else size["zone"]
            key = RowKey(one["name"], one["version"], size["granularity"], zone, start, end,
                         _sorted(labels[at]))  # fmt: skip
            shape = shapes[at] if shapes is not None else b""
            said = shape.hex() or float(value).hex()
            row = None if deleted else Row(said, points, one["instrument"])
            assert latest.get(key, (0, None))[0] < revision
            latest[key] = (revision, row)
    return {key: row for key, (_, row) in latest.items() if row is not None}


def _sorted(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


_TEMPORALITIES = {0: "", 1: "delta", 2: "cumulative"}


def _final(driver: TopologyTestDriver) -> dict[tuple[Identity, Labels], list[Point]]:
    found: dict[tuple[Identity, Labels], list[Point]] = {}
    for record in driver.read_records("metrics"):
        message = ExportMetricsServiceRequest.FromString(record.value or b"")
        for scope in (s for r in message.resource_metrics for s in r.scope_metrics):
            said = {one.key: one.value.string_value for one in scope.scope.attributes}
            for metric in scope.metrics:
                data = metric.WhichOneof("data") or ""
                body: Any = getattr(metric, data)
                for point in body.data_points:
                    labels = _sorted({a.key: a.value.string_value for a in point.attributes})
                    identity = Identity(
                        name=metric.name,
                        version=said["tidemill.version"],
                        interval=said["tidemill.interval"],
                        zone=said.get("tidemill.zone", ""),
                        unit=metric.unit,
                        data=data,
                        temporality=_TEMPORALITIES[getattr(body, "aggregation_temporality", 0)],
                        monotonic=getattr(body, "is_monotonic", False),
                        labels=tuple(name for name, _ in labels),
                    )
                    found.setdefault((identity, labels), []).append(_point(point, data))
    return found


def _point(point: Any, data: str) -> Point:
    start, end = point.start_time_unix_nano, point.time_unix_nano
    if point.flags & 1:
        return Point(start, end, None)
    if data in ("gauge", "sum"):
        return Point(start, end, point.as_double.hex())
    bare = type(point)()
    bare.CopyFrom(point)
    for name in ("attributes", "start_time_unix_nano", "time_unix_nano"):
        bare.ClearField(name)
    return Point(start, end, bare.SerializeToString(deterministic=True).hex())


def _upserts(driver: TopologyTestDriver) -> dict[UpsertKey, str]:
    latest: dict[UpsertKey, str] = {}
    for record in driver.read_records("rollups"):
        key = json.loads(record.key or b"")
        place = UpsertKey(key["metric"], key["version"], key["granularity"],
                          _nanoseconds(key["window_end"]), _sorted(key["labels"]))  # fmt: skip
        latest.pop(place, None)
        if record.value is not None:
            body = json.loads(record.value)
            latest[place] = json.dumps(body.get("value", body.get("histogram")), sort_keys=True)
    return latest


def _nanoseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND
