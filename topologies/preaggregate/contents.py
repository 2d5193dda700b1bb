"""What histogram points say, kept until their panes have sealed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streams.kernels.compile import kernel
from streams.kernels.fold import POINT_RAW, POINT_WHOSE
from streams.kernels.machine import copy_bytes
from streams.kernels.rows import IS_HISTOGRAM
from topologies.encodings.otlp import PADDING
from topologies.encodings.otlp_shapes import explicit_points, exponential_points, places
from topologies.encodings.points import HISTOGRAM, KIND_MASK, Points
from topologies.preaggregate.columns import PointColumns

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

A_LOAD = 4096
"""Points read from their bytes at a time."""


@kernel("void(u8[::1], i64[::1], i64[::1], u8[::1], i64)", allocates=False)
def _copy_spans(source: Any, begins: Any, ends: Any, out: Any, at: int) -> None:
    """source[begins[j]:ends[j]], one behind the other, to out[at:], which has the room."""
    for j in range(begins.shape[0]):
        size = ends[j] - begins[j]
        copy_bytes(out, at, source, begins[j], size)
        at += size


class TakesHistograms(Protocol):
    """An aggregate that histogram points can join."""

    def load(self, points: Any) -> Any:
        """A state whose row j is point j."""
        ...

    def merge(self, state: Any, rows: I64, other: Any, theirs: I64) -> None:
        """As of any aggregate."""
        ...


class Contents:
    """The bytes of histogram points, by the number that stands for them; in memory alone.

    `compact` keeps those of open panes, when what is gone may be as much again.
    """

    def __init__(self, least: int = 1 << 20) -> None:
        self._least = self._limit = least
        self._data = np.zeros(PADDING, np.uint8)
        self._size = 0
        self._ends = np.zeros(1, np.int64)
        """Where each ends, and before the first one 0."""
        self._explicit = np.zeros(0, np.bool_)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    def put(self, scanned: Points | None, points: PointColumns) -> None:
        """Take the bytes of whole histograms among the points, which become their values."""
        whole = np.flatnonzero(points.metas & IS_HISTOGRAM)
        if not len(whole) or scanned is None:
            return
        rows, which = np.unique(points.raws[whole], return_inverse=True)
        begins, ends = places(scanned, rows)
        explicit = scanned.kind[rows] & KIND_MASK == HISTOGRAM
        points.raws[whole] = self._append(scanned.buffer, begins, ends, explicit)[which]

    def _append(self, source: npt.NDArray[np.uint8], begins: I64, ends: I64, explicit: Mask) -> I64:
        first, count = self._count, self._count + len(begins)
        sizes = np.cumsum(ends - begins)
        size = self._size + int(sizes[-1]) if len(sizes) else self._size
        if size + PADDING > len(self._data):
            grown = np.empty(2 * size + PADDING, np.uint8)
            grown[: self._size] = self._data[: self._size]
            self._data = grown
        if count > len(self._explicit):
            self._ends = np.concatenate([self._ends[: first + 1], np.zeros(2 * count, np.int64)])
            self._explicit = np.concatenate([self._explicit[:first], np.zeros(2 * count, np.bool_)])
        _copy_spans(source, begins, ends, self._data, self._size)
        self._data[size : size + PADDING] = 0
        self._ends[first + 1 : count + 1] = self._size + sizes
        self._explicit[first:count] = explicit
        self._size, self._count = size, count
        return np.arange(first, count)

    def join(self, aggregate: TakesHistograms, state: Any, rows: I64, numbers: I64) -> None:
        """The histograms of these numbers i64[k] join rows i64[k] of an aggregate's state."""
        for cut in range(0, len(numbers), A_LOAD):
            part, into = numbers[cut : cut + A_LOAD], rows[cut : cut + A_LOAD]
            for chosen, points in self.points(part):
                if len(points):
                    loaded = aggregate.load(points)
                    aggregate.merge(state, into[chosen], loaded, np.arange(len(points)))

    def points(self, numbers: I64) -> Iterator[tuple[Mask, Any]]:
        """Of the histograms of these numbers i64[k] which are explicit bool[k], and these as
        `ExplicitPoints`; then which are exponential, and these.
        """
        explicit = self._explicit[numbers]
        for chosen, read in ((explicit, explicit_points), (~explicit, exponential_points)):
            mine = numbers[chosen]
            yield chosen, read(self._data, self._ends[mine], self._ends[mine + 1])

    def compact(self, parts: Iterable[I64]) -> None:
        """Keep those that these points i64[., POINT_WIDTH] hold, if there may be many others."""
        if self._size <= self._limit:
            return
        held = [(part, np.flatnonzero(part[:, POINT_WHOSE] & IS_HISTOGRAM != 0)) for part in parts]
        used = np.zeros(self._count, np.bool_)
        for part, rows in held:
            used[part[rows, POINT_RAW]] = True
        kept, now = np.flatnonzero(used), np.cumsum(used) - 1
        old = self._data, self._ends[kept], self._ends[kept + 1], self._explicit[kept]
        self._data, self._size = np.zeros(PADDING, np.uint8), 0
        self._ends, self._explicit, self._count = np.zeros(1, np.int64), np.zeros(0, np.bool_), 0
        self._append(*old)
        for part, rows in held:
            part[rows, POINT_RAW] = now[part[rows, POINT_RAW]]
        self._limit = max(self._least, 2 * self._size)
