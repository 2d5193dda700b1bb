"""Marks that things are given by their numbers."""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.types import Column, Word


@kernel("void(i32[::1], i64, i64[::1])", allocates=False)
def mark(numbers: Column, value: Word, marks: Column) -> None:
    """marks[number] = value for each of these numbers i32[n]; marks i64[things].

    Each number is in 0 .. things - 1. NumPy: ``marks[numbers] = value``.
    """
    for i in range(numbers.shape[0]):
        marks[numbers[i]] = value
