"""Columns of byte strings compared as a whole, with NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn

Bools = npt.NDArray[np.bool_]


def starts_with(column: BytesColumn, prefix: bytes) -> Bools:
    """bool[n]: whether each row begins with the prefix."""
    return _begins(column, prefix, np.diff(column.offsets) >= len(prefix))


def equal_to(column: BytesColumn, wanted: bytes) -> Bools:
    """bool[n]: whether each row is this byte string."""
    return _begins(column, wanted, np.diff(column.offsets) == len(wanted))


def _begins(column: BytesColumn, wanted: bytes, found: Bools) -> Bools:
    """The rows among `found`, all long enough, that begin with these bytes."""
    data = np.frombuffer(column.data, np.uint8)
    rows = np.flatnonzero(found)
    starts = column.offsets[rows]
    for at, byte in enumerate(wanted):  # a byte of the wanted string, over all rows left
        same = data[starts + at] == byte
        if not same.all():
            rows, starts = rows[same], starts[same]
    out = np.zeros(len(column), np.bool_)
    out[rows] = True
    return out


def equal(left: BytesColumn, right: BytesColumn) -> Bools:
    """bool[n]: whether the rows of two columns of equal length are the same."""
    lengths = np.diff(left.offsets)
    found = lengths == np.diff(right.offsets)
    rows = np.flatnonzero(found & (lengths > 0))
    if not len(rows):
        return found
    sizes = lengths[rows]
    begins = np.cumsum(sizes) - sizes
    within = np.arange(int(sizes.sum())) - np.repeat(begins, sizes)
    one = np.frombuffer(left.data, np.uint8)[within + np.repeat(left.offsets[rows], sizes)]
    two = np.frombuffer(right.data, np.uint8)[within + np.repeat(right.offsets[rows], sizes)]
    found[rows] = np.logical_and.reduceat(one == two, begins)
    return found


def decimals(numbers: npt.NDArray[np.int64]) -> BytesColumn:
    """Integers in decimal, as ASCII."""
    written = numbers.astype("S20")
    width = written.dtype.itemsize
    bytes_of = written.view(np.uint8).reshape(len(numbers), width)
    there = bytes_of != 0
    offsets = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(there.sum(axis=1), out=offsets[1:])
    return BytesColumn(offsets, bytes_of[there].tobytes())
