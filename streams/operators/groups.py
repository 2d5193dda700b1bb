"""Keyed rows of aggregates' states: what an aggregation keeps of one window, or of all time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streams.aggregates.encoding import pack, unpack
from streams.aggregates.port import Aggregate, Points
from streams.batch import Array
from streams.kernels.rows import IS_INTEGER
from streams.operators.keys import KeyIndex, PackedKeys
from streams.schema import Type
from streams.values import Values, values_of

I64 = npt.NDArray[np.int64]

CHUNK_BITS = 10
CHUNK = 1 << CHUNK_BITS  # groups a block
_NAME, _VERSION = "groups", 1


@dataclass(frozen=True, slots=True)
class Aggregation:
    """An aggregate of a column, under a name; column None: of the rows themselves."""

    name: str
    aggregate: Aggregate[Any]
    column: str | None
    result: Type

    def add(self, state: Any, slots: I64, columns: Mapping[str, Values], times: I64) -> None:
        """Row j of the columns joins row slots[j]; rows without a value join nothing."""
        zeros = np.zeros(len(slots), np.int64)
        if self.column is None:
            metas = np.full(len(slots), IS_INTEGER, np.uint8)
            self.aggregate.add(state, slots, Points(times, zeros, zeros, metas))
            return
        values = columns[self.column]
        if values.valid is not None:
            there = np.flatnonzero(values.valid)
            values, slots, times = values.take(there), slots[there], times[there]
        if values.type.is_text:
            strings: Any = self.aggregate
            strings.add_strings(state, slots, values.texts)
            return
        self.aggregate.add(state, slots, points_of(values.numbers, times))

    def finish(self, state: Any) -> Values:
        """A column of the results."""
        found = self.aggregate.finish(state)
        if self.result.kind == "i64":
            return Values(self.result, np.asarray(found).astype(np.int64))
        if self.result.kind == "f64":
            return Values(self.result, np.asarray(found, np.float64))
        entries = [msgspec.json.encode(found[i]) for i in range(len(found))]
        return values_of(self.result, entries)


def points_of(numbers: Array, times: I64) -> Points:
    """Values as aggregates take them."""
    if numbers.dtype == np.float64:
        raws, meta = np.ascontiguousarray(numbers).view(np.int64), 0
    else:
        raws, meta = numbers.astype(np.int64), IS_INTEGER
    count = len(raws)
    metas = np.full(count, meta, np.uint8)
    return Points(np.ascontiguousarray(times), np.zeros(count, np.int64), raws, metas)


def distinct(numbers: I64, below: int) -> I64:
    """The different numbers among 0..below-1, ascending (NumPy's unique sorts or hashes)."""
    there = np.zeros(below, np.bool_)
    there[numbers] = True
    return np.flatnonzero(there)


class Groups:
    """Groups by key, each with a row in the state of every aggregate.

    `saved`: how many chunks of it are in the last snapshot; `changed`: the chunks that differ.
    """

    def __init__(self, aggregations: Sequence[Aggregation]) -> None:
        self.index = KeyIndex()
        self.saved = 0
        self.changed: set[int] = set()
        self._aggregations = tuple(aggregations)
        self._room = 16
        self._states = [each.aggregate.empty(self._room) for each in self._aggregations]

    def __len__(self) -> int:
        return len(self.index)

    def slots(self, keys: PackedKeys) -> I64:
        """i64[n]: the rows of these keys, with room for the new ones; they count as changed."""
        found = self._slots(keys)
        if len(self.index) <= CHUNK:
            self.changed.add(0)
        else:
            self.changed.update(distinct(found >> CHUNK_BITS, len(self.index)).tolist())
        return found

    def add(self, slots: I64, columns: Mapping[str, Values], times: I64) -> None:
        """Row j of the columns joins group slots[j]."""
        for each, state in zip(self._aggregations, self._states, strict=True):
            each.add(state, slots, columns, times)

    def merge(self, other: Groups, theirs: I64 | None = None) -> I64:
        """Groups of another join those of their key; the slots they have here."""
        chosen = np.arange(len(other)) if theirs is None else theirs
        slots = self.slots(other.index.picked(chosen))
        each = zip(self._aggregations, self._states, other._states, strict=True)
        for aggregation, mine, yours in each:
            aggregation.aggregate.merge(mine, slots, yours, chosen)
        return slots

    def finish(self, slots: I64, keys: Mapping[str, Type]) -> dict[str, Values]:
        """The columns of these groups: keys, then results."""
        found = self.index.columns(slots, keys)
        for each, state in zip(self._aggregations, self._states, strict=True):
            chosen = each.aggregate.empty(len(slots))
            each.aggregate.merge(chosen, np.arange(len(slots)), state, slots)
            found[each.name] = each.finish(chosen)
        return found

    def in_order(self) -> I64:
        """All slots in an order that the set of keys decides: that of their hashes."""
        return np.argsort(self.index.hashes(), kind="stable")

    def encode(self, slots: I64) -> bytes:
        """These groups as bytes."""
        keys = self.index.picked(slots)
        parts = [keys.data.tobytes(), keys.offsets.astype("<i8").tobytes()]
        for each, state in zip(self._aggregations, self._states, strict=True):
            chosen = each.aggregate.empty(len(slots))
            each.aggregate.merge(chosen, np.arange(len(slots)), state, slots)
            parts.append(each.aggregate.encode(chosen))
        return pack(_NAME, _VERSION, len(slots), *parts)

    def absorb(self, data: bytes) -> I64:
        """Groups of `encode` join those of their key; the slots they have here.

        Raises:
            UnreadableState: The bytes are none of these aggregates, or of another version.
        """
        return self._join(data, self.slots)

    def load(self, data: bytes) -> None:
        """A chunk of `chunks`, as it was saved. Raises as `absorb`."""
        self._join(data, self._slots)

    def _slots(self, keys: PackedKeys) -> I64:
        found = self.index.slots(keys)
        if len(self.index) > self._room:
            self._grow(len(self.index))
        return found

    def _join(self, data: bytes, slots_of: Callable[[PackedKeys], I64]) -> I64:
        count = len(self._aggregations)
        _, (keys, offsets, *states) = unpack(_NAME, _VERSION, data, 2 + count)
        packed = PackedKeys(
            np.frombuffer(keys, np.uint8).copy(), np.frombuffer(offsets, "<i8").astype(np.int64)
        )
        slots = slots_of(packed)
        here = np.arange(len(slots))
        for each, mine, theirs in zip(self._aggregations, self._states, states, strict=True):
            each.aggregate.merge(mine, slots, each.aggregate.decode(theirs), here)
        return slots

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """(number, bytes) of the chunks that changed since the last call."""
        for chunk in sorted(self.changed):
            first = chunk << CHUNK_BITS
            yield chunk, self.encode(np.arange(first, min(first + CHUNK, len(self))))
        self.changed.clear()
        self.saved = (len(self) + CHUNK - 1) >> CHUNK_BITS

    def _grow(self, count: int) -> None:
        room = max(2 * self._room, count)
        kept = np.arange(self._room)
        for at, each in enumerate(self._aggregations):
            grown = each.aggregate.empty(room)
            each.aggregate.merge(grown, kept, self._states[at], kept)
            self._states[at] = grown
        self._room = room
