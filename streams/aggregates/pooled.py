"""States whose rows have no fixed size: columns of fixed width, and one pool of words they share.

Kernels take words from the pool as rows need them and stop when it is used up; it is then doubled
and they go on. Words that a row has outgrown stay behind, at most as many as are in use; a state
that was decoded has none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import UnreadableState, pack, unpack
from streams.aggregates.port import F64, I64, Points
from streams.kernels.exact import finish_mean, total_of
from streams.kernels.moments import (
    COUNT,
    FLAGS,
    HIGHEST,
    LOWEST,
    NO_HIGHEST,
    NO_LOWEST,
    NO_SUM,
    SUM_MINUS_INFINITY,
    SUM_NAN,
    SUM_PLUS_INFINITY,
    SUM_WIDTH,
    TOTAL,
    WIDE,
    WIDE_WORDS,
)


@dataclass(slots=True)
class Pooled:
    """rows i64[n, w] of some kind of kernel, pool i64[1, m], used i64[1] (words of it in use)."""

    rows: npt.NDArray[np.int64]
    pool: npt.NDArray[np.int64]
    used: I64

    @classmethod
    def of(cls, rows: npt.NDArray[np.int64], words: int = 0) -> Pooled:
        return cls(rows, np.zeros((1, words), np.int64), np.zeros(1, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def copy(self) -> Pooled:
        return Pooled(self.rows.copy(), self.pool.copy(), self.used.copy())

    def grow(self, spare: int) -> None:
        """Double the pool, and give it at least so many words to spare."""
        size = self.pool.shape[1]
        grown = np.zeros((1, max(2 * size, int(self.used[0]) + spare, 1024)), np.int64)
        grown[:, :size] = self.pool
        self.pool = grown

    def fill(self, step: Callable[[int], int], count: int, spare: int) -> None:
        """Call step(first) for what it has not done of `count`, growing the pool in between."""
        done = 0
        while done < count:
            done = step(done)
            if done < count:
                self.grow(spare)


def checked(rows: I64, state: int, length: int) -> I64:
    """The row numbers as i64[length], each within a state of this many rows.

    Raises:
        IndexError: One is not.
        ValueError: There are more or fewer than length.
    """
    found = np.ascontiguousarray(rows, np.int64)
    check_rows(found, state, length)
    return found


def columns_of(points: Points) -> tuple[I64, npt.NDArray[np.uint8]]:
    """The values of points as kernels take them: raws and metas, contiguous."""
    return np.ascontiguousarray(points.raws), np.ascontiguousarray(points.metas)


def doubles(ordered: I64) -> F64:
    """The doubles of `ordered` integers."""
    return np.where(ordered >= 0, ordered, ordered ^ np.int64(2**63 - 1)).view(np.float64)


def lowest_of(state: Pooled) -> F64:
    """f64[n]: the least value of each row; NaN if there is none or it is not known."""
    return _extreme(state, LOWEST, NO_LOWEST)


def highest_of(state: Pooled) -> F64:
    """f64[n]: the greatest value of each row; NaN if there is none or it is not known."""
    return _extreme(state, HIGHEST, NO_HIGHEST)


def _extreme(state: Pooled, column: int, absent: int) -> F64:
    rows = state.rows
    known = (rows[:, COUNT] > 0) & (rows[:, FLAGS] & absent == 0)
    return np.where(known, doubles(rows[:, column]), np.nan)


def sums_of(state: Pooled) -> F64:
    """f64[n]: the exact sums, rounded once; NaN where a bucketed histogram came without one."""
    rows = state.rows
    out = np.empty(len(rows))
    finish_mean(rows, TOTAL, np.ones(len(rows), np.int64), out)
    for r in np.flatnonzero(rows[:, WIDE]).tolist():
        out[r] = rounded(exact_sum(rows[r, TOTAL:], state.pool))
    flags = rows[:, FLAGS]
    out[flags & SUM_PLUS_INFINITY != 0] = np.inf
    out[flags & SUM_MINUS_INFINITY != 0] = -np.inf
    both = SUM_PLUS_INFINITY | SUM_MINUS_INFINITY
    out[(flags & (NO_SUM | SUM_NAN) != 0) | (flags & both == both)] = np.nan
    return out


def exact_sum(columns: npt.NDArray[np.int64], pool: npt.NDArray[np.int64]) -> Fraction:
    """The sum of `streams.kernels.moments` in columns[:SUM_WIDTH], as it is."""
    low, mid, high, wide = (int(word) for word in columns[:SUM_WIDTH])
    total = Fraction(total_of(low, mid, high), 1 << 96)
    if wide:
        words = pool[0, wide - 1 : wide - 1 + WIDE_WORDS].astype("<i8", copy=False)
        total += Fraction(int.from_bytes(words.tobytes(), "little", signed=True), 1 << 1074)
    return total


def rounded(total: Fraction) -> float:
    """The nearest double; infinite past the greatest."""
    try:
        return float(total)
    except OverflowError:
        return np.inf if total > 0 else -np.inf


def wide_words(pool: npt.NDArray[np.int64], column: I64) -> I64:
    """The wide sums that a column WIDE names, one behind the other."""
    at = column[column > 0] - 1
    return pool[0][at[:, None] + np.arange(WIDE_WORDS)].ravel()


def place_wide_words(
    state: Pooled,
    rows: npt.NDArray[np.int64],
    column: int,
    words: I64,
    more: npt.NDArray[np.int64] | None = None,
    more_column: int = 0,
) -> None:
    """Put wide sums into the pool, which has the room, and their places into a column of rows.

    A row has one if its column is not 0; `more` are further rows behind them. ValueError: there are
    more or fewer sums than such rows.
    """
    begin = 0
    pairs = [(rows, column)] if more is None else [(rows, column), (more, more_column)]
    for table, c in pairs:
        has = table[:, c] > 0
        count = int(has.sum())
        end = begin + count * WIDE_WORDS
        at = int(state.used[0])
        table[has, c] = at + 1 + np.arange(count) * WIDE_WORDS
        table[~has, c] = 0
        if end > len(words):
            raise ValueError("there are fewer wide sums than the rows say")
        state.pool[0, at : at + end - begin] = words[begin:end]
        state.used[0] += end - begin
        begin = end
    if begin != len(words):
        raise ValueError("there are more wide sums than the rows say")


def narrow(counts: I64) -> bytes:
    """Counts of zero or more as bytes: their width (1, 2, 4, 8), then each as little endian."""
    most = int(counts.max()) if len(counts) else 0
    width = next(w for w in (1, 2, 4, 8) if most < 1 << 8 * w)
    return bytes([width]) + counts.astype(f"<u{width}").tobytes()


def widened(part: bytes) -> I64:
    """The counts of `narrow`; ValueError if it cannot have written the bytes."""
    if not part or part[0] not in (1, 2, 4, 8):
        raise ValueError("the width of its counts is none that is written")
    counts = np.frombuffer(part, f"<u{part[0]}", offset=1).astype(np.int64)
    if len(counts) and int(counts.min()) < 0:
        raise ValueError("a count is past 2**63")
    return counts


def seal(name: str, version: int, rows: int, *parts: bytes) -> bytes:
    """The parts as `streams.aggregates.encoding` lays them out, and a checksum behind them."""
    body = pack(name, version, rows, *parts, b"")
    return body[:-8] + pack_checksum(zlib.crc32(body[:-8]))


def pack_checksum(checksum: int) -> bytes:
    """The last part: its length, and the checksum."""
    return (4).to_bytes(8, "little") + checksum.to_bytes(4, "little")


def open_sealed(name: str, version: int, data: bytes, parts: int) -> tuple[int, list[bytes]]:
    """The number of rows, and the parts.

    Raises:
        UnreadableState: Another aggregate or version wrote the bytes, or they are damaged.
    """
    rows, found = unpack(name, version, data, parts + 1)
    if found[-1] != zlib.crc32(data[:-12]).to_bytes(4, "little"):
        raise damaged(name, "their checksum is another")
    if rows > len(data):  # each takes a byte at least: no memory for rows that are not there
        raise damaged(name, f"they say to be {rows} rows")
    return rows, found[:-1]


def damaged(name: str, why: str) -> UnreadableState:
    return UnreadableState(
        f"these bytes are no state of the aggregate {name!r}: {why}",
        "restore the state from the changelog",
    )
