"""Histograms to OTLP: what a data point says of its values, and whole data points of it.

A histogram's *body* is the part of its OTLP data point that is neither attributes, times nor flags:
count, sum, buckets, minimum and maximum, written as protobuf's own serializer does. So it is a
message by itself, equal histograms have equal bodies, and any reader of OTLP can parse one.

A histogram that holds values below zero says no sum, as the protocol asks for; one without values
says a sum of zero (that of the same values added in another order may differ from theirs), and
neither minimum nor maximum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates.explicit import ExplicitHistograms
from streams.aggregates.exponential import ExponentialHistograms
from streams.batch import BytesColumn
from streams.kernels.compile import kernel
from streams.kernels.machine import copy_bytes, i64, store_u64
from topologies.encodings.labels import put_varint, varint_size
from topologies.encodings.otlp_writer import MalformedLabels, put_attributes, put_fixed, shifted

Array = Any
I64 = npt.NDArray[np.int64]

ATTRIBUTES = {"histogram": 74, "exponential_histogram": 10}
"""The tags of a data point's attributes."""
_FLAGS = 80
_NO_RECORDED_VALUE = 1
_FIXED = 128  # bytes of a body without its buckets, at most
_WIDEST = 10  # bytes of a varint
_HEAD = 32  # bytes of a point without body and attributes, at most


@kernel("i64(i64)", forceinline=True, allocates=False)
def _zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63)


@kernel("i64(u8[::1], i64, i64, i64)", forceinline=True, allocates=False)
def _put_known(out: Array, at: int, tag: int, bits: int) -> int:
    """A double that is there unless it is NaN."""
    if (bits & 0x7FFFFFFFFFFFFFFF) > 0x7FF0000000000000:
        return at
    put_fixed(out, at, tag, bits)
    return at + 9


@kernel("i64(u8[::1], i64, i64, i64)", forceinline=True, allocates=False)
def _put_nonzero(out: Array, at: int, tag: int, word: int) -> int:
    if word == 0:
        return at
    put_fixed(out, at, tag, word)
    return at + 9


@kernel("i64(u8[::1], i64, i64, i64, i64[::1], i64, i64)", allocates=False)
def _put_buckets(
    out: Array, at: int, tag: int, offset: int, counts: Array, first: int, end: int
) -> int:
    """The buckets counts[first:end] of one sign, if there are any."""
    if first == end:
        return at
    packed = i64(0)
    for k in range(first, end):
        packed += varint_size(counts[k])
    shift = _zigzag(offset)
    size = 1 + varint_size(packed) + packed
    if shift:
        size += 1 + varint_size(shift)
    out[at] = np.uint8(tag)
    at = put_varint(out, at + 1, size)
    if shift:
        out[at] = np.uint8(8)  # offset
        at = put_varint(out, at + 1, shift)
    out[at] = np.uint8(18)  # bucket_counts
    at = put_varint(out, at + 1, packed)
    for k in range(first, end):
        at = put_varint(out, at, counts[k])
    return at


@kernel(
    "void(i64[:, ::1], i64[::1], i64[::1], i64[::1], i64[::1], u8[::1], i64[::1])",
    allocates=False,
)
def _put_exponential(
    fields: Array,
    begins: Array,
    positive: Array,
    negative_begins: Array,
    negative: Array,
    out: Array,
    places: Array,
) -> None:
    """Bodies of n histograms, one behind the other; places i64[n + 1]: where each begins.

    fields i64[n, 9]: count, bits of sum, minimum, maximum and zero threshold, scale, zero count,
    the two offsets. The buckets of row r are positive[begins[r] : begins[r + 1]], and likewise.
    """
    at = i64(0)
    for r in range(fields.shape[0]):
        places[r] = at
        at = _put_nonzero(out, at, 33, fields[r, 0])
        at = _put_known(out, at, 41, fields[r, 1])
        scale = _zigzag(fields[r, 5])
        if scale:
            out[at] = np.uint8(48)
            at = put_varint(out, at + 1, scale)
        at = _put_nonzero(out, at, 57, fields[r, 6])
        at = _put_buckets(out, at, 66, fields[r, 7], positive, begins[r], begins[r + 1])
        first, end = negative_begins[r], negative_begins[r + 1]
        at = _put_buckets(out, at, 74, fields[r, 8], negative, first, end)
        at = _put_known(out, at, 97, fields[r, 2])
        at = _put_known(out, at, 105, fields[r, 3])
        at = _put_nonzero(out, at, 113, fields[r, 4])
    places[fields.shape[0]] = at


@kernel("void(i64[:, ::1], i64[:, ::1], i64[::1], u8[::1], i64[::1])", allocates=False)
def _put_explicit(fields: Array, counts: Array, bounds: Array, out: Array, places: Array) -> None:
    """Bodies of n histograms; fields i64[n, 4]: count, bits of sum, minimum and maximum.

    counts i64[n, b + 1]; bounds i64[b], the bits of doubles.
    """
    at = i64(0)
    for r in range(fields.shape[0]):
        places[r] = at
        at = _put_nonzero(out, at, 33, fields[r, 0])
        at = _put_known(out, at, 41, fields[r, 1])
        out[at] = np.uint8(50)  # bucket_counts
        at = put_varint(out, at + 1, 8 * counts.shape[1])
        for k in range(counts.shape[1]):
            store_u64(out, at, counts[r, k])
            at += 8
        if bounds.shape[0]:
            out[at] = np.uint8(58)  # explicit_bounds
            at = put_varint(out, at + 1, 8 * bounds.shape[0])
            for k in range(bounds.shape[0]):
                store_u64(out, at, bounds[k])
                at += 8
        at = _put_known(out, at, 89, fields[r, 2])
        at = _put_known(out, at, 97, fields[r, 3])
    places[fields.shape[0]] = at


def bodies(found: ExponentialHistograms | ExplicitHistograms) -> BytesColumn:
    """The body of each histogram."""
    if isinstance(found, ExponentialHistograms):
        return _exponential_bodies(found)
    return _explicit_bodies(found)


def _exponential_bodies(found: ExponentialHistograms) -> BytesColumn:
    n = len(found)
    offsets, begins, positive = found.buckets()
    negative_offsets, negative_begins, negative = found.buckets(negative=True)
    below = (found.lowest < 0) | (np.diff(negative_begins) > 0)
    fields = np.empty((n, 9), np.int64)
    fields[:, 0] = found.counts
    _put_moments(fields, found, below)
    fields[:, 4] = found.zero_thresholds.view(np.int64)
    fields[:, 5], fields[:, 6] = found.scales, found.zero_counts
    fields[:, 7], fields[:, 8] = offsets, negative_offsets
    out = np.empty(n * _FIXED + _WIDEST * (len(positive) + len(negative)), np.uint8)
    places = np.zeros(n + 1, np.int64)
    _put_exponential(fields, begins, positive, negative_begins, negative, out, places)
    return BytesColumn(places, out[: int(places[-1])].tobytes())


def _explicit_bodies(found: ExplicitHistograms) -> BytesColumn:
    n, bounds = len(found), found.bounds
    below = found.lowest < 0
    under_zero = int(np.searchsorted(bounds, 0.0))
    below |= (found.bucket_counts[:, :under_zero] != 0).any(axis=1)
    fields = np.empty((n, 4), np.int64)
    fields[:, 0] = found.counts
    _put_moments(fields, found, below)
    out = np.empty(n * (_FIXED + 16 * len(bounds)), np.uint8)
    places = np.zeros(n + 1, np.int64)
    counts = np.ascontiguousarray(found.bucket_counts)
    _put_explicit(fields, counts, bounds.view(np.int64), out, places)
    return BytesColumn(places, out[: int(places[-1])].tobytes())


def _put_moments(
    fields: I64, found: ExponentialHistograms | ExplicitHistograms, below: npt.NDArray[np.bool_]
) -> None:
    """Sum, minimum and maximum, as far as they are said."""
    sums = np.where(below, np.nan, found.sums)
    sums[found.counts == 0] = 0.0
    for column, numbers in ((1, sums), (2, found.lowest), (3, found.highest)):
        fields[:, column] = np.ascontiguousarray(numbers, np.float64).view(np.int64)


@kernel(
    "i64(text, i64[::1], i64[::1], i64[::1], i64[::1], text, i64[::1], bool_, i64, "
    "u8[::1], i64[::1])",
    allocates=False,
)
def _put_points(
    labels: Array,
    offsets: Array,
    rows: Array,
    starts: Array,
    ends: Array,
    data: Array,
    begins: Array,
    recorded: bool,
    tag: int,
    out: Array,
    places: Array,
) -> int:
    """As `otlp_writer` does it with numbers: point i has the body data[begins[row]:begins[row + 1]]
    of row rows[i], or the flag that there is none.
    """
    at = i64(0)
    for i in range(rows.shape[0]):
        row = rows[i]
        places[i] = at
        begin = at + 3
        put_fixed(out, begin, 17, starts[row])
        put_fixed(out, begin + 9, 25, ends[row])
        end = begin + 18
        if recorded:
            size = begins[row + 1] - begins[row]
            copy_bytes(out, end, data, begins[row], size)
            end += size
        else:
            out[end] = np.uint8(_FLAGS)
            out[end + 1] = np.uint8(_NO_RECORDED_VALUE)
            end += 2
        end = put_attributes(labels, offsets[row], offsets[row + 1], tag, out, end)
        if end < 0:
            return i
        at = shifted(out, at, begin, end)
    places[rows.shape[0]] = at
    return rows.shape[0]


def histogram_points(
    labels: npt.NDArray[np.uint8],
    offsets: I64,
    rows: I64,
    starts: I64,
    ends: I64,
    histograms: BytesColumn | None,
    instrument: str,
    recorded: bool = True,
) -> tuple[npt.NDArray[np.uint8], I64]:
    """As `otlp_writer.number_points`, with the bodies of m histograms in place of values.

    histograms may be None where they are not `recorded`; instrument: a key of `ATTRIBUTES`.

    Raises:
        MalformedLabels: The labels of a row are no compact JSON object of strings.
    """
    begins, data = np.zeros(1, np.int64), np.zeros(1, np.uint8)
    if recorded and histograms is not None:
        begins = np.require(histograms.offsets, np.int64, ["C", "W"])
        data = np.frombuffer(histograms.data or b"\0", np.uint8)
    text = int((offsets[rows + 1] - offsets[rows]).sum()) if len(rows) else 0
    bodies_size = int((begins[rows + 1] - begins[rows]).sum()) if recorded and len(rows) else 0
    out = np.empty(len(rows) * 2 * _HEAD + bodies_size + 4 * text + 16, np.uint8)
    places = np.zeros(len(rows) + 1, np.int64)
    tag = ATTRIBUTES[instrument]
    done = _put_points(
        labels, offsets, rows, starts, ends, data, begins, recorded, tag, out, places
    )
    if done < len(rows):
        row = int(rows[done])
        raw = labels[int(offsets[row]) : int(offsets[row + 1])].tobytes()
        raise MalformedLabels(f"labels {raw[:80]!r} are no object of strings")
    return out[: int(places[-1])], places
