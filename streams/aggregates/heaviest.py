"""Top-k: the keys with the greatest weights, exact for a bounded set of keys.

What is promised: up to `capacity` keys a row, every weight is exact and the top k is the top k.
With more keys, the row keeps those with the smallest hashes, exactly, and sums up the rest as
`other`; then `complete` is false, and an entry says by itself whether no key of `other` can stand
before it. No algorithm that keeps the heaviest so far (Space-Saving, Misra-Gries) gives the same
state in every order of merging; which keys a row keeps can depend only on the keys.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from streams.aggregates.pooled import (
    Pooled,
    checked,
    columns_of,
    damaged,
    exact_sum,
    narrow,
    open_sealed,
    place_wide_words,
    rounded,
    seal,
    wide_words,
    widened,
)
from streams.aggregates.port import I64, U8, Points
from streams.kernels.heaviest import (
    AT,
    ENTRY_COUNT,
    ENTRY_WIDTH,
    EXCLUDED,
    HEAVY_WIDTH,
    HELD,
    KEY,
    NEGATIVE_SEEN,
    OTHER,
    OTHER_COUNT,
    ROOM,
    WEIGHT,
    add_weights,
    keys_of_values,
    merge_weights,
    spare_words,
    unmixed,
)
from streams.kernels.rows import IS_INTEGER

_FIXED = (HELD, NEGATIVE_SEEN, EXCLUDED, OTHER_COUNT, OTHER, OTHER + 1, OTHER + 2, OTHER + 3)


@dataclass(frozen=True, slots=True)
class Heavy:
    """A key (64 bits, unsigned), its exact weight rounded once, and how many points it had.

    certain: whether no key outside of the row can weigh more.
    """

    key: int
    weight: float
    count: int
    certain: bool


@dataclass(frozen=True, slots=True)
class TopKValue:
    """The heaviest keys of a row, heaviest first (ties: by mixed key), and the rest.

    Attributes:
        entries: At most k.
        rest_weight, rest_count: All that is in no entry.
        complete: Whether every key was kept, so that entries are the top k of all keys.
        excluded: Weights that are not finite, which are in no sum.
    """

    entries: tuple[Heavy, ...]
    rest_weight: float
    rest_count: int
    complete: bool
    excluded: int


class TopKs:
    """Finished rows: `self[r]` is the top k of row r."""

    def __init__(self, state: Pooled, k: int) -> None:
        self._state = state.copy()
        self._k = k

    def __len__(self) -> int:
        return len(self._state)

    def __getitem__(self, r: int) -> TopKValue:
        row = self._state.rows[r]
        pool = self._state.pool
        entries = _entries(self._state, r)
        weights = [exact_sum(entry[WEIGHT:], pool) for entry in entries]
        other = exact_sum(row[OTHER:], pool)
        complete = int(row[OTHER_COUNT]) == 0
        bounded = not row[NEGATIVE_SEEN]
        order = sorted(range(len(entries)), key=lambda i: (-weights[i], int(entries[i, KEY])))
        top = order[: self._k]
        rest = order[self._k :]
        return TopKValue(
            tuple(
                Heavy(
                    unmixed(int(entries[i, KEY])),
                    rounded(weights[i]),
                    int(entries[i, ENTRY_COUNT]),
                    complete or (bounded and weights[i] >= other),
                )
                for i in top
            ),
            rounded(other + sum((weights[i] for i in rest), Fraction(0))),
            int(row[OTHER_COUNT]) + sum(int(entries[i, ENTRY_COUNT]) for i in rest),
            complete,
            int(row[EXCLUDED]),
        )


class TopK:
    """The k keys with the greatest weights, of at most capacity keys a row."""

    version = 1

    def __init__(self, name: str = "top_k", *, k: int = 10, capacity: int = 1024) -> None:
        """ValueError: not 1 <= k <= capacity <= 65536."""
        if not 1 <= k <= capacity <= 1 << 16:
            raise ValueError(f"1 <= k <= capacity <= 65536 does not hold: {k}, {capacity}")
        self.name = name
        self.k = k
        self.capacity = capacity
        self._spare = spare_words(capacity)

    def empty(self, n: int) -> Pooled:
        return Pooled.of(np.zeros((n, HEAVY_WIDTH), np.int64))

    def add(self, state: Pooled, rows: I64, points: Points) -> None:
        """The most frequent values: the value's bits as a double are the key, each weighs 1."""
        raws, metas = columns_of(points)
        keys = np.empty(len(points), np.int64)
        keys_of_values(raws, metas, keys)
        ones = np.ones(len(points), np.int64)
        self._join(state, rows, keys, ones, np.full(len(points), IS_INTEGER, np.uint8))

    def add_keyed(
        self, state: Pooled, rows: I64, keys: npt.NDArray[np.uint64], points: Points
    ) -> None:
        """Point j joins row rows[j] under the key keys[j], a hash of 64 bits: its value weighs.

        What key stands for what is the caller's to keep.
        """
        raws, metas = columns_of(points)
        words = np.ascontiguousarray(keys, np.uint64).view(np.int64)
        if len(words) != len(points):
            raise ValueError(f"{len(points)} points are to join, and there are {len(words)} keys")
        self._join(state, rows, words, raws, metas)

    def _join(self, state: Pooled, rows: I64, keys: I64, raws: I64, metas: U8) -> None:
        which = checked(rows, len(state), len(raws))

        def step(done: int) -> int:
            return add_weights(
                done, which, keys, raws, metas, state.rows, state.pool, state.used,
                self.capacity, self._spare,
            )  # fmt: skip

        state.fill(step, len(which), self._spare)

    def merge(self, state: Pooled, rows: I64, other: Pooled, theirs: I64) -> None:
        which = checked(rows, len(state), len(theirs))
        order = checked(theirs, len(other), len(rows))
        source = other.copy() if other is state else other

        def step(done: int) -> int:
            return merge_weights(
                done >> 32, which, done & 0xFFFFFFFF, state.rows, state.pool, state.used,
                source.rows, source.pool, order, self.capacity, self._spare,
            )  # fmt: skip

        state.fill(step, len(which) << 32, self._spare)

    def finish(self, state: Pooled) -> TopKs:
        return TopKs(state, self.k)

    def encode(self, state: Pooled) -> bytes:
        entries = [_entries(state, r) for r in range(len(state))]
        fixed = state.rows[:, _FIXED].copy()
        packed = np.concatenate([np.zeros((0, ENTRY_WIDTH), np.int64), *entries])
        wide = [
            wide_words(state.pool, fixed[:, -1]),
            wide_words(state.pool, packed[:, WEIGHT + 3]),
        ]
        fixed[:, -1] = fixed[:, -1] > 0
        packed[:, WEIGHT + 3] = packed[:, WEIGHT + 3] > 0
        return seal(
            self.name,
            self.version,
            len(state),
            struct.pack("<I", self.capacity),
            np.ascontiguousarray(fixed.T).tobytes(),
            np.ascontiguousarray(np.delete(packed, ENTRY_COUNT, 1).T).tobytes(),
            narrow(packed[:, ENTRY_COUNT]),
            np.concatenate(wide).tobytes(),
        )

    def decode(self, data: bytes) -> Pooled:
        n, parts = open_sealed(self.name, self.version, data, 5)
        if parts[0] != struct.pack("<I", self.capacity):
            raise damaged(self.name, "their capacity is another")
        try:
            return self._placed(n, *parts[1:])
        except ValueError as error:
            raise damaged(self.name, str(error)) from error

    def _placed(self, n: int, fixed: bytes, entries: bytes, counts: bytes, wide: bytes) -> Pooled:
        """The state of these parts; ValueError if they do not fit together."""
        state = self.empty(n)
        state.rows[:, _FIXED] = np.frombuffer(fixed, "<i8").reshape(len(_FIXED), n).T
        held = state.rows[:, HELD]
        tally = widened(counts)
        total = len(tally)
        if n and not (int(held.min()) >= 0 and int(held.max()) <= self.capacity):
            raise ValueError("a row has too many keys")
        if int(held.sum()) != total:
            raise ValueError("the keys are more or fewer than the rows say")
        columns = np.frombuffer(entries, "<i8").reshape(ENTRY_WIDTH - 1, total).T
        packed = np.insert(columns, ENTRY_COUNT, tally, axis=1)
        words = np.frombuffer(wide, "<i8")
        state.grow(packed.size + len(words))
        state.used[0] = packed.size
        place_wide_words(state, state.rows, OTHER + 3, words, packed, WEIGHT + 3)
        state.pool[0, : packed.size] = packed.ravel()
        state.rows[:, AT] = (np.cumsum(held) - held) * ENTRY_WIDTH
        state.rows[:, ROOM] = held
        return state


def _entries(state: Pooled, r: int) -> npt.NDArray[np.int64]:
    """The entries of row r, i64[held, ENTRY_WIDTH], in the order of their mixed keys."""
    at, held = state.rows[r, AT], state.rows[r, HELD]
    return state.pool[0, at : at + held * ENTRY_WIDTH].reshape(held, ENTRY_WIDTH)
