"""A table as a task keeps it: the latest row of every key; tombstones delete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.batch import Array, BytesColumn, decode_table, encode_table
from streams.kernels.gather import gather
from streams.operators.keys import KeyIndex, PackedKeys, pack, unpack
from streams.schema import Schema, Type
from streams.values import Bools, Values, from_table, masked, to_table

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

CHUNK_BITS = 10
_LEAST = 1024  # deleted keys that are kept before the table is made anew


class _Cells:
    """A column that is written at places."""

    def __init__(self, kind: Type) -> None:
        self._kind = kind
        self._valid = np.zeros(0, np.bool_)
        dtype = {"f64": np.float64, "bool": np.bool_}.get(kind.kind, np.int64)
        self._numbers: Array = np.zeros(0, dtype)  # of a string: where it begins
        self._sizes = np.zeros(0, np.int64)
        self._arena = np.zeros(0, np.uint8)
        self._used = 0

    def put(self, slots: I64, values: Values, room: int) -> None:
        """Row j is written at slots[j], each slot once."""
        self._grow(room)
        self._valid[slots] = values.is_valid()
        if not self._kind.is_text:
            self._numbers[slots] = values.numbers
            return
        offsets, data = values.texts.offsets, values.texts.data
        if self._used + len(data) > len(self._arena):
            self._collect(slots, len(data))
        self._arena[self._used : self._used + len(data)] = np.frombuffer(data, np.uint8)
        self._numbers[slots] = offsets[:-1] + self._used
        self._sizes[slots] = np.diff(offsets)
        self._used += len(data)

    def get(self, slots: I64) -> Values:
        """The rows at these places."""
        valid = self._valid[slots]
        if not self._kind.is_text:
            return masked(self._kind, self._numbers[slots], valid)
        return masked(self._kind, self._strings(slots), valid)

    def _strings(self, slots: I64) -> BytesColumn:
        ends = np.zeros(len(slots) + 1, np.int64)
        np.cumsum(self._sizes[slots], out=ends[1:])
        out = np.empty(int(ends[-1]), np.uint8)
        gather(self._arena, np.append(self._numbers, 0), np.array(slots, np.int64), ends, out)
        return BytesColumn(ends, out.tobytes())

    def _grow(self, room: int) -> None:
        more = room - len(self._valid)
        if more > 0:
            more = max(more, len(self._valid))
            self._valid = np.concatenate([self._valid, np.zeros(more, np.bool_)])
            self._numbers = np.concatenate([self._numbers, np.zeros(more, self._numbers.dtype)])
            self._sizes = np.concatenate([self._sizes, np.zeros(more, np.int64)])

    def _collect(self, written: I64, more: int) -> None:
        """Leave behind the strings that are written over, and make room."""
        self._sizes[written] = 0
        kept = self._strings(np.arange(len(self._sizes)))
        self._used = len(kept.data)
        self._numbers = kept.offsets[:-1].copy()
        self._arena = np.zeros(2 * (self._used + more) + 64, np.uint8)
        self._arena[: self._used] = np.frombuffer(kept.data, np.uint8)


class TableStore:
    """The rows of a table by key."""

    def __init__(self, keys: Mapping[str, Type], values: Mapping[str, Type]) -> None:
        self._keys = Schema(keys)
        self._schema = Schema(values)
        self._saved = 0
        self._changed: set[int] = set()
        self._clear()

    def _clear(self) -> None:
        self._index = KeyIndex()
        self._cells = {name: _Cells(kind) for name, kind in self._schema.items()}
        self._live = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return int(self._live.sum())

    def update(self, columns: Mapping[str, Values], deleted: Bools) -> None:
        """Rows replace those of their key, in their order; deleted ones leave none."""
        keys = pack([columns[name] for name in self._keys], len(deleted))
        self._put(keys, columns, deleted)
        dead = len(self._index) - len(self)
        if dead > _LEAST and 2 * dead > len(self._index):
            self._make_anew()

    def _put(self, keys: PackedKeys, columns: Mapping[str, Values], deleted: Bools) -> None:
        slots = self._index.slots(keys)
        # the last row of each key counts
        chosen, reverse = np.unique(slots[::-1], return_index=True)
        rows = len(slots) - 1 - reverse
        room = len(self._index)
        if room > len(self._live):
            grown = np.zeros(max(room, 2 * len(self._live)), np.bool_)
            grown[: len(self._live)] = self._live
            self._live = grown
        self._live[chosen] = ~deleted[rows]
        for name, cells in self._cells.items():
            cells.put(chosen, columns[name].take(rows), room)
        self._changed.update(np.unique(chosen >> CHUNK_BITS).tolist())

    def look_up(self, keys: list[Values], n: int) -> tuple[Bools, dict[str, Values]]:
        """Whether each of n keys is there, and its values; none where it is not, or is null."""
        slots = self._index.find(pack(keys, n))
        found = slots >= 0
        found[found] = self._live[slots[found]]
        for key in keys:
            found &= key.is_valid()
        at = np.where(found, slots, 0)
        made: dict[str, Values] = {}
        for name, cells in self._cells.items():
            if len(self._index):
                values = cells.get(at)
                made[name] = masked(values.type, values.data, values.is_valid() & found)
            else:
                made[name] = _nothing(self._schema[name], n)
        return found, made

    def find(self, keys: PackedKeys) -> I64:
        """The slots of those keys that have rows."""
        slots = self._index.find(keys)
        slots = slots[slots >= 0]
        return slots[self._live[slots]]

    def live(self) -> tuple[I64, U64]:
        """The slots that have rows, and the hashes of their keys."""
        slots = np.flatnonzero(self._live)
        return slots, self.hashes(slots)

    def hashes(self, slots: I64) -> U64:
        """u64[n]: the hashes of the keys at these slots."""
        return self._index.hashes()[slots]

    def columns(self, slots: I64) -> dict[str, Values]:
        """The rows at these slots: keys and values."""
        return self._index.columns(slots, self._keys) | self._columns(slots)

    def _make_anew(self) -> None:
        """Forget the deleted keys."""
        live = np.flatnonzero(self._live)
        keys, columns = self._index.picked(live), self._columns(live)
        self._clear()
        self._changed.clear()
        self._put(keys, columns, np.zeros(len(live), np.bool_))

    def _columns(self, slots: I64) -> dict[str, Values]:
        return {name: cells.get(slots) for name, cells in self._cells.items()}

    def rows(self) -> dict[str, Values]:
        """All rows: keys and values."""
        return self.columns(np.flatnonzero(self._live))

    def blocks(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What changed since the last call; None: is no more."""
        count = (len(self._index) + (1 << CHUNK_BITS) - 1) >> CHUNK_BITS
        for chunk in sorted(self._changed):
            first = chunk << CHUNK_BITS
            slots = np.arange(first, min(first + (1 << CHUNK_BITS), len(self._index)))
            slots = slots[self._live[slots]]
            keys = unpack(*_packed(self._index.picked(slots)), self._keys)
            made = encode_table(to_table(keys | self._columns(slots)))
            yield chunk.to_bytes(4, "big"), made if len(slots) else None
        yield from ((chunk.to_bytes(4, "big"), None) for chunk in range(count, self._saved))
        self._changed.clear()
        self._saved = count

    def load(self, data: bytes) -> None:
        """A block of `blocks`, in any order."""
        columns = from_table(decode_table(data), self._keys | self._optional())
        n = len(next(iter(columns.values())))
        self.update(columns, np.zeros(n, np.bool_))

    def loaded(self, chunks: int) -> None:
        """All blocks were loaded, the highest being chunks - 1: all is to be written anew."""
        count = (len(self._index) + (1 << CHUNK_BITS) - 1) >> CHUNK_BITS
        self._saved = max(chunks, count)
        self._changed = set(range(count))

    def _optional(self) -> dict[str, Type]:
        return {name: kind.optional for name, kind in self._schema.items()}

    def stats(self) -> dict[str, Any]:
        """Figures for people."""
        return {"rows": len(self)}


def _packed(keys: PackedKeys) -> tuple[npt.NDArray[np.uint8], I64]:
    return keys.data, keys.offsets[:-1]


def _nothing(kind: Type, n: int) -> Values:
    zeros = np.zeros(n, np.bool_)
    if kind.is_text:
        return Values(kind, BytesColumn(np.zeros(n + 1, np.int64), b""), zeros if n else None)
    dtype = {"f64": np.float64, "bool": np.bool_}.get(kind.kind, np.int64)
    return Values(kind, np.zeros(n, dtype), zeros if n else None)
