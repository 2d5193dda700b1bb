"""The upsert contract: one JSON record a row, under its key, that later revisions replace.

For readers that can replace: a compacted topic's last record of a key is the latest revision of a
group's window, and a tombstone (no value) says that the group has nothing in the window any more.
The key says which definition, version, window and group; everything else is in the value:

    {"metric":"host.cpu.seconds","version":"9f3c...","granularity":"10s","window_end":
     "2026-11-21T20:33:50Z","labels":{"host.name":"a","tenant":"default"}}
    {..., "window_start":"2026-11-21T20:33:40Z","unit":"s","value":1.5,"points":5,"late":0,
     "revision":1,"status":"final","domain":"telemetry.raw"}

A definition whose result is a histogram has in place of `value` a `histogram`: count, sum, min and
max as far as they are known, and either explicit_bounds and bucket_counts, or scale, zero_count,
zero_threshold, positive and negative, as OTLP has them.

`status` is `final` as the window closes, then `corrected`. NaN and infinities are the strings of
proto3's JSON mapping, as in OTLP/JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint

from streams.event_time.levels import name_of, window_start, zone_of
from streams.event_time.windows import rfc3339
from topologies.results import HISTOGRAMS, message_of
from topologies.rollup.groups import Published
from topologies.rollup.windows import Publication


def upserts(
    publications: Sequence[Publication], definitions: list[dict[str, Any]]
) -> Iterator[tuple[bytes, bytes | None]]:
    """Key and value of each changed row of a definition that asks for it; None: a tombstone."""
    asked = np.array([bool(definition["upsert"]) for definition in definitions])
    if not asked.any():
        return
    for publication in publications:
        of = publication.published.rows.definition[publication.rows]
        chosen = publication.rows[asked[of]]
        if len(chosen):
            yield from _records(publication, chosen.tolist(), definitions)


def _records(
    publication: Publication, chosen: list[int], definitions: list[dict[str, Any]]
) -> Iterator[tuple[bytes, bytes | None]]:
    _, level, end = publication.window
    published = publication.published
    rows = published.rows
    start, ends = rfc3339(window_start(end, level)), rfc3339(end)
    zone = {} if zone_of(level) == "UTC" else {"zone": zone_of(level)}
    for row in chosen:
        definition = definitions[int(rows.definition[row])]
        key: dict[str, Any] = {
            "metric": definition["name"],
            "version": definition["version"],
            "granularity": name_of(level),
            **zone,
            "window_end": ends,
            "labels": msgspec.Raw(rows.labels[row]),
        }
        name = msgspec.json.encode(key)
        if published.deleted[row]:
            yield name, None
            continue
        revision, points = int(published.revisions[row]), int(published.points[row])
        value: dict[str, Any] = {
            **key,
            "window_start": start,
            "unit": definition["unit"],
            **_result(published, row, definition["instrument"]),
            "points": points,
            "late": max(points - int(published.first_points[row]), 0),
            "revision": revision,
            "status": "final" if revision == 1 else "corrected",
            "domain": publication.domain,
        }
        yield name, msgspec.json.encode(value)


def _result(published: Published, row: int, instrument: str) -> dict[str, Any]:
    """The number of a row, or its histogram."""
    if published.histograms is None or instrument not in HISTOGRAMS:
        return {"value": number(float(published.values[row]))}
    return {"histogram": histogram(message_of(instrument, published.histograms[row]))}


def histogram(point: Any) -> dict[str, Any]:
    """A histogram's data point by the names of OTLP; what is not known is not there."""
    found: dict[str, Any] = {"count": point.count}
    for name in ("sum", "min", "max"):
        if point.HasField(name):
            found[name] = number(getattr(point, name))
    if isinstance(point, HistogramDataPoint):
        found["explicit_bounds"] = list(point.explicit_bounds)
        found["bucket_counts"] = list(point.bucket_counts)
        return found
    for name in ("scale", "zero_count", "zero_threshold"):
        found[name] = getattr(point, name)
    for name in ("positive", "negative"):
        buckets = getattr(point, name)
        found[name] = {"offset": buckets.offset, "bucket_counts": list(buckets.bucket_counts)}
    return found


def number(value: float) -> float | str:
    """A double as proto3's JSON mapping has it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
