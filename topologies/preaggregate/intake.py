"""Records of a partition become points of known streams, or a reason why not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from metric_registry.plan import PlanError
from streams.errors import UNREADABLE_JSON
from streams.event_time.windows import EARLIEST, LATEST, SECOND
from streams.task.processor import InputRecord
from topologies.deployment import Deployment
from topologies.encodings.accept import NEGATIVE, NEWEST, OLDEST, REJECTED, TOLD, accept
from topologies.encodings.otlp import Scanner
from topologies.encodings.points import Points
from topologies.epochs import Bounds
from topologies.identity.series import SeriesTable
from topologies.preaggregate.columns import PointColumns
from topologies.preaggregate.digests import Digests, Repeats
from topologies.preaggregate.epochs import limits, moves_to, of_own_time, owns_newest, relevant

AHEAD = 120 * SECOND
"""Points further ahead of the time of their receipt are rejected (a fast clock)."""
BATCH = 64
"""Records scanned at a time."""

I64 = npt.NDArray[np.int64]


class _Mark(msgspec.Struct):
    """What an idle mark or a marker says; unix ns. With `end` nothing comes after it."""

    time: Annotated[int, msgspec.Meta(ge=-(2**63), le=LATEST)]
    end: bool = False


_mark = msgspec.json.Decoder(_Mark)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that cannot be processed, whole, with the reason."""

    index: int
    code: str
    reason: str


@dataclass(slots=True)
class Batch:
    """What some consecutive records are.

    Attributes:
        records: Their number.
        received: For each record the edge's clock, unix ns.
        moves_to: For each record where it moves event time by itself; EARLIEST: nowhere.
        idle: For each record whether it is an idle mark.
        points: Accepted points, in order of record; `record` i32[n] says whose each is. Both are
            views of memory that the next batch uses again.
        refused: Records for the dead-letter topic.
        repeats: Records that repeat an earlier one.
        rejected: For each record, how many points were too far ahead.
        negative: For each record, how many points of monotonic sums were below zero.
        plans: For the records that change the definitions, the plan they name.
        bounds: For the records that bound the topic's epoch, its bounds from there on.
        scanned: What the values of histogram points are rows of; None: there are no points.
        newest, oldest: For each record the time of its newest point, and of its oldest one among
            `points`.
    """

    records: int
    received: list[int]
    moves_to: list[int]
    idle: list[bool]
    points: PointColumns
    record: npt.NDArray[np.int32]
    scanned: Points | None = None
    refused: list[Refused] = field(default_factory=list[Refused])
    repeats: list[int] = field(default_factory=list[int])
    rejected: dict[int, int] = field(default_factory=dict[int, int])
    negative: dict[int, int] = field(default_factory=dict[int, int])
    plans: dict[int, Deployment] = field(default_factory=dict[int, Deployment])
    bounds: dict[int, Bounds] = field(default_factory=dict[int, Bounds])
    newest: dict[int, int] = field(default_factory=dict[int, int])
    oldest: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(slots=True)
class _Message:
    index: int
    tenant: str
    received: int
    value: bytes
    bounds: Bounds
    is_repeat: bool


class _Unusable(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Intake:
    """Reads records of one partition.

    Args:
        live: Whether data moves event time; in a history topic only markers do.
        key: The secret that fingerprints are made with.
        gap: How long a base line lasts, ns of event time.
        bounds: The topic's epoch, as far as it is known.
    """

    def __init__(
        self, live: bool, key: bytes, gap: int = 900 * SECOND, bounds: Bounds | None = None
    ) -> None:
        self._live = live
        self._gap = gap
        self.bounds = bounds or Bounds()
        self._scanner = Scanner(key)
        self.series = SeriesTable()
        self.digests = Digests()
        self.repeats = Repeats()
        self.newest = 0
        """The newest receipt among the records that were read."""
        self._slots = self._records = np.zeros(0, np.int32)
        self._metas = np.zeros(0, np.uint8)
        self._columns = np.zeros((3, 0), np.int64)

    def read(self, records: Sequence[InputRecord], again: bool = False) -> Batch:
        """Decode the records; streams seen for the first time join `series`.

        again: The records were read before, and which of them are repeats is remembered.
        """
        n = len(records)
        batch = Batch(
            n, [0] * n, [EARLIEST] * n, [False] * n, PointColumns.join([]), np.zeros(0, np.int32)
        )
        messages: list[_Message] = []
        repeats: list[_Message] = []
        bounds = self.bounds
        for index, record in enumerate(records):
            try:
                message = self._message(batch, index, record, again, bounds)
            except _Unusable as unusable:
                batch.refused.append(Refused(index, unusable.code, unusable.reason))
                continue
            if index in batch.bounds and not again:
                bounds = batch.bounds[index] = bounds.narrowed(batch.bounds[index])
            if message is not None:
                (repeats if message.is_repeat else messages).append(message)
        if repeats:
            self._tell_repeats(batch, repeats)
        if messages:
            self._scan(batch, messages)
        return batch

    def _message(
        self, batch: Batch, index: int, record: InputRecord, again: bool, bounds: Bounds
    ) -> _Message | None:
        headers = dict(record.headers)
        control = headers.get("control")
        if control is not None:
            self._control(batch, index, control, record.value or b"")
            return None
        batch.received[index] = _received(headers)
        self.newest = max(self.newest, batch.received[index])
        encoding = headers.get("encoding", b"")
        if encoding != b"otlp":
            raise _Unusable("unknown-encoding", f"encoding {encoding!r}, which no decoder reads")
        repeat = record.offset in self.repeats  # records read ahead are read once more
        if not (again or repeat):
            digest = headers.get("digest")
            repeat = digest is not None and self.digests.is_repeat(
                digest, record.offset, batch.received[index], self.newest
            )
            if repeat:
                self.repeats.add(record.offset)
        if repeat and (again or bounds.all_of_time):
            batch.repeats.append(index)
            return None
        try:
            tenant = headers["tenant"].decode()
        except (KeyError, UnicodeDecodeError) as error:
            reason = f"header 'tenant' is missing or no UTF-8: {error}"
            raise _Unusable("bad-header", reason) from error
        return _Message(index, tenant, batch.received[index], record.value or b"", bounds, repeat)

    def _tell_repeats(self, batch: Batch, messages: list[_Message]) -> None:
        """A record that lies in two epochs is a repeat where its newest point counts."""
        values = [message.value for message in messages]
        scanned = self._scanner.scan(values, [message.tenant for message in messages])
        received = np.array([message.received for message in messages], np.int64)
        owned = owns_newest(scanned, received, [message.bounds for message in messages])
        batch.repeats.extend(
            message.index for message, own in zip(messages, owned, strict=True) if own
        )

    def _control(self, batch: Batch, index: int, control: bytes, body: bytes) -> None:
        if control == b"plan":
            try:
                batch.plans[index] = Deployment.from_json(body)
            except (PlanError, *UNREADABLE_JSON) as error:
                raise _Unusable("bad-plan", f"a plan record does not parse: {error}") from error
            return
        if control == b"epoch":
            try:
                batch.bounds[index] = Bounds.from_json(body)
            except (ValueError, *UNREADABLE_JSON) as error:
                raise _Unusable("bad-epoch", f"an epoch record does not parse: {error}") from error
            return
        if (control == b"idle") != self._live:
            return
        try:
            mark = _mark.decode(body)
        except UNREADABLE_JSON as error:
            raise _Unusable("bad-control", f"a control record does not parse: {error}") from error
        time = LATEST if mark.end else mark.time
        batch.moves_to[index] = time
        batch.idle[index] = control == b"idle"
        if batch.idle[index]:  # the wall clock of the task that wrote it
            batch.received[index] = time

    def _scan(self, batch: Batch, messages: list[_Message]) -> None:
        scanned = self._scanner.scan(
            [message.value for message in messages],
            [message.tenant for message in messages],
            self.series.recurring,
        )
        slots, malformed = self.series.resolve(scanned)
        for bad in (*scanned.malformed, *malformed):
            batch.refused.append(Refused(messages[bad.message].index, bad.code, bad.reason))
        received = np.array([message.received for message in messages], np.int64)
        batch.scanned = scanned
        told = self._accept(batch, messages, scanned, slots, received)
        bounds = [message.bounds for message in messages]
        if any(not each.all_of_time for each in bounds):
            if told[:, [REJECTED, NEGATIVE]].any():  # each is told where its time is counted
                mine = of_own_time(scanned, slots, received, bounds)
                own = self._accept(batch, messages, scanned, mine, received)
                told = self._accept(batch, messages, scanned, slots, received)
                told[:, [REJECTED, NEGATIVE]] = own[:, [REJECTED, NEGATIVE]]
            self._confine(batch, messages, bounds, told)
        self._tell(batch, messages, told)

    def _accept(
        self,
        batch: Batch,
        messages: list[_Message],
        scanned: Points,
        slots: npt.NDArray[np.int32],
        received: I64,
    ) -> I64:
        """Put the points that count into the batch; returns what `accept` tells of messages."""
        told = np.zeros((len(messages), TOLD), np.int64)
        told[:, NEWEST], told[:, OLDEST] = EARLIEST, LATEST
        self._reserve(len(scanned))
        times, starts, raws = self._columns
        count = accept(
            slots, (scanned.time, scanned.start, scanned.value), scanned.kind, scanned.flags,
            scanned.message, received, np.array([each.index for each in messages], np.int32),
            AHEAD if self._live else LATEST, (times, starts, raws), self._slots, self._records,
            self._metas, told,
        )  # fmt: skip
        batch.points = PointColumns(
            self._slots[:count], times[:count], starts[:count], raws[:count], self._metas[:count]
        )
        batch.record = self._records[:count]
        return told

    def _confine(
        self, batch: Batch, messages: list[_Message], bounds: list[Bounds], told: I64
    ) -> None:
        """Leave out the points of other epochs, but for what may be base lines of this one."""
        since, until = limits(bounds)
        if (told[:, OLDEST] > since).all() and (told[:, NEWEST] <= until).all():
            return
        which = np.searchsorted([message.index for message in messages], batch.record)
        points = batch.points
        wanted = relevant(points.times, points.metas, since[which], until[which], self._gap)
        batch.points, batch.record = points.where(wanted), batch.record[wanted]

    def _reserve(self, points: int) -> None:
        """Room for the points of a batch; used again by the next one."""
        if points > len(self._slots):
            size = points + points // 4
            self._slots, self._records = np.empty(size, np.int32), np.empty(size, np.int32)
            self._metas = np.empty(size, np.uint8)
            self._columns = np.empty((3, size), np.int64)

    def _tell(self, batch: Batch, messages: list[_Message], told: I64) -> None:
        """What a message says of event time, and of its own points."""
        columns = zip(messages, told.tolist(), strict=True)
        for message, (newest, rejected, oldest, negative) in columns:
            if rejected:
                batch.rejected[message.index] = rejected
            if negative:
                batch.negative[message.index] = negative
            if oldest != LATEST:
                batch.oldest[message.index] = oldest
            if newest != EARLIEST:
                batch.newest[message.index] = newest
                if self._live:
                    batch.moves_to[message.index] = moves_to(
                        newest, message.received, message.bounds, AHEAD
                    )


def _received(headers: dict[str, bytes]) -> int:
    written = headers.get("received") or b""
    if not written.isdigit() or (received := int(written[:20])) > LATEST:
        raise _Unusable("bad-header", f"header 'received' is {written[:20]!r}, no time in unix ns")
    return received


def idle_mark(time: int) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Value and headers of the record that says: nothing more came until this wall time."""
    value = json.dumps({"time": time, "end": False}).encode()
    return value, (("control", b"idle"), ("received", str(time).encode()))
