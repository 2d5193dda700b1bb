"""What samples of cumulative histograms add, so that it can be taken away again.

A sample that comes late changes what it adds itself, and what the next one of its stream does. The
states of histograms cannot give that back: they are brought to coarser scales as they grow, and say
of an unknown sum only that it is one. So beside them groups have *counters*: of observations, of
each bucket at the scale at which it came, of samples without a sum, of the digits of the exact sum.
All of them add up, and what was added is subtracted. When a window is published they become the
state that the same samples would have made.

Minimum and maximum of a cumulative histogram are of its whole run, and of no window: not known.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates import made
from streams.aggregates.explicit import ExplicitHistogram
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.exponential_points import ExponentialPoints
from streams.aggregates.pooled import Pooled
from streams.aggregates.quantile import Quantile
from streams.errors import Fatal
from streams.kernels.buckets import pack_range
from streams.kernels.exponential import FIRST, LAST, NEGATIVE, POSITIVE, SCALE, THRESHOLD, ZEROS
from streams.kernels.moments import (
    COUNT,
    FLAGS,
    MOMENTS_WIDTH,
    NO_HIGHEST,
    NO_LOWEST,
    NO_SUM,
    SUM_MINUS_INFINITY,
    SUM_NAN,
    SUM_PLUS_INFINITY,
    TOTAL,
    WIDE,
    WIDE_WORDS,
)
from streams.kernels.powers import MAX_SCALE, MIN_SCALE
from topologies.temporality.chain import Contributions

I64 = npt.NDArray[np.int64]

# Kinds of counters, the upper bits of a code; a negative code is ~bits of a zero threshold.
_KIND = 48
_COUNTS, _FLAG, _DIGIT, _WIDE_DIGIT, _ZEROS, _EXPLICIT, _POSITIVE, _NEGATIVE = range(8)
_UNKNOWN = (NO_SUM, SUM_NAN, SUM_PLUS_INFINITY, SUM_MINUS_INFINITY)
_SCALE_SHIFT, _INDEX_ZERO = 33, 1 << 32
_DIGITS, _MASK = 6, (1 << 32) - 1
_HEAD = struct.Struct("<QQ")


@dataclass(slots=True)
class Counters:
    """n rows of counters that are not 0: rows, codes and amounts i64[m], by row and code."""

    n: int
    rows: I64
    codes: I64
    amounts: I64

    def __len__(self) -> int:
        return self.n


def _settled(n: int, rows: I64, codes: I64, amounts: I64) -> Counters:
    """Counters of one row and code become one; those that are 0 are gone."""
    order = np.lexsort((codes, rows))
    rows, codes, amounts = rows[order], codes[order], amounts[order]
    if len(rows):
        begins = np.flatnonzero(
            np.append(True, (rows[1:] != rows[:-1]) | (codes[1:] != codes[:-1]))
        )
        rows, codes, amounts = rows[begins], codes[begins], np.add.reduceat(amounts, begins)
        stays = amounts != 0
        rows, codes, amounts = rows[stays], codes[stays], amounts[stays]
    return Counters(n, rows, codes, amounts)


class Differences:
    """Counters of what makes a state of this aggregate (as plans spell it), of histograms."""

    def __init__(self, spelling: str) -> None:
        self._target: Any = made(spelling)
        target = self._target
        explicit = isinstance(target, ExplicitHistogram)
        self._bounds: npt.NDArray[np.float64] | None = target.bounds if explicit else None
        self._exponential = isinstance(target, ExponentialHistogram | Quantile)

    # --- as an aggregate ----------------------------------------------------------------------

    def empty(self, n: int) -> Counters:
        """n rows of nothing."""
        nothing = np.zeros(0, np.int64)
        return Counters(n, nothing, nothing, nothing)

    def merge(self, state: Counters, rows: I64, other: Counters, theirs: I64) -> None:
        """Row theirs[j] of other is added to row rows[j] of state."""
        self._add(state, rows, other, theirs, 1)

    def subtract(self, state: Counters, rows: I64, other: Counters, theirs: I64) -> None:
        """Row theirs[j] of other is taken away from row rows[j] of state."""
        self._add(state, rows, other, theirs, -1)

    def _add(self, state: Counters, rows: I64, other: Counters, theirs: I64, sign: int) -> None:
        begins = np.searchsorted(other.rows, np.arange(other.n + 1))
        sizes = begins[theirs + 1] - begins[theirs]
        into = np.repeat(rows, sizes)
        at = np.arange(len(into)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        at += np.repeat(begins[theirs], sizes)
        found = _settled(
            state.n,
            np.concatenate([state.rows, into]),
            np.concatenate([state.codes, other.codes[at]]),
            np.concatenate([state.amounts, sign * other.amounts[at]]),
        )
        state.rows, state.codes, state.amounts = found.rows, found.codes, found.amounts

    def encode(self, state: Counters) -> bytes:
        """Number of rows and counters u64, rows, codes, amounts. Little endian."""
        parts = (each.astype("<i8").tobytes() for each in (state.rows, state.codes, state.amounts))
        return b"".join([_HEAD.pack(state.n, len(state.rows)), *parts])

    def decode(self, data: bytes) -> Counters:
        """What `encode` was given. Raises Fatal if it cannot have written it."""
        n, m = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (0, 0)
        if len(data) != _HEAD.size + 24 * m:
            raise Fatal("counters of histograms are damaged", "restore the state from the log")
        columns = np.frombuffer(data, "<i8", 3 * m, _HEAD.size).reshape(3, m).astype(np.int64)
        return Counters(n, *(np.ascontiguousarray(each) for each in columns))

    # --- from contributions -------------------------------------------------------------------

    def of(self, added: Contributions, which: I64, rows: I64, n: int) -> Counters:
        """The contributions at places which i64[k] in rows i64[k] of n."""
        state = added.state
        columns = state.rows[which]
        parts = [self._moments(columns, rows)]
        if bool((columns[:, WIDE] > 0).any()):
            parts.append(_wide(state, columns, rows))
        if self._bounds is not None:
            parts.append(self._explicit(added, columns, rows))
        elif self._exponential:
            parts += _exponential(Pooled(columns, state.pool, state.used), rows)
        return _settled(n, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _moments(self, columns: I64, rows: I64) -> tuple[I64, I64, I64]:
        digits: list[I64] = []
        for limb in (TOTAL, TOTAL + 1, TOTAL + 2):
            digits += [columns[:, limb] & _MASK, columns[:, limb] >> 32]
        for k in (1, 3):  # all but the last are without a sign
            digits[k] = digits[k] & _MASK
        filled = columns[:, COUNT] > 0
        flags = [(filled & (columns[:, FLAGS] & flag != 0)).astype(np.int64) for flag in _UNKNOWN]
        amounts = [columns[:, COUNT], *flags, *digits]
        codes = [_COUNTS << _KIND, *(_FLAG << _KIND | flag for flag in _UNKNOWN)]
        codes += [_DIGIT << _KIND | k for k in range(_DIGITS)]
        return _flat(rows, np.array(codes, np.int64), np.stack(amounts, axis=1))

    def _explicit(self, added: Contributions, columns: I64, rows: I64) -> tuple[I64, I64, I64]:
        theirs: Any = added.kind.aggregate
        bounds: npt.NDArray[np.float64] = theirs.bounds
        wanted = self._bounds
        assert wanted is not None
        into = np.append(np.searchsorted(wanted, bounds), len(wanted))
        codes = (_EXPLICIT << _KIND) + into
        return _flat(rows, codes.astype(np.int64), columns[:, MOMENTS_WIDTH:])

    # --- to states ----------------------------------------------------------------------------

    def states(self, state: Counters) -> Any:
        """The state of the aggregate that row r of the counters stands for, row by row."""
        counts = _column(state, _COUNTS << _KIND)
        found = self._exponential_states(state) if self._exponential else None
        made_of = self._target.empty(state.n) if found is None else found
        table = made_of.rows
        table[:, COUNT] = counts
        flags = np.where(counts > 0, NO_LOWEST | NO_HIGHEST, 0)
        for flag in _UNKNOWN:
            flags |= np.where(_column(state, _FLAG << _KIND | flag) > 0, flag, 0)
        table[:, FLAGS] = flags
        digits = np.stack([_column(state, _DIGIT << _KIND | k) for k in range(_DIGITS)], axis=1)
        table[:, TOTAL : TOTAL + 3] = _words_of(digits)
        if self._bounds is not None:
            for k in range(len(self._bounds) + 1):
                table[:, MOMENTS_WIDTH + k] = _column(state, _EXPLICIT << _KIND | k)
        elif found is None:
            table[:, MOMENTS_WIDTH] = counts  # the one bucket
        _put_wide(state, made_of)
        return made_of

    def _exponential_states(self, state: Counters) -> Pooled:
        target = self._target
        histogram = target.histogram if isinstance(target, Quantile) else target
        kinds = state.codes >> _KIND
        sides = [np.flatnonzero(kinds == kind) for kind in (_POSITIVE, _NEGATIVE)]
        indexes, scales_of = _places(state.codes)
        scales = np.full(state.n, MAX_SCALE, np.int64)
        for at in sides:
            np.minimum.at(scales, state.rows[at], scales_of[at])
        while True:  # at most 30 times
            over = np.zeros(state.n, np.bool_)
            for at in sides:
                rows = state.rows[at]
                moved = indexes[at] >> (scales_of[at] - scales[rows])
                first, last = np.full(state.n, 2**62), np.full(state.n, -(2**62))
                np.minimum.at(first, rows, moved)
                np.maximum.at(last, rows, moved)
                over |= last - first >= histogram.max_size
            if not over.any():
                break
            scales[over] -= 1
        columns: list[Any] = []
        total = zeros = _column(state, _ZEROS << _KIND)
        for at in sides:
            rows = state.rows[at]
            moved = indexes[at] >> (scales_of[at] - scales[rows])
            firsts, offsets, counts = _ragged(state.n, rows, moved, state.amounts[at])
            columns += [firsts, offsets, counts]
            sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
            total = total + sums[offsets[1:]] - sums[offsets[:-1]]
        thresholds = np.zeros(state.n, np.int64)
        at = np.flatnonzero(state.codes < 0)
        np.maximum.at(thresholds, state.rows[at], ~state.codes[at])
        unknown = np.full(state.n, np.nan)
        absent = np.full(state.n, NO_SUM | NO_LOWEST | NO_HIGHEST, np.uint8)
        points = ExponentialPoints(
            total, unknown, unknown, unknown, absent, zeros, thresholds.view(np.float64), scales,
            *columns,
        )  # fmt: skip
        return histogram.load(points)


def _flat(rows: I64, codes: I64, amounts: I64) -> tuple[I64, I64, I64]:
    """Amounts i64[k, c], of rows i64[k] and codes i64[c], but those that are 0."""
    at, which = np.nonzero(amounts)
    return rows[at], codes[which], amounts[at, which]


def _column(state: Counters, code: int) -> I64:
    """The counters of one code, i64[n]."""
    found = np.zeros(state.n, np.int64)
    at = state.codes == code
    found[state.rows[at]] = state.amounts[at]
    return found


def _wide(state: Pooled, columns: I64, rows: I64) -> tuple[I64, I64, I64]:
    """The digits of wide sums."""
    has = np.flatnonzero(columns[:, WIDE] > 0)
    words = state.pool[0][(columns[has, WIDE] - 1)[:, None] + np.arange(WIDE_WORDS)]
    digits = np.stack([words & _MASK, words >> 32], axis=2).reshape(len(has), -1)
    digits[:, 1:-1] &= _MASK
    codes = (_WIDE_DIGIT << _KIND) + np.arange(digits.shape[1])
    return _flat(rows[has], codes, digits)


def _put_wide(state: Counters, into: Pooled) -> None:
    """Put the wide sums of counters into rows."""
    at = np.flatnonzero(state.codes >> _KIND == _WIDE_DIGIT)
    has = np.unique(state.rows[at])
    if not len(has):
        return
    digits = np.zeros((len(has), 2 * WIDE_WORDS), np.int64)
    digits[np.searchsorted(has, state.rows[at]), state.codes[at] & _MASK] = state.amounts[at]
    into.grow(len(has) * WIDE_WORDS)
    first = int(into.used[0])
    words = _words_of(digits)
    into.pool[0, first : first + words.size] = words.ravel()
    into.rows[has, WIDE] = first + 1 + np.arange(len(has)) * WIDE_WORDS
    into.used[0] += words.size


def _words_of(digits: I64) -> I64:
    """Numbers of digits i64[n, d] of 32 bits, each of any size, as words i64[n, d / 2]."""
    digits = digits.copy()
    for k in range(digits.shape[1] - 1):
        digits[:, k + 1] += digits[:, k] >> 32
        digits[:, k] &= _MASK
    return digits[:, 0::2] | digits[:, 1::2] << 32


def _exponential(state: Pooled, rows: I64) -> list[tuple[I64, I64, I64]]:
    """Buckets of either sign, zeros and thresholds."""
    columns = state.rows
    found = [_flat(rows, np.array([_ZEROS << _KIND], np.int64), columns[:, ZEROS : ZEROS + 1])]
    cut = np.flatnonzero((columns[:, THRESHOLD] > 0) & (columns[:, COUNT] > 0))
    found.append((rows[cut], ~columns[cut, THRESHOLD], np.ones(len(cut), np.int64)))
    for c, kind in ((POSITIVE, _POSITIVE), (NEGATIVE, _NEGATIVE)):
        sizes = columns[:, c + LAST] - columns[:, c + FIRST] + 1
        begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        counts = np.empty(int(begins[-1]), np.int64)
        pack_range(np.ascontiguousarray(columns), c, state.pool, begins, counts)
        whose = np.repeat(np.arange(len(rows)), sizes)
        indexes = np.arange(len(counts)) - begins[whose] + columns[whose, c + FIRST]
        places = (columns[whose, SCALE] - MIN_SCALE) << _SCALE_SHIFT | indexes + _INDEX_ZERO
        some = counts != 0
        found.append((rows[whose][some], (kind << _KIND | places)[some], counts[some]))
    return found


def _places(codes: I64) -> tuple[I64, I64]:
    """(index, scale) of codes of buckets."""
    places = codes & ((1 << _KIND) - 1)
    return (places & ((1 << _SCALE_SHIFT) - 1)) - _INDEX_ZERO, (places >> _SCALE_SHIFT) + MIN_SCALE


def _ragged(n: int, rows: I64, indexes: I64, amounts: I64) -> tuple[I64, I64, I64]:
    """Buckets of n rows as points have them: firsts i64[n], offsets i64[n + 1], counts."""
    firsts, lasts = np.full(n, 2**62), np.full(n, -(2**62))
    np.minimum.at(firsts, rows, indexes)
    np.maximum.at(lasts, rows, indexes)
    sizes = np.where(lasts >= firsts, lasts - firsts + 1, 0)
    firsts[sizes == 0] = 0
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    counts = np.zeros(int(offsets[-1]), np.int64)
    np.add.at(counts, offsets[rows] + indexes - firsts[rows], amounts)
    return firsts, offsets, counts
