"""Messages that come again with other times and values, and nothing else.

An agent that reports at an interval sends the same bytes each time, but for the times and the
values of its points, and OTLP writes each of these in eight bytes. So a message that came twice is
kept; one like it is compared with it, byte by byte but for those eight, and its points are read
from where they were: half of what it takes to parse, hash and look them up. What differs anywhere
else is parsed as ever, so nothing depends on what was seen before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topologies.encodings import recurring_kernels as kernels
from topologies.encodings.points import Points
from topologies.encodings.recurring_kernels import (
    COLUMNS,
    DATA,
    FIRST,
    LENGTH,
    POINTS,
    UNFIT,
    USED,
)

_A_POINT = 18
_A_ROW = 128
_SEEN = 1 << 14

Array = NDArray[Any]


class Recurring:
    """The messages that are known by heart, for one scanner and one table of slots.

    ``limit``: bytes that they take together at most: the messages themselves, and 18 a point. When
    they are at it, those that came no more make room; when all of them come, no others are kept.
    ``least``: bytes of a message that is worth it.
    """

    def __init__(self, limit: int = 64 << 20, least: int = 512) -> None:
        self._limit = limit
        self._least = least
        self.forget()

    def forget(self) -> None:
        """Know none; for when slots are numbered anew."""
        self._templates = np.zeros((64, COLUMNS), np.int64)
        self._index = np.zeros(256, np.int32)
        self._data = np.zeros(1 << 16, np.uint8)
        self._fields = np.zeros((512, 4), np.int32)
        self._kinds = np.zeros((512, 2), np.uint8)
        self._seen = np.zeros((_SEEN, 2), np.uint64)
        self._used = np.zeros(3, np.int64)  # templates, bytes, points
        self._refused = 0

    def __len__(self) -> int:
        """How many messages are known."""
        return int((self._templates[: self._used[0], DATA] != UNFIT).sum())

    @property
    def size(self) -> int:
        """Bytes that they take."""
        rows, size, points = self._used.tolist()
        return _A_ROW * rows + size + _A_POINT * points

    def arrays(self) -> tuple[int, Array, Array, Array, Array, Array, Array]:
        """What the scanning kernel is given."""
        return (
            self._least, self._templates, self._index, self._data, self._fields, self._kinds,
            self._seen,
        )  # fmt: skip

    def learn(self, points: Points, slots: NDArray[np.int32]) -> None:
        """Know the messages that are worth it, now that their points have slots, i32[n].

        -1 are the slots of points of messages that were refused meanwhile.
        """
        again = points.again
        if again is None or not len(again) or not self._make_room(again, points):
            return
        kernels.learn(
            again, points.buffer, points.metrics,
            (points.message, points.begin, points.end, points.kind, points.flags), slots,
            self._used, self._templates, self._index, self._data, self._fields, self._kinds,
        )  # fmt: skip

    def _make_room(self, again: NDArray[np.int64], points: Points) -> bool:
        """Whether these may be kept; then there is room for them."""
        count = int(np.isin(points.message, again[:, 0]).sum())
        size = int((again[:, 2] - again[:, 1]).sum())
        wanted = _A_ROW * len(again) + size + _A_POINT * count
        if self.size + wanted > self._limit:
            self._refused += len(again)
            if self._refused <= self._used[0]:  # else each that does not fit would look for room
                return False
            self._drop_unused()
            if self.size + wanted > self._limit:
                return False
        rows, used, held = self._used.tolist()
        self._templates = _grown(self._templates, rows + len(again))
        self._data = _grown(self._data, used + size)
        self._fields = _grown(self._fields, held + count)
        self._kinds = _grown(self._kinds, held + count)
        if 2 * (rows + len(again)) > len(self._index):
            self._index_anew(rows + len(again))
        return True

    def _drop_unused(self) -> None:
        """Keep what came since this was done last."""
        old = self._templates[: self._used[0]]
        kept = old[old[:, USED] != 0]
        data, fields, kinds = self._data, self._fields, self._kinds
        self.forget()
        fit = kept[:, DATA] != UNFIT
        sizes, counts = np.where(fit, kept[:, LENGTH], 0), np.where(fit, kept[:, POINTS], 0)
        self._data = _grown(self._data, int(sizes.sum()))
        self._fields = _grown(self._fields, int(counts.sum()))
        self._kinds = _grown(self._kinds, int(counts.sum()))
        at = first = 0
        for of, size, count in zip(kept, sizes.tolist(), counts.tolist(), strict=True):
            if size:
                was, from_ = int(of[DATA]), int(of[FIRST])
                self._data[at : at + size] = data[was : was + size]
                self._fields[first : first + count] = fields[from_ : from_ + count]
                self._kinds[first : first + count] = kinds[from_ : from_ + count]
                of[DATA], of[FIRST] = at, first
            of[USED] = 0
            at, first = at + size, first + count
        self._templates = _grown(self._templates, len(kept))
        self._templates[: len(kept)] = kept
        self._used[:] = len(kept), at, first
        self._index_anew(len(kept))

    def _index_anew(self, rows: int) -> None:
        """An index with room for so many."""
        self._index = np.zeros(1 << max(8, (4 * rows).bit_length()), np.int32)
        for row in range(self._used[0]):
            kernels.enter(self._templates, row, self._index)


def _grown(array: Array, size: int) -> Array:
    """The array, or one twice as long or more that begins with it."""
    if size <= len(array):
        return array
    grown = np.zeros((max(size, 2 * len(array)), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
