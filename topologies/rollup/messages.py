"""What a publication looks like on the topics: `telemetry.rollups` tables, OTLP on `metrics`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2

from streams.batch import Column, Table, encode_table
from streams.event_time.windows import SECOND
from topologies.rollup.windows import Publication

MAX_ROWS = 20_000
MAX_POINTS = 1_000
"""Points of one OTLP request on the final topic."""


def rollup_tables(publication: Publication, definitions: list[dict[str, Any]]) -> Iterator[bytes]:
    """The changed rows as values for `telemetry.rollups`, at most MAX_ROWS each."""
    pane, level, end = publication.window
    published = publication.published
    for cut in range(0, len(publication.rows), MAX_ROWS):
        chosen: npt.NDArray[np.int64] = publication.rows[cut : cut + MAX_ROWS]
        rows = published.rows.take(chosen)
        used, dense = np.unique(rows.definition, return_inverse=True)
        n = len(rows)
        points = published.points[chosen]
        columns: dict[str, Column] = {
            "definition": dense.astype(np.uint16),
            "resolution": np.full(n, level // SECOND, np.uint32),
            "window_end": np.full(n, end, np.int64),
            "group_hi": rows.high,
            "group_lo": rows.low,
            "labels": rows.labels,
            "value": published.values[chosen],
            "points": points.astype(np.uint64),
            "revision": published.revisions[chosen].astype(np.uint32),
            "deleted": np.zeros(n, np.uint8),
            "late": (points - published.first_points[chosen]).astype(np.uint64),
        }
        indexes: list[int] = used.tolist()
        meta: dict[str, Any] = {
            "definitions": [definitions[index] for index in indexes],
            "certificates": [
                {
                    "resolution": level // SECOND,
                    "window_end": end,
                    "domain": publication.domain,
                    "sources": publication.certificate,
                    "idle": publication.idle,
                }
            ],
            "pane": pane,
        }
        yield encode_table(Table(columns, meta))


def final_requests(publication: Publication, definitions: list[dict[str, Any]]) -> Iterator[bytes]:
    """What is published for the first time, as OTLP requests of at most MAX_POINTS points."""
    _, level, end = publication.window
    published = publication.published
    fresh = publication.rows[published.revisions[publication.rows] == 1]
    defined = published.rows.definition[fresh]
    indexes: list[int] = np.unique(defined).tolist()
    for index in indexes:
        definition = definitions[index]
        if not definition["final"]:
            continue
        chosen = fresh[defined == index]
        for cut in range(0, len(chosen), MAX_POINTS):
            part = chosen[cut : cut + MAX_POINTS]
            labels = list(published.rows.labels.take(part))
            numbers: list[float] = published.values[part].tolist()
            yield _request(definition, level, end, labels, numbers)


def _request(
    definition: dict[str, Any], level: int, end: int, labels: list[bytes], numbers: list[float]
) -> bytes:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    scope.scope.name = "tidemill"
    described = {
        "tidemill.definition": definition["name"],
        "tidemill.version": definition["version"],
        "tidemill.interval": _interval(level),
    }
    for key, text in described.items():
        attribute = scope.scope.attributes.add()
        attribute.key = key
        attribute.value.string_value = text
    complete = scope.scope.attributes.add()
    complete.key = "tidemill.complete"
    complete.value.bool_value = True
    metric = scope.metrics.add()
    metric.name = definition["name"]
    metric.unit = definition["unit"]
    if definition["over_space"] == "sum" and definition["over_time"] in (
        "increase",
        "sum",
        "count",
    ):
        metric.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
        metric.sum.is_monotonic = definition["over_time"] in ("increase", "count")
        points = metric.sum.data_points
    else:
        points = metric.gauge.data_points
    for label, number in zip(labels, numbers, strict=True):
        point = points.add()
        point.start_time_unix_nano = end - level
        point.time_unix_nano = end
        point.as_double = number
        for key, text in sorted(json.loads(label).items()):
            attribute = point.attributes.add()
            attribute.key = key
            attribute.value.string_value = text
    return request.SerializeToString(deterministic=True)


def _interval(level: int) -> str:
    seconds = level // SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
