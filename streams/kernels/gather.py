"""Byte strings picked from a packed column."""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.machine import copy_bytes
from streams.kernels.types import Column


@kernel("void(text, i64[::1], i64[::1], i64[::1], u8[::1])", allocates=False)
def gather(data: Column, offsets: Column, rows: Column, ends: Column, out: Column) -> None:
    """Copy the strings data[offsets[r] : offsets[r + 1]] of rows i64[n] behind one another.

    ends i64[n + 1]: where in out u8[ends[n]] each goes, as the caller summed it up. Each index is
    in 0 .. len(offsets) - 2.
    """
    for i in range(rows.shape[0]):
        first = offsets[rows[i]]
        to = ends[i]
        copy_bytes(out, to, data, first, ends[i + 1] - to)
