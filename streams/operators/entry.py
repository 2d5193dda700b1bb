"""Where a task's records come in: a topic of others', a table's, or an internal one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from streams.codecs.port import Codec, Decoded, Refused, placeholder
from streams.errors import UNREADABLE_JSON, Rejected
from streams.event_time.windows import EARLIEST
from streams.operators.batch import I64, Batch, Clock
from streams.operators.frames import Frame, decode_frame, encode_frame
from streams.operators.running import RunningMerge
from streams.operators.stage import Blocks, Stage
from streams.operators.travel import Arrival, Enrich, SendTable
from streams.operators.windowed import WindowMerge
from streams.task.dead_letter import dead_row
from streams.task.events import TaskId
from streams.task.outputs import Outputs
from streams.task.processor import InputRecord, OutputRecord
from streams.values import Values, concatenated

_MILLISECOND = 1_000_000
_FURTHEST = 1 << 62
_CONTROL = "control"
_IDLE = b"idle"
_HEADERS = attrgetter("headers")


class _Mark(msgspec.Struct):
    time: int


_mark_decoder = msgspec.json.Decoder(_Mark)


class Entry(Stage):
    """The first step: records instead of batches."""

    def accept(self, records: Sequence[InputRecord]) -> None:
        """Read all records, then hand on what is in them. Raises `Rejected` before any change."""
        raise NotImplementedError

    def idle(self, now_ms: int) -> list[OutputRecord]:
        """What to write when nothing comes any more."""
        return []


def idle_mark(topic: str, partition: int, time: int) -> OutputRecord:
    """The record that says: nothing more on this partition before this time (unix ns)."""
    value = msgspec.json.encode(_Mark(time))
    return OutputRecord(topic, partition, None, value, ((_CONTROL, _IDLE),))


def _marked(record: InputRecord, index: int) -> int | None:
    """The time of an idle mark; None: the record is none."""
    if not record.headers or (_CONTROL, _IDLE) not in record.headers:
        return None
    try:
        return _mark_decoder.decode(record.value or b"").time
    except UNREADABLE_JSON as error:
        raise Rejected("malformed-mark", f"no idle mark: {error}", index=index) from error


class RowsEntry(Entry):
    """Rows of a topic. Its watermark is the latest event time it has seen.

    `closes`: (advance, grace) of the windows that an idle mark may close; none: no marks.
    `dead_letters`: where rows go that do not fit, of records whose other rows do.
    """

    def __init__(
        self,
        name: str,
        codec: Codec,
        time: str | None,
        task: TaskId,
        closes: Sequence[tuple[int, int]],
        dead_letters: str,
    ) -> None:
        super().__init__(name)
        self._codec = codec
        self._time = time
        self._task = task
        self._dead_letters = dead_letters
        self._refused: list[OutputRecord] = []
        self._refusals = 0
        self._closes = tuple(closes)
        self._watermark = EARLIEST

    def accept(self, records: Sequence[InputRecord]) -> None:
        moves = np.full(len(records), EARLIEST, np.int64)
        data: Sequence[int] = range(len(records))
        rows = records
        if any(map(_HEADERS, records)):
            marks = [_marked(record, index) for index, record in enumerate(records)]
            data = [index for index, mark in enumerate(marks) if mark is None]
            rows = [records[index] for index in data]
            moves = np.array([EARLIEST if mark is None else mark for mark in marks], np.int64)
        decoded = _at_their_index(self._codec, rows, data)
        origin = np.array(data, np.int64)[decoded.records]
        times = self._times(records, decoded.columns, origin)
        np.maximum.at(moves, origin, times)
        reached = np.maximum.accumulate(np.append(self._watermark, moves))
        self._watermark = int(reached[-1])
        for each in decoded.refused:
            self._refuse(each, records[data[each.record]])
        self.hand_on(Batch(decoded.columns, times, origin), Clock(reached[:-1], reached[1:]))

    def _refuse(self, row: Refused, record: InputRecord) -> None:
        self._refusals += 1
        said = row.line, row.row, row.code, row.reason
        self._refused.append(dead_row(self._dead_letters, self._task, record, *said))

    def flush(self, out: Outputs) -> None:
        out += self._refused
        self._refused = []

    def _times(
        self, records: Sequence[InputRecord], columns: Mapping[str, Values], origin: I64
    ) -> I64:
        if self._time is None:
            stamps = np.array([record.timestamp_ms for record in records], np.int64)
            return stamps[origin] * _MILLISECOND
        times = columns[self._time].numbers
        wrong = np.flatnonzero((times > _FURTHEST) | (times < -_FURTHEST))
        if len(wrong):
            raise Rejected(
                "time-out-of-range",
                f"its time {int(times[wrong[0]])} is not within 146 years of 1970: are these ns?",
                index=int(origin[wrong[0]]),
            )
        return times

    def idle(self, now_ms: int) -> list[OutputRecord]:
        now = now_ms * _MILLISECOND
        for advance, grace in self._closes:
            if (now - grace) // advance > (self._watermark - grace) // advance:
                return [idle_mark(self._task.topic, self._task.partition, now)]
        return []

    def facts(self) -> dict[str, Any]:
        return {"watermark": self._watermark, "refused": self._refusals}

    def restore(self, facts: dict[str, Any]) -> None:
        self._watermark = facts["watermark"]
        self._refusals = facts.get("refused", 0)

    def stats(self) -> dict[str, Any]:
        return {"watermark": self._watermark, "refused_rows": self._refusals}


def _at_their_index(codec: Codec, records: Sequence[InputRecord], at: Sequence[int]) -> Decoded:
    """The codec's rows; a record it rejects is named by its place in the call."""
    try:
        return codec.decode(records)
    except Rejected as error:
        index = None if error.index is None else at[error.index]
        raise Rejected(error.code, error.message, index=index) from error


class TableEntry(Entry):
    """Changes of a table: the latest record of a key counts, one without a value deletes."""

    next: list[Stage]

    def __init__(self, name: str, codec: Codec, senders: Sequence[SendTable]) -> None:
        super().__init__(name)
        self._codec = codec
        self._senders = tuple(senders)
        self._told = False
        self.next = list(senders)

    def accept(self, records: Sequence[InputRecord]) -> None:
        data = [index for index, record in enumerate(records) if record.value is not None]
        gone = [index for index, record in enumerate(records) if record.value is None]
        decoded = _at_their_index(self._codec, [records[index] for index in data], data)
        for row in decoded.refused:  # of a table's record all rows count, or none
            message = f"line {row.line}: {row.reason}"
            raise Rejected(row.code, message, index=data[row.record])
        columns, origin = decoded.columns, np.array(data, np.int64)[decoded.records]
        deleted = np.zeros(len(origin), np.bool_)
        if gone:
            keys = self._codec.decode_keys([records[index] for index in gone])
            schema = self._codec.schema
            dead = {n: keys.get(n, placeholder(kind, len(gone))) for n, kind in schema.items()}
            order = np.argsort(np.concatenate([origin, gone]), kind="stable")
            columns = concatenated([columns, dead], schema)
            columns = {name: values.take(order) for name, values in columns.items()}
            deleted = np.concatenate([deleted, np.ones(len(gone), np.bool_)])[order]
        for sender in self._senders:
            sender.change(columns, deleted)

    def idle(self, now_ms: int) -> list[OutputRecord]:
        if self._told:
            return []
        self._told = True
        return [record for sender in self._senders for record in sender.ready()]


class InternalEntry(Entry):
    """Frames of other tasks. Rows wait until every table they meet was read to its end once."""

    def __init__(
        self,
        name: str,
        receiver: Arrival | WindowMerge | RunningMerge,
        tables: Mapping[str, Enrich],
        waits_for: Sequence[tuple[str, str]],
    ) -> None:
        """waits_for: (feed, source) of every source of every table."""
        super().__init__(name)
        self._receiver = receiver
        self._tables = dict(tables)
        self._waits_for = {f"{feed} {source}" for feed, source in waits_for}
        self._held: list[Frame] = []
        self._saved = 0
        self._written = 0  # of what is held: how much is in the last snapshot
        self.next = [receiver]

    def accept(self, records: Sequence[InputRecord]) -> None:
        frames: list[Frame] = []
        for index, record in enumerate(records):
            try:
                frames.append(decode_frame(record.value))
            except Rejected as error:
                raise Rejected(error.code, error.message, index=index) from error
        for frame in frames:
            self._take_in(frame)

    def _take_in(self, frame: Frame) -> None:
        if frame.kind == "table":
            self._tables[frame.feed].change(frame)
        elif frame.kind == "ready":
            self._waits_for.discard(f"{frame.feed} {frame.source}")
            if not self._waits_for:
                held, self._held = self._held, []
                for each in held:
                    self._receiver.receive(each)
        elif self._waits_for:
            self._held.append(frame)
        else:
            self._receiver.receive(frame)

    def blocks(self) -> Blocks:
        for at in range(self._written, len(self._held)):
            yield at.to_bytes(4, "big"), encode_frame(self._held[at])
        for at in range(len(self._held), self._saved):
            yield at.to_bytes(4, "big"), None
        self._written = self._saved = len(self._held)

    def load(self, key: bytes, data: bytes) -> None:
        self._held.append(decode_frame(data))
        self._written = self._saved = len(self._held)

    def facts(self) -> dict[str, Any]:
        return {"waits_for": sorted(self._waits_for)}

    def restore(self, facts: dict[str, Any]) -> None:
        self._waits_for = set(facts["waits_for"])

    def stats(self) -> dict[str, Any]:
        if not self._waits_for:
            return {}
        return {"held": len(self._held), "waits_for": sorted(self._waits_for)}
