"""What a publication looks like on the topics: `telemetry.rollups` tables, OTLP on `metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1 import metrics_pb2

from streams.batch import Column, Table, encode_table
from streams.event_time.windows import SECOND
from topologies.encodings.otlp_writer import field, number_points
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
    labels = np.frombuffer(rows.labels.data, np.uint8).copy()
    offsets = np.array(rows.labels.offsets, np.int64)
    ends = np.array(rows.end, np.int64)
    for same in _of_one_metric(rows):
        described, level = definitions[int(rows.definition[same[0]])], int(rows.level[same[0]])
        if not described["final"]:
            continue
        points, places = number_points(labels, offsets, same, ends, values, level)
        whole, cuts = points.data, places.tolist()
        head = _Head(described, level)
        for first in range(0, len(same), MAX_POINTS):
            last = min(first + MAX_POINTS, len(same))
            yield head.request(bytes(whole[cuts[first] : cuts[last]]))


def _of_one_metric(rows: PartialRows) -> list[npt.NDArray[np.int64]]:
    """The rows of each definition and window size, by window."""
    definition, level = rows.definition, rows.level
    order = np.arange(len(rows))
    one_window = bool((level == level[0]).all() and (rows.end == rows.end[0]).all())
    if not one_window or not bool((definition[1:] >= definition[:-1]).all()):
        order = np.lexsort((rows.end, level, definition))
        definition, level = definition[order], level[order]
    steps = np.flatnonzero((definition[1:] != definition[:-1]) | (level[1:] != level[:-1])) + 1
    return np.split(order, steps)


class _Head:
    """What all requests of one definition and window size share."""

    def __init__(self, definition: dict[str, Any], level: int) -> None:
        scope = InstrumentationScope(name="tidemill")
        for key, text in (
            ("tidemill.definition", definition["name"]),
            ("tidemill.version", definition["version"]),
            ("tidemill.interval", _interval(level)),
        ):
            scope.attributes.add(key=key).value.string_value = text
        scope.attributes.add(key="tidemill.complete").value.bool_value = True
        self._scope = field(1, scope.SerializeToString(deterministic=True))
        named = metrics_pb2.Metric(name=definition["name"], unit=definition["unit"])
        self._metric = named.SerializeToString(deterministic=True)
        counted = definition["over_time"] in ("increase", "count")
        self._sum: bytes | None = None
        if definition["over_space"] == "sum" and (counted or definition["over_time"] == "sum"):
            self._sum = metrics_pb2.Sum(
                aggregation_temporality=metrics_pb2.AGGREGATION_TEMPORALITY_DELTA,
                is_monotonic=counted,
            ).SerializeToString(deterministic=True)

    def request(self, points: bytes) -> bytes:
        """A request with these encoded data points."""
        data = field(5, points) if self._sum is None else field(7, points + self._sum)
        return field(1, field(2, self._scope + field(2, self._metric + data)))


def _interval(level: int) -> str:
    seconds = level // SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
