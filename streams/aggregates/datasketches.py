"""Sketches as Apache DataSketches stores them: HLL, serial version 1.

Layout, little endian, of the preamble: length in words of 4 bytes, serial version, family, lg_k,
log2 of an array's length, flags, count of a list or the least register, mode and type. A list or a
set of coupons follows; or the estimator's numbers and the registers. Read from the description in
the C++ and Java sources of Apache DataSketches.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates.port import I64
from streams.errors import Rejected
from streams.kernels.hyperloglog import LARGEST

_VERSION = 1
_FAMILY = 7
_EMPTY = 4
_COMPACT = 8
_OUT_OF_ORDER = 16  # no estimate by order of arrival is kept: the reader estimates from registers
_LIST, _SET, _HLL = 0, 1, 2
_HLL_4, _HLL_6, _HLL_8 = 0, 1, 2
_HEAD = struct.Struct("<8B")
_ESTIMATOR = struct.Struct("<dddII")  # HIP, sums of 2**-register below and from 32 on, counts
_LIST_LENGTH = 8

U8 = npt.NDArray[np.uint8]


def hll_8_of_coupons(lg_k: int, coupons: I64) -> bytes:
    """A compact sketch of a few coupons, which are distinct and at most `coupon_limit`."""
    count = len(coupons)
    body = coupons.astype("<u4").tobytes()
    if count < _LIST_LENGTH:
        flags = _COMPACT | (0 if count else _EMPTY)
        return _HEAD.pack(2, _VERSION, _FAMILY, lg_k, 3, flags, count, _LIST | _HLL_8 << 2) + body
    bits = 5
    while 4 * count > 3 << bits:
        bits += 1
    head = _HEAD.pack(
        3, _VERSION, _FAMILY, lg_k, bits, _COMPACT | _OUT_OF_ORDER, 0, _SET | _HLL_8 << 2
    )
    return head + struct.pack("<I", count) + body


def hll_8_of_registers(lg_k: int, registers: U8) -> bytes:
    """A compact sketch of registers u8[2**lg_k]."""
    tally = np.bincount(registers, minlength=64).tolist()
    low = sum(count * 2.0**-value for value, count in enumerate(tally[:32]))
    high = sum(count * 2.0**-value for value, count in enumerate(tally[32:], 32))
    head = _HEAD.pack(
        10, _VERSION, _FAMILY, lg_k, 0, _COMPACT | _OUT_OF_ORDER, 0, _HLL | _HLL_8 << 2
    )
    return head + _ESTIMATOR.pack(0.0, low, high, tally[0], 0) + registers.tobytes()


def read_sketch(lg_k: int, data: bytes) -> tuple[I64, U8]:
    """The coupons and the registers u8[2**lg_k] (or u8[0]) of a sketch of lg_k or more, any type.

    Registers of a larger sketch are folded: the slots that share their lower lg_k bits.

    Raises:
        Rejected: The bytes are no HLL sketch of this serial version, or of a smaller lg_k.
    """
    none = np.zeros(0, np.int64), np.zeros(0, np.uint8)
    try:
        words, version, family, theirs, array_bits, flags, count, kind = _HEAD.unpack_from(data)
        if (version, family) != (_VERSION, _FAMILY) or words != (2, 3, 10)[kind & 3]:
            raise Rejected("hll-sketch", "the bytes are no HLL sketch of serial version 1")
        if not lg_k <= theirs <= 21:
            raise Rejected("hll-lg-k", f"a sketch of lg_k {theirs} does not join one of {lg_k}")
        if flags & _EMPTY:
            return none
        if kind & 3 != _HLL:
            start = 8 if kind & 3 == _LIST else 12
            if kind & 3 == _SET:
                (count,) = struct.unpack_from("<I", data, 8)
            size = count if flags & _COMPACT else 1 << array_bits
            found = np.frombuffer(data, "<u4", size, start).astype(np.int64)
            found = found[found != 0]
            _values(found >> 26, 1)
            return found, none[1]
        registers = _registers(theirs, kind >> 2 & 3, count, flags, array_bits, data)
        _values(registers, 0)
    except (struct.error, ValueError, IndexError, OverflowError):
        raise Rejected("hll-sketch", "an HLL sketch is cut short or damaged") from None
    return none[0], registers.reshape(-1, 1 << lg_k).max(axis=0)


def _values(values: npt.NDArray[Any], least: int) -> None:
    """ValueError: one is none that a hash can have."""
    if len(values) and not least <= int(values.min()) <= int(values.max()) <= LARGEST:
        raise ValueError("a value is none")


def _registers(lg_k: int, kind: int, least: int, flags: int, array_bits: int, data: bytes) -> U8:
    """The registers of a sketch with these fields of its preamble."""
    k = 1 << lg_k
    if kind == _HLL_8:
        return (np.frombuffer(data, np.uint8, k, 40) & 63).astype(np.uint8)
    if kind == _HLL_6:
        packed = np.frombuffer(data, np.uint8, k * 3 // 4, 40)
        bits = np.unpackbits(packed, bitorder="little").reshape(k, 6)
        return (bits << np.arange(6, dtype=np.uint8)).sum(axis=1).astype(np.uint8)
    pairs = np.frombuffer(data, np.uint8, k // 2, 40)
    found = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(k).astype(np.uint8)
    exceptions = found == 15
    found += np.uint8(least)
    (count,) = struct.unpack_from("<I", data, 36)
    size = count if flags & _COMPACT else (1 << array_bits if count else 0)
    apart = np.frombuffer(data, "<u4", size, 40 + k // 2)
    apart = apart[apart != 0]
    slots = (apart & ((1 << 26) - 1)) & (k - 1)
    if len(apart) != count or not np.array_equal(np.sort(slots), np.flatnonzero(exceptions)):
        raise ValueError("exceptions")
    found[slots] = apart >> 26
    return found
