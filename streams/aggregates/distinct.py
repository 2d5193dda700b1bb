"""Distinct count by HyperLogLog, in the form of Apache DataSketches.

State is coupons or registers only, never an estimate that depends on the order of arrival (the
"HIP" of DataSketches); so it is a function of the set of values. `sketches` writes what the latter
reads as an HLL_8 sketch, `streams.aggregates.datasketches` reads what it writes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.aggregates.datasketches import hll_8_of_coupons, hll_8_of_registers, read_sketch
from streams.aggregates.pooled import (
    Pooled,
    checked,
    columns_of,
    damaged,
    narrow,
    open_sealed,
    seal,
    widened,
)
from streams.aggregates.port import F64, I64, Points
from streams.batch import BytesColumn
from streams.kernels.hyperloglog import (
    AT,
    BITS,
    HELD,
    HLL_WIDTH,
    LARGEST,
    REGISTERS,
    add_coupons,
    coupon_limit,
    coupons_of_strings,
    coupons_of_values,
    estimates,
    merge_sketches,
    pack_coupons,
    spare_words,
)

_LEAST_LG_K = 4
_MOST_LG_K = 21


class DistinctCount:
    """About how many distinct values there are: relative standard error 1.04 / sqrt(2**lg_k)."""

    version = 1

    def __init__(self, name: str = "distinct_count", *, lg_k: int = 12) -> None:
        """lg_k: log2 of the number of registers, 4 to 21 (ValueError else)."""
        if not _LEAST_LG_K <= lg_k <= _MOST_LG_K:
            raise ValueError(f"lg_k is {_LEAST_LG_K} to {_MOST_LG_K}, not {lg_k}")
        self.name = name
        self.lg_k = lg_k
        self._limit = coupon_limit(lg_k)
        self._spare = spare_words(lg_k)
        self._words = 1 << (lg_k - 3)

    def empty(self, n: int) -> Pooled:
        return Pooled.of(np.zeros((n, HLL_WIDTH), np.int64))

    def add(self, state: Pooled, rows: I64, points: Points) -> None:
        """Integers and doubles are hashed as DataSketches does; 1 and 1.0 are two values there."""
        raws, metas = columns_of(points)
        coupons = np.empty(len(points), np.int64)
        coupons_of_values(raws, metas, coupons)
        self.add_coupons(state, rows, coupons)

    def add_strings(self, state: Pooled, rows: I64, strings: BytesColumn) -> None:
        """String j joins row rows[j]; text as its UTF-8 bytes. DataSketches ignores empty ones."""
        coupons = np.empty(len(strings), np.int64)
        coupons_of_strings(np.frombuffer(strings.data, np.uint8).copy(), strings.offsets, coupons)
        self.add_coupons(state, rows, coupons)

    def add_coupons(self, state: Pooled, rows: I64, coupons: I64) -> None:
        """Coupon j of `streams.kernels.hyperloglog` joins row rows[j]."""
        which = checked(rows, len(state), len(coupons))

        def step(done: int) -> int:
            return add_coupons(
                done, which, coupons, state.rows, state.pool, state.used,
                self.lg_k, self._limit, self._spare,
            )  # fmt: skip

        state.fill(step, len(which), self._spare)

    def merge(self, state: Pooled, rows: I64, other: Pooled, theirs: I64) -> None:
        which = checked(rows, len(state), len(theirs))
        order = checked(theirs, len(other), len(rows))
        source = other.copy() if other is state else other

        def step(done: int) -> int:
            return merge_sketches(
                done, which, state.rows, state.pool, state.used, order, source.rows, source.pool,
                self.lg_k, self._limit, self._spare,
            )  # fmt: skip

        state.fill(step, len(which), self._spare)

    def finish(self, state: Pooled) -> F64:
        out = np.empty(len(state))
        estimates(state.rows, state.pool, self.lg_k, np.empty(64, np.int64), out)
        return out

    def coupons(self, state: Pooled) -> tuple[I64, I64]:
        """Of rows kept as coupons: where each row's begin i64[n + 1], and all, ascending a row."""
        held = state.rows[:, HELD]
        begins = np.zeros(len(state) + 1, np.int64)
        np.cumsum(held, out=begins[1:])
        found = np.empty(int(begins[-1]), np.int64)
        pack_coupons(state.rows, state.pool, found)
        found.sort()
        return begins, found & 0xFFFFFFFF

    def registers(self, state: Pooled) -> npt.NDArray[np.uint8]:
        """u8[m, 2**lg_k]: the registers of the m rows that have them."""
        at = state.rows[state.rows[:, BITS] == REGISTERS, AT]
        words = state.pool[0][at[:, None] + np.arange(self._words)]
        return words.astype("<i8", copy=False).view(np.uint8).reshape(len(at), 1 << self.lg_k)

    def encode(self, state: Pooled) -> bytes:
        _, coupons = self.coupons(state)
        return seal(
            self.name,
            self.version,
            len(state),
            bytes([self.lg_k]),
            np.packbits(state.rows[:, BITS] == REGISTERS).tobytes(),
            narrow(state.rows[:, HELD]),
            coupons.astype("<u4").tobytes(),
            self.registers(state).tobytes(),
        )

    def decode(self, data: bytes) -> Pooled:
        n, (lg_k, dense, held, coupons, registers) = open_sealed(self.name, self.version, data, 5)
        if lg_k != bytes([self.lg_k]):
            raise damaged(self.name, "they are of another lg_k")
        try:
            bits = np.unpackbits(np.frombuffer(dense, np.uint8), count=n).astype(bool)
            return self.restored(
                bits, widened(held), np.frombuffer(coupons, "<u4").astype(np.int64),
                np.frombuffer(registers, np.uint8),
            )  # fmt: skip
        except ValueError as error:
            raise damaged(self.name, str(error)) from error

    def restored(
        self,
        dense: npt.NDArray[np.bool_],
        held: I64,
        coupons: I64,
        registers: npt.NDArray[np.uint8],
    ) -> Pooled:
        """The state of n rows of which these have registers, u8[those * 2**lg_k].

        held i64[n]: how many of the coupons belong to each row. ValueError: they do not fit.
        """
        n = len(dense)
        count = int(dense.sum())
        if len(held) != n or int(held.sum()) != len(coupons) or bool((held[dense] != 0).any()):
            raise ValueError("the coupons are more or fewer than the rows say")
        if len(registers) != count << self.lg_k or int(registers.max(initial=0)) > LARGEST:
            raise ValueError("the registers are not those of the rows that have them")
        if bool((coupons >> 26 < 1).any()) or int(held.max(initial=0)) > self._limit:
            raise ValueError("a coupon is none, or there are too many in a row")
        state = self.empty(n)
        words = np.ascontiguousarray(registers).view("<i8").astype(np.int64)
        state.grow(len(words) + self._spare)
        state.pool[0, : len(words)] = words
        state.used[0] = len(words)
        state.rows[dense, BITS] = REGISTERS
        state.rows[dense, AT] = np.arange(count) * self._words
        self.add_coupons(state, np.repeat(np.arange(n), held), coupons)
        if not np.array_equal(state.rows[:, HELD], held):
            raise ValueError("a coupon is there twice")
        return state

    def sketches(self, state: Pooled) -> list[bytes]:
        """Each row as a compact HLL_8 sketch of Apache DataSketches, one bytes object a row."""
        begins, coupons = self.coupons(state)
        dense = iter(self.registers(state))
        return [
            hll_8_of_registers(self.lg_k, next(dense))
            if bits == REGISTERS
            else hll_8_of_coupons(self.lg_k, coupons[begin:end])
            for bits, begin, end in zip(
                state.rows[:, BITS].tolist(), begins[:-1].tolist(), begins[1:].tolist(), strict=True
            )
        ]

    def add_sketches(self, state: Pooled, rows: I64, sketches: BytesColumn) -> None:
        """Sketch j of Apache DataSketches, of this lg_k or a larger one, joins row rows[j].

        Raises:
            Rejected: One is no such sketch; nothing has joined.
        """
        which = checked(rows, len(state), len(sketches))
        found = [read_sketch(self.lg_k, sketch) for sketch in sketches]
        whole = [registers for _, registers in found if len(registers)]
        dense = np.array([len(registers) > 0 for _, registers in found], np.bool_)
        held = np.array([len(coupons) for coupons, _ in found], np.int64)
        loaded = self.restored(
            dense,
            np.zeros(len(found), np.int64),
            np.zeros(0, np.int64),
            np.concatenate([np.zeros(0, np.uint8), *whole]),
        )
        self.add_coupons(
            loaded,
            np.repeat(np.arange(len(found)), held),
            np.concatenate([np.zeros(0, np.int64), *(coupons for coupons, _ in found)]),
        )
        self.merge(state, which, loaded, np.arange(len(found)))
