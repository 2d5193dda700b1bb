"""Steps that send rows to the task of their key, and steps there: enrichment, own operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from streams.event_time.windows import EARLIEST
from streams.operators.batch import Batch, Clock
from streams.operators.frames import (
    Frame,
    decode_columns,
    encode_columns,
    split_by_partition,
    to_partition,
)
from streams.operators.keys import pack
from streams.operators.stage import Blocks, Returned, Stage, no_rows, replaced_by
from streams.operators.tables import TableStore
from streams.queries.questions import Part, Question
from streams.queries.reading import read_bytes, read_table
from streams.schema import Schema, Type, time
from streams.task.outputs import Outputs
from streams.task.processor import OutputRecord
from streams.values import I64, Bools, Values

TIMES = "__time"
BEFORE = "__before"
_HIDDEN = Schema({TIMES: time, BEFORE: time})
_ROWS = 16_384  # of one frame


class SendRows(Stage):
    """Rows go to the partition of their key, with the time and the watermark they came with."""

    def __init__(
        self, name: str, schema: Schema, keys: Sequence[str], source: str, topic: str, count: int
    ) -> None:
        super().__init__(name)
        self._schema = schema
        self._keys = tuple(keys)
        self._source = source
        self._topic = topic
        self._partitions = count
        self._waiting: list[Batch] = []
        self._before: list[I64] = []
        self._now = EARLIEST
        self._told = EARLIEST

    def take(self, batch: Batch, clock: Clock) -> None:
        if len(batch):
            self._waiting.append(batch)
            self._before.append(clock.before[batch.records])
        if len(clock.after):
            self._now = int(clock.after[-1])

    def flush(self, out: Outputs) -> None:
        if self._waiting:
            batch = Batch.join(self._waiting, self._schema)
            columns = {**batch.columns, TIMES: Values(time, batch.times)}
            columns[BEFORE] = Values(time, np.concatenate(self._before))
            keys = [batch.columns[name] for name in self._keys]
            shares = split_by_partition(pack(keys, len(batch)).hashes(), self._partitions)
            for partition, rows in enumerate(shares):
                for first in range(0, len(rows), _ROWS):
                    chosen = rows[first : first + _ROWS]
                    body = encode_columns({n: v.take(chosen) for n, v in columns.items()})
                    frame = Frame("rows", self.name, self._source, self._told, body=body)
                    out += [to_partition(self._topic, partition, frame)]
            self._waiting, self._before = [], []
        if self._now > self._told:
            self._told = self._now
            mark = Frame("mark", self.name, self._source, self._now)
            out += [to_partition(self._topic, p, mark) for p in range(self._partitions)]

    def facts(self) -> dict[str, Any]:
        assert not self._waiting, "outputs are handed over before a snapshot"
        return {"now": self._now, "told": self._told}

    def restore(self, facts: dict[str, Any]) -> None:
        self._now, self._told = facts["now"], facts["told"]


class Arrival(Stage):
    """Where rows of `SendRows` come in: their sources' clocks, the slowest of which closes."""

    def __init__(self, name: str, schema: Schema, sources: Sequence[str]) -> None:
        super().__init__(name)
        self._schema = schema
        self._until = dict.fromkeys(sources, EARLIEST)

    def receive(self, frame: Frame) -> None:
        """Rows, or how far a source has come."""
        low = min(self._until.values())
        if frame.kind == "mark":
            self._until[frame.source] = max(self._until[frame.source], frame.until)
            after = min(self._until.values())
            if after > low:
                clock = Clock(np.array([low], np.int64), np.array([after], np.int64))
                self.hand_on(no_rows(self._schema), clock)
            return
        columns = decode_columns(frame.body, self._schema | _HIDDEN)
        times, before = columns.pop(TIMES).numbers, columns.pop(BEFORE).numbers
        records = np.zeros(len(before), np.int64)
        np.cumsum(np.diff(before) != 0, out=records[1:])
        firsts = np.flatnonzero(np.diff(records, prepend=-1))
        clock = Clock(before[firsts], np.full(len(firsts), low, np.int64))
        self.hand_on(Batch(columns, times, records), clock)

    def facts(self) -> dict[str, Any]:
        return {"until": self._until}

    def restore(self, facts: dict[str, Any]) -> None:
        self._until = facts["until"]

    def stats(self) -> dict[str, Any]:
        return {"slowest": min(self._until, key=lambda source: self._until[source])}


class SendTable(Stage):
    """Changes of a table go to the partition of their key, or, of a global one, to all."""

    def __init__(
        self, name: str, keys: Sequence[str], source: str, topic: str, count: int, everywhere: bool
    ) -> None:
        super().__init__(name)
        self._keys = tuple(keys)
        self._source = source
        self._topic = topic
        self._partitions = count
        self._everywhere = everywhere
        self._out: list[OutputRecord] = []

    def change(self, columns: Mapping[str, Values], deleted: Bools) -> None:
        """Rows of the table as they come, and which of them are tombstones."""
        n = len(deleted)
        if self._everywhere:
            shares: Sequence[I64] = [np.arange(n)] * self._partitions
        else:
            hashes = pack([columns[name] for name in self._keys], n).hashes()
            shares = split_by_partition(hashes, self._partitions)
        for partition, rows in enumerate(shares):
            for alive, chosen in _runs(deleted, rows):
                body = encode_columns({name: v.take(chosen) for name, v in columns.items()})
                frame = Frame("table", self.name, self._source, tag=int(not alive), body=body)
                self._out.append(to_partition(self._topic, partition, frame))

    def ready(self) -> list[OutputRecord]:
        """The word that this source was read to its end."""
        said = Frame("ready", self.name, self._source)
        return [to_partition(self._topic, p, said) for p in range(self._partitions)]

    def flush(self, out: Outputs) -> None:
        out += self._out
        self._out = []


def _runs(deleted: Bools, rows: I64) -> list[tuple[bool, I64]]:
    """The rows cut where changes and tombstones alternate, and where a frame is full."""
    found: list[tuple[bool, I64]] = []
    cuts = np.flatnonzero(np.diff(deleted[rows])) + 1
    for part in np.split(rows, cuts):
        for first in range(0, len(part), _ROWS):
            chosen = part[first : first + _ROWS]
            found.append((not bool(deleted[chosen[0]]), chosen))
    return found


class Enrich(Stage):
    """Rows get the columns of a table's row of their key: `inner`, or null where there is none."""

    def __init__(
        self,
        name: str,
        feed: str,
        on: Mapping[str, str],
        keys: Mapping[str, Type],
        values: Mapping[str, Type],
        inner: bool,
    ) -> None:
        super().__init__(name)
        self.feed = feed
        self.table = TableStore(keys, values)
        self._schema = Schema({**keys, **values})
        self._on = dict(on)  # the table's key -> the stream's column
        self._keys = tuple(keys)
        self._inner = inner
        self._chunks = 0

    def change(self, frame: Frame) -> None:
        """Rows of the table, or tombstones."""
        columns = decode_columns(frame.body, self._schema)
        n = len(columns[self._keys[0]])
        self.table.update(columns, np.full(n, frame.tag == 1))

    def take(self, batch: Batch, clock: Clock) -> None:
        keys = [batch.columns[self._on[key]] for key in self._keys]
        found, values = self.table.look_up(keys, len(batch))
        made = batch.replaced({**batch.columns, **values})
        kept = found.all() or not self._inner
        self.hand_on(made if kept else made.take(np.flatnonzero(found)), clock)

    def blocks(self) -> Blocks:
        return self.table.blocks()

    def load(self, key: bytes, data: bytes) -> None:
        self.table.load(data)
        self._chunks = max(self._chunks, int.from_bytes(key, "big") + 1)

    def restore(self, facts: dict[str, Any]) -> None:
        self.table.loaded(self._chunks)

    def read(self, question: Question) -> Part:
        return read_table(self.table, question)

    def stats(self) -> dict[str, Any]:
        return self.table.stats()


class Store:
    """What an operator of a user's keeps: byte strings by key, in this task alone."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._changed: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None: there is none."""
        return self._rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a value."""
        self._rows[key] = value
        self._changed.add(key)

    def delete(self, key: bytes) -> None:
        """Forget a key."""
        if self._rows.pop(key, None) is not None:
            self._changed.add(key)

    def items(self) -> list[tuple[bytes, bytes]]:
        """All that is there, in the order of keys."""
        return sorted(self._rows.items())

    def keys(self) -> list[bytes]:
        """All keys, in no order."""
        return list(self._rows)

    def blocks(self) -> Blocks:
        """What changed since the last call."""
        for key in sorted(self._changed):
            yield key, self._rows.get(key)
        self._changed.clear()

    def load(self, key: bytes, value: bytes) -> None:
        """A block of `blocks`."""
        self._rows[key] = value

    def __len__(self) -> int:
        return len(self._rows)


class Operator(Protocol):
    """An operator of a user's: a function of the rows of its partition and of its store.

    What it returns and keeps must not depend on how rows are cut into batches.
    """

    def process(self, columns: Mapping[str, Values], store: Store) -> Returned:
        """The rows that come of these; see `Returned`."""
        ...


class Process(Stage):
    """Runs an operator of a user's."""

    def __init__(self, name: str, operator: Operator, schema: Schema) -> None:
        super().__init__(name)
        self.store = Store()
        self._operator = operator
        self._schema = schema

    def take(self, batch: Batch, clock: Clock) -> None:
        if len(batch):
            returned = self._operator.process(batch.columns, self.store)
            made = replaced_by(returned, batch, self._schema, self.name)
        else:
            made = no_rows(self._schema)
        self.hand_on(made, clock)

    def blocks(self) -> Blocks:
        return self.store.blocks()

    def load(self, key: bytes, data: bytes) -> None:
        self.store.load(key, data)

    def read(self, question: Question) -> Part:
        return read_bytes(self.store, question)

    def stats(self) -> dict[str, Any]:
        return {"keys": len(self.store)}
