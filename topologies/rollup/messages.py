"""What a publication looks like on the topics: `telemetry.rollups` tables, OTLP on `metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1 import metrics_pb2

from streams.batch import BytesColumn, Column, Table, encode_table
from streams.event_time.levels import (
    is_hopping,
    is_plain,
    name_of,
    nominal,
    step_of,
    window_start,
    zone_of,
)
from streams.event_time.windows import SECOND
from topologies.encodings.otlp_histograms import histogram_points
from topologies.encodings.otlp_writer import field, field_head, number_points
from topologies.partials import PartialRows
from topologies.results import HISTOGRAMS, joined, taken
from topologies.rollup.final import Points
from topologies.rollup.windows import Publication, Window

MAX_ROWS = 20_000
MAX_POINTS = 1_000
"""Points of one OTLP request on the final topic."""

_TEMPORALITY = {
    "delta": metrics_pb2.AGGREGATION_TEMPORALITY_DELTA,
    "cumulative": metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE,
}

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
    deleted = np.concatenate([p.published.deleted[chosen] for p, chosen in batch])
    windows = [publication.window[1:] for publication, _ in batch]
    sizes = [len(chosen) for _, chosen in batch]
    kinds = sorted({level for level, _ in windows})
    starts = np.array([window_start(end, level) for level, end in windows], np.int64)
    lengths = np.array([nominal(level) for level, _ in windows], np.uint32)
    which = np.array([kinds.index(level) for level, _ in windows], np.uint16)
    columns: dict[str, Column] = {
        "definition": dense.astype(np.uint16),
        "resolution": np.repeat(lengths, sizes),
        "granularity": np.repeat(which, sizes),
        "window_start": np.repeat(starts, sizes),
        "window_end": rows.end,
        "group_hi": rows.high,
        "group_lo": rows.low,
        "labels": rows.labels,
        "value": np.concatenate([p.published.values[chosen] for p, chosen in batch]),
        "points": points.astype(np.uint64),
        "revision": revisions.astype(np.uint32),
        "deleted": deleted.astype(np.uint8),
        "late": np.maximum(points - first, 0).astype(np.uint64),
    }
    parts = [(taken(p.published.histograms, chosen), len(chosen)) for p, chosen in batch]
    if (histograms := joined(parts)) is not None:
        columns["histogram"] = histograms
    meta: dict[str, Any] = {
        "definitions": [definitions[index] for index in indexes],
        "granularities": [_described(level) for level in kinds],
        "certificates": [_certificate(publication) for publication, _ in batch],
        "shard_of": "partition",
    }
    return Table(columns, meta)


def _described(level: int) -> dict[str, Any]:
    """What windows are called, whose days they follow, and seconds between those that overlap."""
    return {
        "granularity": name_of(level),
        "zone": zone_of(level),
        "hop": step_of(level) // SECOND if is_hopping(level) else 0,
        "calendar": not is_plain(level) and not is_hopping(level),
    }


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
        "resolution": nominal(level),
        "granularity": name_of(level),
        "zone": zone_of(level),
        "window_end": end,
        "domain": publication.domain,
        "pane": pane,
        "sources": publication.certificate,
        "idle": publication.idle,
    }


def final_requests(
    points: Sequence[Points], definitions: list[dict[str, Any]], live: str
) -> Iterator[bytes]:
    """Points of the final topic as OTLP requests of at most MAX_POINTS points.

    live: the time domain whose series do not name their domain.
    """
    runs: dict[tuple[str, int, int], list[_Run]] = {}
    for part in points:
        for definition, rows in _runs(part):
            runs.setdefault((part.domain, definition, part.level), []).append((part, rows))
    for (domain, definition, level), same in runs.items():
        described = definitions[definition]
        head = _Head(described, level, "" if domain == live else domain)
        for encoded in _in_requests(same, described["instrument"]):
            yield head.request(encoded)


_Run = tuple[Points, npt.NDArray[np.int64]]
"""Points of several definitions, and which rows are of one."""


def _runs(points: Points) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """The rows of each definition in turn."""
    definition = points.rows.definition
    steps = np.flatnonzero(definition[1:] != definition[:-1]) + 1
    for same in np.split(np.arange(len(definition)), steps):
        yield int(definition[same[0]]), same


def _in_requests(runs: Sequence[_Run], instrument: str) -> Iterator[list[memoryview]]:
    """All points of one metric, encoded, MAX_POINTS at a time: what is written stays in the cache
    until it is sent, and no request's bytes are copied but into it."""
    waiting: list[memoryview] = []
    room = MAX_POINTS
    for points, rows in runs:
        encode = _encoder(points, instrument)
        first = 0
        while first < len(rows):
            some = rows[first : first + room]
            waiting.append(encode(some))
            room -= len(some)
            first += len(some)
            if not room:
                yield waiting
                waiting, room = [], MAX_POINTS
    if waiting:
        yield waiting


def _encoder(points: Points, instrument: str) -> Callable[[npt.NDArray[np.int64]], memoryview]:
    """What encodes some of these points."""
    labels = np.frombuffer(points.rows.labels.data, np.uint8)
    offsets = np.array(points.rows.labels.offsets, np.int64)
    found = points.histograms
    histograms = found
    if found is not None:
        histograms = BytesColumn(np.array(found.offsets, np.int64), found.data)
    ends = np.full(len(points.rows), points.end)
    start = np.ascontiguousarray(points.start)

    def encode(rows: npt.NDArray[np.int64]) -> memoryview:
        if instrument in HISTOGRAMS:
            data, _ = histogram_points(
                labels, offsets, rows, start, ends, histograms, instrument, points.recorded
            )
        else:
            data, _ = number_points(
                labels, offsets, rows, start, ends, points.values, points.recorded
            )
        return data.data

    return encode


class _Head:
    """What all requests of one definition, window size and time domain share."""

    def __init__(self, definition: dict[str, Any], level: int, domain: str) -> None:
        scope = InstrumentationScope(name="tidemill")
        for key, text in (
            ("tidemill.definition", definition["name"]),
            ("tidemill.version", definition["version"]),
            ("tidemill.interval", name_of(level)),
            ("tidemill.zone", "" if zone_of(level) == "UTC" else zone_of(level)),
            ("tidemill.domain", domain),
        ):
            if text:
                scope.attributes.add(key=key).value.string_value = text
        scope.attributes.add(key="tidemill.complete").value.bool_value = True
        named = metrics_pb2.Metric(name=definition["name"], unit=definition["unit"])
        number, self._rest = 5, b""  # a gauge
        temporality = _TEMPORALITY[definition["temporality"]]
        if definition["instrument"] in HISTOGRAMS:
            number = 9 if definition["instrument"] == "histogram" else 10
            rest = metrics_pb2.Histogram(aggregation_temporality=temporality)
            self._rest = rest.SerializeToString(deterministic=True)
        elif definition["instrument"] == "sum" and not is_hopping(level):
            number = 7
            self._rest = metrics_pb2.Sum(
                aggregation_temporality=temporality,
                # what late points take away again is carried as well
                is_monotonic=_only_grows(definition) and definition["late"] == "drop",
            ).SerializeToString(deterministic=True)
        self._around = (
            (number, named.SerializeToString(deterministic=True)),
            (2, field(1, scope.SerializeToString(deterministic=True))),
            (2, b""),
            (1, b""),
        )
        """From the innermost out: the number of a field, and what else is in the one around it."""

    def request(self, points: Sequence[memoryview]) -> bytes:
        """A request with these encoded data points."""
        size = sum(len(part) for part in points) + len(self._rest)
        heads: list[bytes] = []
        for number, beside in self._around:
            heads += (field_head(number, size), beside)
            size += len(heads[-2]) + len(beside)
        return b"".join((*reversed(heads), *points, self._rest))


def _only_grows(definition: dict[str, Any]) -> bool:
    if definition["over_points"]:
        return definition["over_points"] in ("count", "histogram_count")
    return definition["over_time"] in ("increase", "count")
