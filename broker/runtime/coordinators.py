"""Runs a coordinator's core (`broker.coordination`) on this node: replay, effects, compaction."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from broker.coordination import (
    Admit,
    Answer,
    Append,
    Appended,
    AppendFailed,
    CancelTimer,
    Coordinator,
    Dismiss,
    Effect,
    MarkersWritten,
    Record,
    Restored,
    SetTimer,
    Tell,
    TimerFired,
    WriteMarkers,
)
from broker.handlers.port import Timer
from broker.log.partition import PartitionLog
from broker.protocol.errors import ErrorCode
from broker.records.batch import Refusal
from broker.records.build import build_batch
from broker.records.iterate import iterate

if TYPE_CHECKING:
    from broker.runtime.node import Node

log = logging.getLogger("broker.coordinators")
COMPACT_FROM = 4 << 20
"""Bytes of a coordinator's log below which it is not rewritten."""
COMPACT_RATIO = 4
RECORDS_A_BATCH = 1000
STORAGE_ERROR = int(ErrorCode.kafka_storage_error)


class Admissions:
    """Which producer epochs may append transactional batches to which partitions."""

    def __init__(self) -> None:
        self._admitted: dict[int, tuple[int, set[tuple[str, int]]]] = {}

    def refusal(self, producer_id: int, epoch: int, topic: str, partition: int) -> int:
        known = self._admitted.get(producer_id)
        if known is None:
            return ErrorCode.invalid_txn_state
        if epoch != known[0]:
            return ErrorCode.invalid_producer_epoch
        return 0 if (topic, partition) in known[1] else ErrorCode.invalid_txn_state

    def admit(self, effect: Admit) -> None:
        known = self._admitted.get(effect.producer_id)
        if known is None or known[0] != effect.producer_epoch:
            known = self._admitted[effect.producer_id] = (effect.producer_epoch, set())
        known[1].update(effect.partitions)

    def dismiss(self, producer_id: int) -> None:
        self._admitted.pop(producer_id, None)


class Runner:
    """One coordinator's core with its log."""

    def __init__(self, name: str, core: Coordinator, node: Node, store: PartitionLog) -> None:
        self.name = name
        self._core = core
        self._node = node
        self._store = store
        self._events: deque[Any] = deque()
        self._busy = False
        self._timers: dict[Hashable, Timer] = {}
        self._live: dict[bytes, bytes] = {}
        self._live_bytes = 0
        self._compacting = False

    def restore(self) -> None:
        """Replay the log into the core, then let it begin."""
        for key, value in _stored(self._store):
            self._remember(key, value)
            self._core.replay(Record(key, value))
        self.submit(Restored())

    def submit(self, event: Any) -> None:
        """Feed an event; effects run before the next event does."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for effect in self._core.step(self._events.popleft(), self._node.now_ms()):
                    self._perform(effect)
        finally:
            self._busy = False

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Append():
                self._append(effect)
            case Answer(request_id, fields):
                self._node.answer(request_id, fields)
            case SetTimer(name, at_ms):
                self._set_timer(name, at_ms)
            case CancelTimer(name):
                timer = self._timers.pop(name, None)
                if timer is not None:
                    timer.cancel()
            case WriteMarkers():
                self._write_markers(effect)
            case Admit():
                self._node.admissions.admit(effect)
            case Dismiss(producer_id):
                self._node.admissions.dismiss(producer_id)
            case Tell(coordinator, event):
                self._node.call_soon(lambda: self._node.tell(coordinator, event))

    # --- the log --------------------------------------------------------------------------------

    def _append(self, effect: Append) -> None:
        records = [(record.key, record.value) for record in effect.records]
        store, token = self._store, effect.token
        if records:
            now_ms = self._node.now_ms()
            outcome = store.append_own(build_batch(records, now_ms), now_ms)
            if isinstance(outcome, Refusal):
                log.error("%s: %s", self.name, outcome.message)
                self.submit(AppendFailed(token, outcome.error))
                return
            for key, value in records:
                self._remember(key, value)

        def durable() -> None:
            if store.failed is not None:
                self.submit(AppendFailed(token, ErrorCode.kafka_storage_error))
            else:
                self.submit(Appended(token))

        self._node.when_durable([store], durable)
        limit = max(COMPACT_FROM, COMPACT_RATIO * self._live_bytes)
        if store.size > limit and not self._compacting:
            self._compact()

    def _remember(self, key: bytes, value: bytes | None) -> None:
        old = self._live.pop(key, None)
        if old is not None:
            self._live_bytes -= len(key) + len(old)
        if value is not None:
            self._live[key] = value
            self._live_bytes += len(key) + len(value)

    def _compact(self) -> None:
        """Write every live record again and drop what was before. The old part goes only when the
        new one is durable, so a crash in between replays both, to the same state."""
        store, now_ms = self._store, self._node.now_ms()
        items = list(self._live.items())
        try:
            start = store.roll(now_ms).base_offset
        except OSError as problem:
            log.warning("%s: no compaction now: %s", self.name, problem)
            return
        for at in range(0, len(items), RECORDS_A_BATCH):
            batch = build_batch(items[at : at + RECORDS_A_BATCH], now_ms)
            if isinstance(store.append_own(batch, now_ms), Refusal):
                return

        def durable() -> None:
            self._compacting = False
            if store.failed is None and not isinstance(store.delete_before(start), Refusal):
                self._node.retain(store)

        self._compacting = True

        self._node.when_durable([store], durable)

    # --- partitions -----------------------------------------------------------------------------

    def _write_markers(self, effect: WriteMarkers) -> None:
        written: list[tuple[tuple[str, int], PartitionLog]] = []
        failed: list[tuple[str, int]] = []
        for place in effect.partitions:
            target = self._node.log(*place)
            if target is None:
                continue
            outcome = target.append_marker(
                effect.producer_id,
                effect.producer_epoch,
                self._node.now_ms(),
                commit=effect.commit,
                coordinator_epoch=effect.coordinator_epoch,
            )
            if not isinstance(outcome, Refusal):
                written.append((place, target))
            elif outcome.error == STORAGE_ERROR:
                failed.append(place)
            else:
                log.warning("%s: marker for %s: %s", self.name, place, outcome.message)

        def durable() -> None:
            failed.extend(place for place, target in written if target.failed is not None)
            self.submit(MarkersWritten(effect.token, tuple(failed)))

        self._node.when_durable([target for _, target in written], durable)

    # --- timers ---------------------------------------------------------------------------------

    def _set_timer(self, name: Hashable, at_ms: int) -> None:
        old = self._timers.pop(name, None)
        if old is not None:
            old.cancel()
        delay = max(0, at_ms - self._node.now_ms())

        def fired() -> None:
            if self._node.now_ms() < at_ms:
                self._set_timer(name, at_ms)
                return
            self._timers.pop(name, None)
            self.submit(TimerFired(name))

        self._timers[name] = self._node.call_later(delay, fired)


def _stored(store: PartitionLog) -> list[tuple[bytes, bytes | None]]:
    """Every (key, value) of a coordinator's log, in order."""
    found: list[tuple[bytes, bytes | None]] = []
    for segment in store.segments:
        for position, header in segment.scan(0, segment.size, verify=False):
            if header.base_offset < store.log_start or header.is_control:
                continue
            batch = segment.file.read(position, header.size)
            found += [(record.key or b"", record.value) for record in iterate(batch, header)]
    return found
