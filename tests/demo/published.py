"""What was published: the final topic and the table, read as any user would read them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import clickhouse_connect
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle.definitions import SECOND, duration
from oracle.histograms import KINDS, Shown, of_columns, of_point
from oracle.log import CUMULATIVE, DELTA, LIVE, NO_VALUE, Record, attributes, render
from oracle.oracle import FinalKey, Key

COUNTERS = {("increase", "sum"), ("count", "sum")}  # published as sums that never fall
SUMS = {("sum", "sum")}  # published as sums; what is summed may be negative
TEMPORALITY = {DELTA: "delta", CUMULATIVE: "cumulative"}


@dataclass(frozen=True, slots=True)
class Final:
    """One data point of the final topic; no value: it says so, by the flag.

    `kind` is gauge, or `delta` or `cumulative` and `counter` (monotonic), `sum` or what OTLP calls
    a histogram, or another shape's name.
    """

    value: Shown | None
    kind: str
    version: str
    start: int
    place: str


class Row(NamedTuple):
    """One row of the table, without its key."""

    value: Shown
    points: int
    late: int
    revision: int
    version: str


def finals(records: Iterable[tuple[tuple[str, int], Record]]) -> dict[FinalKey, list[Final]]:
    """Every data point of the final topic's records, by row and time domain."""
    found: dict[FinalKey, list[Final]] = {}
    for (topic, partition), record in records:
        place = f"{topic}/{partition}/{record.offset}"
        if record.headers.get("encoding") != b"otlp":
            raise ValueError(f"{place}: the final topic holds OTLP, header `encoding` says else")
        request = ExportMetricsServiceRequest.FromString(record.value)
        for of_resource in request.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                scope = attributes(of_scope.scope.attributes)
                for metric in of_scope.metrics:
                    _add_metric(found, metric, scope, place)
    return found


def _add_metric(
    found: dict[FinalKey, list[Final]], metric: Any, scope: dict[str, Any], place: str
) -> None:
    shape = metric.WhichOneof("data")
    body = getattr(metric, shape)
    kind = shape
    if shape == "sum":
        temporality = TEMPORALITY.get(body.aggregation_temporality, "unspecified")
        kind = f"{temporality} {'counter' if body.is_monotonic else 'sum'}"
    elif shape in KINDS.values():
        kind = f"{TEMPORALITY.get(body.aggregation_temporality, 'unspecified')} {shape}"
    if metric.name != scope["tidemill.definition"]:
        raise ValueError(f"{place}: metric {metric.name} is not its scope's definition")
    size = duration(scope["tidemill.interval"])
    for point in body.data_points:
        labels = {key: render(value) for key, value in attributes(point.attributes).items()}
        key = Key(metric.name, size, point.time_unix_nano, tuple(sorted(labels.items())))
        if shape in KINDS.values():
            value = None if point.flags == NO_VALUE else of_point(shape, point)
        else:
            held = point.WhichOneof("value")
            if (held is None) != (point.flags == NO_VALUE):
                raise ValueError(f"{place}: {key} has a value and a flag that denies it")
            value = None if held is None else float(getattr(point, held))
        start = point.start_time_unix_nano
        final = Final(value, kind, scope["tidemill.version"], start, place)
        domain = scope.get("tidemill.domain", LIVE)
        found.setdefault(FinalKey(key, domain), []).append(final)


ROWS = """
SELECT rollup, resolution, toUnixTimestamp(window_end), tenant, labels,
       value, points, late, revision, version, histogram, count, sum, min, max,
       explicit_bounds, bucket_counts, scale, zero_count, zero_threshold,
       positive_offset, positive_bucket_counts, negative_offset, negative_bucket_counts
FROM {table} WHERE rollup IN %(names)s
"""


class Table:
    """The latest revisions, read with clickhouse-connect over HTTP."""

    def __init__(self, host: str, port: int, table: str = "tidemill.rollups") -> None:
        self._client = clickhouse_connect.get_client(host=host, port=port)
        self._table = table

    def count(self, names: list[str]) -> int:
        """How many rows there are of these definitions."""
        query = f"SELECT count() FROM {self._table} WHERE rollup IN %(names)s"
        return int(self._client.query(query, parameters={"names": names}).result_rows[0][0])

    def rows(self, names: list[str]) -> dict[Key, list[Row]]:
        """Every row of these definitions."""
        found: dict[Key, list[Row]] = {}
        query = ROWS.format(table=self._table)
        result = self._client.query(query, parameters={"names": names})
        for name, resolution, end, tenant, labels, *rest in result.result_rows:
            given = json.loads(labels) if isinstance(labels, str) else dict(labels)
            pairs = tuple(sorted((given | {"tenant": tenant}).items()))
            key = Key(name, resolution * SECOND, int(end) * SECOND, pairs)
            row = Row(*rest[:5])
            shaped = of_columns(dict(zip(result.column_names[10:], rest[5:], strict=True)))
            found.setdefault(key, []).append(row if shaped is None else row._replace(value=shaped))
        return found

    def close(self) -> None:
        """End the session."""
        self._client.close()
