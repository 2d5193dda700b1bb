"""Answers from the state of one task. Nothing here changes it; a turn looks at so many groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streams.operators.groups import Aggregation, Groups
from streams.operators.keys import PackedKeys
from streams.operators.panes import Panes
from streams.operators.tables import TableStore
from streams.queries.questions import (
    GROUPS_A_TURN,
    LAST_HASH,
    Part,
    Place,
    Question,
    Row,
    Window,
    retired,
)
from streams.schema import Type
from streams.values import Values

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


def read_windows(
    panes: Panes,
    keys: Mapping[str, Type],
    aggregations: Sequence[Aggregation],
    question: Question,
) -> Part:
    """The windows of a question, as far as this task has them, in the order of their ends."""
    reader = _Reader(keys, aggregations, question)
    first = max(question.after, retired(panes.windows, panes.closed))
    for end, revision, parts in panes.held(first, question.until):
        if question.behind is not None and end < question.behind[0] + (question.key is not None):
            continue
        if reader.spent(end, len(parts)):
            break
        reader.look(end, revision, parts)
        if reader.reached is not None:
            break
    return Part(reader.windows, reached=reader.reached, closed=panes.closed)


def read_totals(
    groups: Groups, keys: Mapping[str, Type], aggregations: Sequence[Aggregation], q: Question
) -> Part:
    """Groups of all time."""
    reader = _Reader(keys, aggregations, q)
    reader.look(0, 0, [groups])
    return Part(reader.windows, reached=reader.reached)


class _Reader:
    """Collects states until the limit, or until it has looked at enough."""

    def __init__(
        self, keys: Mapping[str, Type], aggregations: Sequence[Aggregation], question: Question
    ) -> None:
        self.windows: list[Window] = []
        self.reached: Place | None = None
        self._keys = keys
        self._aggregations = aggregations
        self._question = question
        self._left = question.limit
        self._looks = GROUPS_A_TURN

    def spent(self, end: int, parts: int) -> bool:
        """Whether no more can be looked at in this turn; else it is noted that parts will be."""
        if self._looks > 0 and self._left > 0:
            self._looks -= parts
            return False
        self.reached = (end - 1, LAST_HASH)
        return True

    def look(self, end: int, revision: int, parts: Sequence[Groups]) -> None:
        """Take what is wanted of a window."""
        found = Groups(self._aggregations)
        key = self._question.key
        if key is not None:
            wanted = PackedKeys(np.frombuffer(key, np.uint8).copy(), np.array([0, len(key)]))
            for part in parts:
                slots = part.index.find(wanted)
                if slots[0] >= 0:
                    found.merge(part, slots)
        else:
            behind = self._question.behind
            low = behind[1] if behind is not None and behind[0] == end else None
            hashes = self._next_hashes([part.index.hashes() for part in parts], low)
            if hashes is not None:
                self.reached = (end, int(hashes))
            for part in parts:
                found.merge(part, self._chosen(part, low, hashes))
        if len(found):
            self._left -= len(found)
            self.windows.append(Window(end, revision, found.encode(np.arange(len(found)))))

    def _next_hashes(self, hashes: list[U64], low: int | None) -> np.uint64 | None:
        """The last hash that is looked at; None: all of them are."""
        room = max(1, self._looks if self._question.where else min(self._left, self._looks))
        whole = np.concatenate(hashes)
        left = whole if low is None else whole[whole > np.uint64(low)]
        self._looks -= min(len(left), room)
        return None if len(left) <= room else np.partition(left, room - 1)[room - 1]

    def _chosen(self, part: Groups, low: int | None, high: np.uint64 | None) -> I64:
        """The slots with hashes in (low, high] that have the values that are asked for."""
        hashes = part.index.hashes()
        kept = np.ones(len(hashes), np.bool_)
        if low is not None:
            kept &= hashes > np.uint64(low)
        if high is not None:
            kept &= hashes <= high
        slots = np.flatnonzero(kept)
        if self._question.where:
            columns = part.index.columns(slots, self._keys)
            slots = slots[list(_matches(columns, self._question.where, len(slots)))]
        return slots


def _matches(columns: Mapping[str, Values], where: Mapping[str, Any], count: int) -> Iterator[int]:
    """The rows that have these values."""
    lists = [(columns[name].to_list(), value) for name, value in where.items()]
    return (at for at in range(count) if all(given[at] == value for given, value in lists))


def read_table(table: TableStore, question: Question) -> Part:
    """Rows of a table by key, or in the order of their hashes."""
    if question.key is not None:
        key = question.key
        wanted = PackedKeys(np.frombuffer(key, np.uint8).copy(), np.array([0, len(key)]))
        return Part(rows=_rows(table, table.find(wanted)))
    slots, hashes = table.live()
    if question.behind is not None:
        kept = hashes > np.uint64(question.behind[1])
        slots, hashes = slots[kept], hashes[kept]
    room = GROUPS_A_TURN if question.where else min(question.limit, GROUPS_A_TURN)
    reached: Place | None = None
    if len(slots) > room:
        last = np.partition(hashes, room - 1)[room - 1]
        slots, reached = slots[hashes <= last], (0, int(last))
    if question.where:
        columns = table.columns(slots)
        slots = slots[list(_matches(columns, question.where, len(slots)))]
    return Part(rows=_rows(table, slots), reached=reached)


def _rows(table: TableStore, slots: I64) -> list[Row]:
    lists = {name: values.to_list() for name, values in table.columns(slots).items()}
    hashes = table.hashes(slots).tolist()
    return [
        Row(hashes[at], {name: given[at] for name, given in lists.items()})
        for at in range(len(slots))
    ]


class Bytes(Protocol):
    """Byte strings by key."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None: there is none."""
        ...

    def keys(self) -> list[bytes]:
        """All keys."""
        ...


def read_bytes(store: Bytes, question: Question) -> Part:
    """What an operator of a user's keeps. To look through it takes time by its size."""
    keys = store.keys() if question.key is None else [question.key]
    ends = np.cumsum([0, *(len(key) for key in keys)])
    hashes = PackedKeys(np.frombuffer(b"".join(keys), np.uint8).copy(), ends).hashes().tolist()
    low = -1 if question.behind is None else question.behind[1]
    wanted = sorted((h, key) for h, key in zip(hashes, keys, strict=True) if h > low)
    reached: Place | None = None
    if len(wanted) > question.limit:
        last = wanted[question.limit - 1][0]
        wanted, reached = [each for each in wanted if each[0] <= last], (0, last)
    found = ((h, key, store.get(key)) for h, key in wanted)
    rows = [Row(h, {"key": key, "value": value}) for h, key, value in found if value is not None]
    return Part(rows=rows, reached=reached)
