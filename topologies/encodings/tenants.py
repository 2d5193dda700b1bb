"""The tenants of labels: compact JSON objects of strings with sorted keys, as groups carry them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.kernels.compile import kernel
from streams.kernels.machine import i64, u64

Array = Any

_PARTS = (b'"tenant":"', b'{"otel.metric.overflow":"true","tenant":"', b',"tidemill.shard":"')
_TEXT = np.frombuffer(b"".join(_PARTS), np.uint8)
_KEY, _OVERFLOW, _SHARD = (len(part) for part in _PARTS)
_OPEN, _CLOSE, _COMMA, _QUOTE, _BACKSLASH = 123, 125, 44, 34, 92
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


@kernel("bool_(text, i64, i64, text, i64, i64)", forceinline=True, allocates=False)
def _stands(data: Array, at: int, end: int, text: Array, first: int, size: int) -> bool:
    """Whether data[at:end] begins with text[first:first + size]."""
    if at + size > end:
        return False
    for k in range(size):  # noqa: SIM110, a kernel has no generators
        if data[at + k] != text[first + k]:
            return False
    return True


@kernel("UniTuple(i64, 2)(text, i64, i64, text)", forceinline=True, allocates=False)
def _tenant(data: Array, first: int, end: int, text: Array) -> tuple[int, int]:
    """Where the tenant begins and ends in data[first:end], as it is written; (end, end): none.

    Quotes inside strings are escaped, so `,"` and `{"` are nowhere but before a key.
    """
    for at in range(first + 1, end):
        if data[at] != _QUOTE or not _stands(data, at, end, text, 0, _KEY):
            continue
        if data[at - 1] != _OPEN and data[at - 1] != _COMMA:
            continue
        begin = at + _KEY
        stop = begin
        while stop < end and data[stop] != _QUOTE:
            stop += 2 if data[stop] == _BACKSLASH else 1
        return begin, min(stop, end)
    return end, end


@kernel("bool_(text, i64, i64, i64, i64)", forceinline=True, allocates=False)
def _same(data: Array, a: int, a_end: int, b: int, b_end: int) -> bool:
    if a_end - a != b_end - b:
        return False
    for k in range(a_end - a):  # noqa: SIM110, a kernel has no generators
        if data[a + k] != data[b + k]:
            return False
    return True


@kernel("bool_(text, i64, i64, i64, i64, text, bool_)", forceinline=True, allocates=False)
def _is_overflow(
    data: Array, first: int, begin: int, stop: int, end: int, text: Array, sharded: bool
) -> bool:
    """Whether labels data[first:end], with the tenant data[begin:stop], are those of overflow."""
    if begin - first != _OVERFLOW or not _stands(data, first, end, text, _KEY, _OVERFLOW):
        return False
    rest = stop + 1
    if not sharded:
        return rest + 1 == end and data[rest] == _CLOSE
    return _stands(data, rest, end, text, _KEY + _OVERFLOW, _SHARD)


@kernel(
    "i64(text, i64[::1], text, bool_, i32[::1], u8[::1], i64[:, ::1], i32[::1])",
    allocates=False,
)
def number_tenants(
    data: Array,
    offsets: Array,
    text: Array,
    sharded: bool,
    numbers: Array,
    overflow: Array,
    spans: Array,
    table: Array,
) -> int:
    """Number the tenants of labels data[offsets[i]:offsets[i + 1]] in the order they come.

    numbers i32[n] and overflow u8[n] are written: each row's tenant, and whether its labels are
    those of an overflow (of a shard, where `sharded`); text is _TEXT. spans i64[most, 2] is given
    each tenant's place in data; table i32[a power of two, more than most] must be zeros. Returns
    how many there are, or -1 if more than `most`.
    """
    known = 0
    mask = u64(table.shape[0] - 1)
    last = -1
    for i in range(numbers.shape[0]):
        first, end = offsets[i], offsets[i + 1]
        begin, stop = _tenant(data, first, end, text)
        overflow[i] = _is_overflow(data, first, begin, stop, end, text, sharded)
        if last >= 0 and _same(data, begin, stop, spans[last, 0], spans[last, 1]):
            numbers[i] = last
            continue
        digest = u64(_FNV_OFFSET)
        for at in range(begin, stop):
            digest = (digest ^ u64(data[at])) * u64(_FNV_PRIME)
        place = i64((digest ^ (digest >> u64(32))) & mask)
        while True:
            last = table[place] - 1
            if last < 0 or _same(data, begin, stop, spans[last, 0], spans[last, 1]):
                break
            place = i64(u64(place + 1) & mask)
        if last < 0:
            if known == spans.shape[0]:
                return -1
            spans[known, 0], spans[known, 1] = begin, stop
            last = known
            known += 1
            table[place] = known
        numbers[i] = last
    return known


def tenants_of(
    labels: BytesColumn, sharded: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_], list[bytes]]:
    """Of each row (its tenant's number i32[n], bool[n] as `number_tenants` says), and the tenants
    as they are written in JSON, without quotes.
    """
    n = len(labels)
    data = np.frombuffer(labels.data, np.uint8)
    numbers, overflow = np.empty(n, np.int32), np.empty(n, np.uint8)
    offsets = np.array(labels.offsets, np.int64)
    most = 64
    while True:
        spans = np.empty((most, 2), np.int64)
        table = np.zeros(4 * most, np.int32)
        known = number_tenants(data, offsets, _TEXT, sharded, numbers, overflow, spans, table)
        if known >= 0:
            found = [labels.data[begin:stop] for begin, stop in spans[:known].tolist()]
            return numbers, overflow.view(np.bool_), found
        most *= 8
