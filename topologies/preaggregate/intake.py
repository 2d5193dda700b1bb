"""Records of a partition become points of known streams, or a reason why not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from metric_registry.plan import Plan, PlanError
from streams.event_time.windows import EARLIEST, LATEST, SECOND
from streams.kernels.rows import IS_CUMULATIVE, IS_INTEGER
from streams.task.processor import InputRecord
from topologies.encodings import points as encoded
from topologies.encodings.otlp import Scanner
from topologies.identity.series import SeriesTable
from topologies.preaggregate.digests import Digests, Repeats
from topologies.preaggregate.panes import PointColumns

AHEAD = 120 * SECOND
"""Points further ahead of the time of their receipt are rejected (a fast clock)."""
BATCH = 64
"""Records scanned at a time."""

I64 = npt.NDArray[np.int64]


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
        points: Accepted points, in order of record; `record` i64[n] says whose each is.
        refused: Records for the dead-letter topic.
        repeats: Records that repeat an earlier one.
        rejected: For each record, how many points were too far ahead.
        plans: For the records that change the definitions, the plan they name.
        newest: For each record its newest point.
    """

    records: int
    received: list[int]
    moves_to: list[int]
    idle: list[bool]
    points: PointColumns
    record: I64
    refused: list[Refused] = field(default_factory=list[Refused])
    repeats: list[int] = field(default_factory=list[int])
    rejected: dict[int, int] = field(default_factory=dict[int, int])
    plans: dict[int, Deployment] = field(default_factory=dict[int, "Deployment"])
    newest: dict[int, int] = field(default_factory=dict[int, int])

    def oldest(self) -> list[int]:
        """For each record the time of its oldest point; LATEST for a record without points."""
        found = np.full(self.records, LATEST, np.int64)
        whose, starts = np.unique(self.record, return_index=True)
        if len(whose):
            found[whose] = np.minimum.reduceat(self.points.times, starts)
        return found.tolist()


@dataclass(slots=True)
class _Message:
    index: int
    tenant: str
    received: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Deployment:
    """Definitions in force, and from which event time on each version of them counts.

    `since` maps a version to unix ns: windows that begin earlier are not published under it. A
    version that is absent was there from the beginning.
    """

    plan: Plan
    since: Mapping[str, int] = field(default_factory=dict[str, int])

    def to_json(self) -> bytes:
        """As the value of a record with the header control=plan, and as a block of state."""
        return msgspec.json.encode({"since": self.since, "plan": msgspec.Raw(self.plan.to_json())})

    @classmethod
    def from_json(cls, data: bytes) -> Deployment:
        """What `to_json` wrote. Raises msgspec.MsgspecError or PlanError."""
        stored = msgspec.json.decode(data, type=_Stored)
        return cls(Plan.from_json(bytes(stored.plan)), stored.since)


class _Stored(msgspec.Struct):
    since: dict[str, int]
    plan: msgspec.Raw


class _Unusable(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Intake:
    """Reads records of one partition.

    Args:
        live: Whether data moves event time; in a history topic only markers do.
        key: The secret that fingerprints are made with.
    """

    def __init__(self, live: bool, key: bytes) -> None:
        self._live = live
        self._scanner = Scanner(key)
        self.series = SeriesTable()
        self.digests = Digests()
        self.repeats = Repeats()

    def read(self, records: Sequence[InputRecord], again: bool = False) -> Batch:
        """Decode the records; streams seen for the first time join `series`.

        again: The records were read before, and which of them are repeats is remembered.
        """
        n = len(records)
        batch = Batch(
            n, [0] * n, [EARLIEST] * n, [False] * n, PointColumns.join([]), np.zeros(0, np.int64)
        )
        messages: list[_Message] = []
        for index, record in enumerate(records):
            try:
                message = self._message(batch, index, record, again)
            except _Unusable as unusable:
                batch.refused.append(Refused(index, unusable.code, unusable.reason))
                continue
            if message is not None:
                messages.append(message)
        if messages:
            self._scan(batch, messages)
        return batch

    def _message(
        self, batch: Batch, index: int, record: InputRecord, again: bool
    ) -> _Message | None:
        headers = dict(record.headers)
        control = headers.get("control")
        if control is not None:
            self._control(batch, index, control, record.value or b"")
            return None
        batch.received[index] = _received(headers)
        encoding = headers.get("encoding", b"")
        if encoding != b"otlp":
            raise _Unusable("unknown-encoding", f"encoding {encoding!r}, which no decoder reads")
        if again:
            repeat = record.offset in self.repeats
        else:
            digest = headers.get("digest")
            repeat = digest is not None and self.digests.is_repeat(
                digest, record.offset, batch.received[index]
            )
            if repeat:
                self.repeats.add(record.offset)
        if repeat:
            batch.repeats.append(index)
            return None
        try:
            tenant = headers["tenant"].decode()
        except (KeyError, UnicodeDecodeError) as error:
            reason = f"header 'tenant' is missing or no UTF-8: {error}"
            raise _Unusable("bad-header", reason) from error
        return _Message(index, tenant, batch.received[index], record.value or b"")

    def _control(self, batch: Batch, index: int, control: bytes, body: bytes) -> None:
        if control == b"plan":
            try:
                batch.plans[index] = Deployment.from_json(body)
            except (msgspec.MsgspecError, PlanError) as error:
                raise _Unusable("bad-plan", f"a plan record does not parse: {error}") from error
            return
        if (control == b"idle") != self._live:
            return
        try:
            mark: dict[str, Any] = msgspec.json.decode(body)
            time = LATEST if mark.get("end") else int(mark["time"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _Unusable("bad-control", f"a control record does not parse: {error}") from error
        batch.moves_to[index] = time
        batch.idle[index] = control == b"idle"
        if batch.idle[index]:  # the wall clock of the task that wrote it
            batch.received[index] = time

    def _scan(self, batch: Batch, messages: list[_Message]) -> None:
        scanned = self._scanner.scan(
            [message.value for message in messages], [message.tenant for message in messages]
        )
        slots, malformed = self.series.resolve(scanned)
        for bad in (*scanned.malformed, *malformed):
            batch.refused.append(Refused(messages[bad.message].index, bad.code, bad.reason))
        broken = {bad.message for bad in malformed}
        indexes: I64 = np.array([each.index for each in messages], np.int64)
        received = np.array([message.received for message in messages], np.int64)[scanned.message]
        times = np.where(scanned.time == 0, received, scanned.time)
        usable = ~np.isin(scanned.message, list(broken)) if broken else np.ones(len(times), bool)
        ahead = (times < 0) | ((times - received > AHEAD) & self._live)
        if (ahead & usable).any():
            which, count = np.unique(scanned.message[ahead & usable], return_counts=True)
            whose: list[int] = which.tolist()
            for message, rejected in zip(whose, count.tolist(), strict=True):
                batch.rejected[messages[message].index] = rejected
        usable &= ~ahead
        self._move(batch, messages, scanned.message[usable], times[usable])
        kinds = scanned.kind & encoded.KIND_MASK
        valued = (scanned.flags & (encoded.NO_RECORDED_VALUE | encoded.NO_VALUE)) == 0
        chosen = np.flatnonzero(usable & valued & (kinds <= encoded.SUM_UNSPECIFIED) & (slots >= 0))
        metas = ((scanned.flags[chosen] & encoded.IS_INT) != 0) * np.uint8(IS_INTEGER)
        cumulative = scanned.kind[chosen] == (encoded.SUM_CUMULATIVE | encoded.MONOTONIC)
        metas |= cumulative * np.uint8(IS_CUMULATIVE)
        batch.points = PointColumns(
            slots[chosen].astype(np.int32),
            times[chosen],
            scanned.start[chosen],
            scanned.value[chosen],
            metas.astype(np.uint8),
        )
        batch.record = indexes[scanned.message[chosen]]

    def _move(
        self, batch: Batch, messages: list[_Message], message: npt.NDArray[np.int32], times: I64
    ) -> None:
        """Event time goes to the newest point of a message, but never past its receipt."""
        newest = np.full(len(messages), EARLIEST, np.int64)
        np.maximum.at(newest, message, times)
        for at, time in enumerate(newest.tolist()):
            if time != EARLIEST:
                index = messages[at].index
                batch.newest[index] = time
                if self._live:
                    batch.moves_to[index] = min(time, messages[at].received)


def _received(headers: dict[str, bytes]) -> int:
    try:
        return int(headers["received"])
    except (KeyError, ValueError) as error:
        raise _Unusable(
            "bad-header", f"header 'received' is missing or no number: {error}"
        ) from error


def idle_mark(time: int) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Value and headers of the record that says: nothing more came until this wall time."""
    value = json.dumps({"time": time, "end": False}).encode()
    return value, (("control", b"idle"), ("received", str(time).encode()))
