"""What a publication looks like on the topics: `telemetry.rollups` tables, OTLP on `metrics`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from streams.batch import Column, Table, encode_table
from streams.event_time.windows import SECOND
from topologies.partials import PartialRows
from topologies.rollup.windows import Publication, Window

MAX_ROWS = 20_000
MAX_POINTS = 1_000
"""Points of one OTLP request on the final topic."""

_Part = tuple[Publication, npt.NDArray[np.int64]]
"""A publication, and which of its window's rows travel."""


def rollup_tables(
    publications: Sequence[Publication], definitions: list[dict[str, Any]]
) -> Iterator[bytes]:
    """The changed rows as values for `telemetry.rollups`.

    One value holds many windows, each once, with its certificate, and at most MAX_ROWS rows.
    """
    for batch in _batches(publications):
        yield encode_table(_table(batch, definitions))


def _batches(publications: Sequence[Publication]) -> Iterator[list[_Part]]:
    """Parts that travel together: a window's certificate is found by its record and window."""
    batch: list[_Part] = []
    windows: set[Window] = set()
    rows = 0
    for publication in publications:
        for cut in range(0, len(publication.rows), MAX_ROWS):
            chosen = publication.rows[cut : cut + MAX_ROWS]
            if batch and (rows + len(chosen) > MAX_ROWS or publication.window in windows):
                yield batch
                batch, windows, rows = [], set[Window](), 0
            batch.append((publication, chosen))
            windows.add(publication.window)
            rows += len(chosen)
    if batch:
        yield batch


def _table(batch: list[_Part], definitions: list[dict[str, Any]]) -> Table:
    rows = _rows_of(batch)
    used, dense = np.unique(rows.definition, return_inverse=True)
    indexes: list[int] = used.tolist()
    points = np.concatenate([p.published.points[chosen] for p, chosen in batch])
    first = np.concatenate([p.published.first_points[chosen] for p, chosen in batch])
    revisions = np.concatenate([p.published.revisions[chosen] for p, chosen in batch])
    columns: dict[str, Column] = {
        "definition": dense.astype(np.uint16),
        "resolution": (rows.level // SECOND).astype(np.uint32),
        "window_end": rows.end,
        "group_hi": rows.high,
        "group_lo": rows.low,
        "labels": rows.labels,
        "value": np.concatenate([p.published.values[chosen] for p, chosen in batch]),
        "points": points.astype(np.uint64),
        "revision": revisions.astype(np.uint32),
        "deleted": np.zeros(len(rows), np.uint8),
        "late": (points - first).astype(np.uint64),
    }
    meta: dict[str, Any] = {
        "definitions": [definitions[index] for index in indexes],
        "certificates": [_certificate(publication) for publication, _ in batch],
        "shard_of": "partition",
    }
    return Table(columns, meta)


def _rows_of(batch: list[_Part]) -> PartialRows:
    return PartialRows.join(
        [
            p.published.rows
            if len(chosen) == len(p.published.rows)
            else p.published.rows.take(chosen)
            for p, chosen in batch
        ]
    )


def _certificate(publication: Publication) -> dict[str, Any]:
    pane, level, end = publication.window
    return {
        "resolution": level // SECOND,
        "window_end": end,
        "domain": publication.domain,
        "pane": pane,
        "sources": publication.certificate,
        "idle": publication.idle,
    }


def final_requests(
    publications: Sequence[Publication], definitions: list[dict[str, Any]]
) -> Iterator[bytes]:
    """What is published for the first time, as OTLP requests of at most MAX_POINTS points."""
    parts = [(p, p.rows[p.published.revisions[p.rows] == 1]) for p in publications]
    batch = [(publication, fresh) for publication, fresh in parts if len(fresh)]
    if not batch:
        return
    rows = _rows_of(batch)
    values = np.concatenate([p.published.values[chosen] for p, chosen in batch])
    order = np.lexsort((rows.end, rows.level, rows.definition))
    definition, level = rows.definition[order], rows.level[order]
    steps = np.flatnonzero((definition[1:] != definition[:-1]) | (level[1:] != level[:-1])) + 1
    attributes = _Attributes()
    for same in np.split(order, steps):
        described = definitions[int(rows.definition[same[0]])]
        if not described["final"]:
            continue
        for cut in range(0, len(same), MAX_POINTS):
            chosen = same[cut : cut + MAX_POINTS]
            labels = [attributes.of(raw) for raw in rows.labels.take(chosen)]
            ends, numbers = rows.end[chosen].tolist(), values[chosen].tolist()
            points = list(zip(ends, numbers, labels, strict=True))
            yield _request(described, int(rows.level[same[0]]), points)


class _Attributes:
    """Labels as attributes; the same labels come with every window."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[KeyValue]] = {}

    def of(self, raw: bytes) -> list[KeyValue]:
        found = self._known.get(raw)
        if found is None:
            labels: dict[str, str] = json.loads(raw)
            found = self._known[raw] = [
                KeyValue(key=key, value=AnyValue(string_value=text))
                for key, text in sorted(labels.items())
            ]
        return found


def _request(
    definition: dict[str, Any], level: int, points: list[tuple[int, float, list[KeyValue]]]
) -> bytes:
    """One metric's points (window end in unix ns, value, attributes) of windows `level` ns long."""
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
        into = metric.sum.data_points
    else:
        into = metric.gauge.data_points
    for end, number, attributes in points:
        into.add(
            start_time_unix_nano=end - level,
            time_unix_nano=end,
            as_double=number,
            attributes=attributes,
        )
    return request.SerializeToString(deterministic=True)


def _interval(level: int) -> str:
    seconds = level // SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
