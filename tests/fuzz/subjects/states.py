"""State as restores read it: states of aggregates, blocks of streams.

There is no other reader of these; but they have one spelling, so what is accepted is what the
encoder writes again. Damage does not pass their checksums, so half of it has its checksum mended.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import cramjam
import numpy as np

from streams.aggregates import families, made, names
from streams.aggregates.datasketches import read_sketch
from streams.aggregates.distinct import DistinctCount
from streams.aggregates.encoding import UnreadableState
from streams.aggregates.promises import world
from streams.batch import BytesColumn
from streams.errors import Rejected
from tests.fuzz.subject import Outcome, shown
from tests.fuzz.subjects.otlp import requests
from topologies.encodings.otlp import Scanner
from topologies.identity import SeriesTable

_PARAMETERS = {
    "quantile": "0.95", "distinct_count": "6", "top_k": "3", "explicit_histogram": "[1.0,2.5]",
    "exponential_histogram": "20",
}  # fmt: skip


class AggregateStates:
    """`decode` of every aggregate; the first byte says whose."""

    def __init__(self) -> None:
        every = [*names(), *(f"{name}({_PARAMETERS[name]})" for name in families())]
        self._aggregates = [made(spelling) for spelling in every]

    def corpus(self) -> list[bytes]:
        found: list[bytes] = []
        for number, aggregate in enumerate(self._aggregates):
            for seed in range(2):
                given = world(seed, 4)
                state = given.whole(aggregate)
                found.append(bytes([number]) + aggregate.encode(state))
            found.append(bytes([number]) + aggregate.encode(aggregate.empty(0)))
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for at, message in enumerate(messages):
            if not message:
                continue
            aggregate: Any = self._aggregates[message[0] % len(self._aggregates)]
            data = _sealed(message[1:]) if at % 2 else message[1:]
            try:
                state = aggregate.decode(data)
            except (UnreadableState, Rejected):
                continue
            accepted += 1
            try:
                aggregate.finish(state)
            except ValueError:
                continue  # a checksum was mended over sums that cannot be
            again = aggregate.encode(state)
            if again != data and aggregate.encode(aggregate.decode(again)) != again:
                differences.append(shown(data, again, "the encoder does not write it again"))
        return Outcome(accepted, differences)


def _sealed(data: bytes) -> bytes:
    """With a checksum as `streams.aggregates.pooled.seal` puts it, where there was one."""
    if data[-12:-4] != struct.pack("<Q", 4):
        return data
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-12]))


class SeriesBlocks:
    """`SeriesTable.load`: the streams of a task."""

    def __init__(self) -> None:
        self._scanner = Scanner(b"a key of 16 bytes or more", points=1 << 10, size=1 << 16)

    def _table(self, count: int) -> SeriesTable:
        series = SeriesTable()
        messages = requests()[:count]
        series.resolve(self._scanner.scan(messages, ["acme"] * len(messages)))
        return series

    def corpus(self) -> list[bytes]:
        found = [b"".join(self._table(count).export_new(0)) for count in (1, 2, 4, 12)]
        return [*found, *(each for block in found for each in (_plain(block),) * 3)]

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for at, message in enumerate(messages):
            data = _checked(message) if at % 2 else message
            series = SeriesTable()
            try:
                series.load([data])
            except ValueError:
                continue
            accepted += 1
            again = b"".join(series.export_new(0))
            if data == message and _plain(again) != _plain(data):
                differences.append(shown(data, again, "other blocks are written"))
        return Outcome(accepted, differences)


_HEAD_SIZE = struct.calcsize("<4s4I16II")


def _plain(block: bytes) -> bytes:
    """As releases before wrote it: parts that are not squeezed lie open to damage."""
    if block[:4] == b"TMS1":
        return block
    return _checked(
        b"TMS1" + block[4:_HEAD_SIZE] + bytes(cramjam.zstd.decompress(block[_HEAD_SIZE:]))
    )


def _checked(message: bytes) -> bytes:
    if len(message) < _HEAD_SIZE:
        return message
    crc = struct.pack("<I", zlib.crc32(message[_HEAD_SIZE:]))
    return message[: _HEAD_SIZE - 4] + crc + message[_HEAD_SIZE:]


_LG_K = 4


class Sketches:
    """HLL sketches of Apache DataSketches that join a distinct count."""

    def __init__(self) -> None:
        self._aggregate = DistinctCount(lg_k=_LG_K)

    def corpus(self) -> list[bytes]:
        found: list[bytes] = []
        for seed in range(4):
            state = self._aggregate.empty(1)
            given = world(seed, (1, 2, 12, 200)[seed])
            self._aggregate.add(state, np.zeros(len(given.rows), np.int64), given.points)
            found += self._aggregate.sketches(state)
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                coupons, registers = read_sketch(_LG_K, message)
            except Rejected:
                continue
            accepted += 1
            try:
                theirs: Any = _by_hand(message)
            except (IndexError, ValueError, struct.error) as error:
                theirs = f"refused: {error!r}"
            ours = (coupons.tolist(), registers.tolist())
            if ours != theirs:
                differences.append(shown(message, ours, theirs))
            state = self._aggregate.empty(1)
            self._aggregate.add_sketches(state, np.zeros(1, np.int64), BytesColumn.of([message]))
        return Outcome(accepted, differences)


def _by_hand(data: bytes) -> tuple[list[int], list[int]]:
    """A byte at a time, by the layout's description."""
    lg_k, flags, kind = data[3], data[5], data[7] & 3
    if flags & 4:
        return [], []
    compact = bool(flags & 8)
    if kind != 2:
        at = 8 if kind == 0 else 12
        count = data[6] if kind == 0 else struct.unpack_from("<I", data, 8)[0]
        size = count if compact else 1 << data[4]
        every = [struct.unpack_from("<I", data, at + 4 * i)[0] for i in range(size)]
        return [each for each in every if each], []
    target, k = data[7] >> 2 & 3, 1 << lg_k
    values = [_register(data, target, slot, k) for slot in range(k)]
    if target == 0:
        (count,) = struct.unpack_from("<I", data, 36)
        size = count if compact else (1 << data[4] if count else 0)
        for i in range(size):
            (coupon,) = struct.unpack_from("<I", data, 40 + k // 2 + 4 * i)
            if coupon:
                values[coupon & (k - 1)] = coupon >> 26
    folded = [max(values[slot :: 1 << _LG_K]) for slot in range(1 << _LG_K)]
    return [], folded


def _register(data: bytes, target: int, slot: int, k: int) -> int:
    if target == 2:
        return data[40 + slot] & 63
    if target == 1:
        bits = int.from_bytes(data[40 : 40 + k * 3 // 4], "little")
        if len(data) < 40 + k * 3 // 4:
            raise ValueError("cut short")
        return bits >> 6 * slot & 63
    nibble = data[40 + slot // 2] >> 4 * (slot % 2) & 15
    return nibble + data[6] & 255
