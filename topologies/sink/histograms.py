"""Histograms of rows as columns of ``rollups_v1``, in the names of OpenTelemetry's data points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from google.protobuf.message import DecodeError

from streams.batch import Table
from topologies.results import HISTOGRAMS, message_of
from topologies.sink import native

KINDS = {"histogram": "explicit", "exponential_histogram": "exponential"}
"""By instrument, what the column ``histogram`` says."""

Column = tuple[str, str, bytes]
"""Name, type and data, as ``native.block`` takes them."""
_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("count", "UInt64", "<u8"),
    ("sum", "Float64", "<f8"),
    ("min", "Float64", "<f8"),
    ("max", "Float64", "<f8"),
    ("scale", "Int32", "<i4"),
    ("zero_count", "UInt64", "<u8"),
    ("zero_threshold", "Float64", "<f8"),
    ("positive_offset", "Int32", "<i4"),
    ("negative_offset", "Int32", "<i4"),
)
_ARRAYS: tuple[tuple[str, str, str], ...] = (
    ("explicit_bounds", "Array(Float64)", "<f8"),
    ("bucket_counts", "Array(UInt64)", "<u8"),
    ("positive_bucket_counts", "Array(UInt64)", "<u8"),
    ("negative_bucket_counts", "Array(UInt64)", "<u8"),
)
COLUMNS = ("histogram", *(name for name, _, _ in (*_FIELDS, *_ARRAYS)))
SHOWN = {
    "": "histogram, count, sum, min, max, explicit_bounds, bucket_counts, scale, zero_count, "
    "zero_threshold, positive_offset, positive_bucket_counts, negative_offset, "
    "negative_bucket_counts",
    "explicit": "count, sum, min, max, explicit_bounds, bucket_counts",
    "exponential": "count, sum, min, max, scale, zero_count, zero_threshold, positive_offset, "
    "positive_bucket_counts, negative_offset, negative_bucket_counts",
}
"""What views show: of all definitions, and of one by the kind of its histograms."""


def added(table: str, on_cluster: str) -> str:
    """The statement that gives the table these columns."""
    parts = [
        "ADD COLUMN IF NOT EXISTS histogram LowCardinality(String) "
        "COMMENT 'explicit, exponential; empty: the result is the number in value'"
    ]
    for name, kind, _ in _FIELDS:
        codec = "T64, ZSTD(1)" if "Int" in kind else "ZSTD(1)"
        parts.append(f"ADD COLUMN IF NOT EXISTS `{name}` {kind} CODEC({codec})")
    parts += [f"ADD COLUMN IF NOT EXISTS {name} {kind} CODEC(ZSTD(1))" for name, kind, _ in _ARRAYS]
    return f"ALTER TABLE {table}{on_cluster} " + ", ".join(parts)


def kinds(table: Table) -> dict[str, str]:
    """The kind of histograms of each definition of a message: its name -> explicit, ..., or ''."""
    described = cast("list[dict[str, Any]]", table.meta.get("definitions", []))
    return {str(one["name"]): KINDS.get(str(one.get("instrument")), "") for one in described}


def columns(table: Table) -> list[Column]:
    """The columns of a message's rows; none if it has no histograms.

    Raises:
        ValueError: A histogram is no data point of its definition's kind.
    """
    if "histogram" not in table.columns:
        return []
    described = cast("list[dict[str, Any]]", table.meta["definitions"])
    instruments = [str(one.get("instrument")) for one in described]
    index: list[int] = table.array("definition").tolist()
    points = [
        _parsed(instruments[which], body) if body else None
        for which, body in zip(index, table.strings("histogram"), strict=True)
    ]
    names = ["", *KINDS.values()]
    said = [
        0 if point is None else 1 + HISTOGRAMS.index(instruments[which])
        for point, which in zip(points, index, strict=True)
    ]
    out: list[Column] = [
        (
            "histogram",
            "LowCardinality(String)",
            native.low_cardinality([name.encode() for name in names], np.array(said, np.uint8)),
        )
    ]
    for name, kind, dtype in _FIELDS:
        values = np.array([_field(point, name) for point in points], dtype)
        out.append((name, kind, native.numbers(values, dtype)))
    for name, kind, dtype in _ARRAYS:
        lists = [_array(point, name) for point in points]
        sizes = np.cumsum([len(one) for one in lists], dtype="<u8")
        flat = [value for one in lists for value in one]
        out.append((name, kind, sizes.tobytes() + np.array(flat, dtype).tobytes()))
    return out


def _parsed(instrument: str, body: bytes) -> Any:
    if instrument not in KINDS:
        raise ValueError(f"a histogram of a definition that is a {instrument}")
    try:
        return message_of(instrument, body)
    except DecodeError as error:
        raise ValueError(f"a histogram does not parse: {error}") from error


def _field(point: Any, name: str) -> int | float:
    if name in ("sum", "min", "max"):
        return getattr(point, name) if point is not None and point.HasField(name) else math.nan
    if name.endswith("_offset"):
        return getattr(_side(point, name), "offset", 0)
    return getattr(point, name, 0)


def _array(point: Any, name: str) -> Sequence[int | float]:
    if name.startswith(("positive", "negative")):
        return getattr(_side(point, name), "bucket_counts", ())
    return getattr(point, name, ())


def _side(point: Any, name: str) -> Any:
    """The buckets of one sign; None where there are none by sign."""
    return getattr(point, name.partition("_")[0], None)
