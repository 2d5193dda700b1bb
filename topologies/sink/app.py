"""The sink's shell: feeds the core with what the log, the store and the clock say, and obeys it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from topologies.sink import rows
from topologies.sink.core import BatchLimits, SinkCore
from topologies.sink.events import (
    Arrived,
    Assigned,
    Commit,
    Done,
    Effect,
    Event,
    Failed,
    Forget,
    Insert,
    Records,
    Report,
    Revoked,
    Seek,
    Tick,
)
from topologies.sink.group import GroupMember, LogUnreachable
from topologies.sink.rows import Message, MessageReader
from topologies.sink.schema import Schema
from topologies.sink.store import Kept, Store, StoreAddress, StoreUnreachable

log = logging.getLogger(__name__)

_WAIT_MS = 1_000
"""For records, if nothing else happens."""
_RETRY_S = 1.0
_DRAIN_S = 3.0
_HANDOVER_S = 10.0


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """What a sink is told.

    Attributes:
        session_timeout_ms: After this long without a sign of life, others take the partitions.
        insert_threads: Inserts at a time, each of another partition.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    store: StoreAddress = field(default_factory=StoreAddress)
    schema: Schema = field(default_factory=Schema)
    limits: BatchLimits = field(default_factory=BatchLimits)
    topic: str = "telemetry.rollups"
    group: str = "tidemill-sink"
    dead_letter_topic: str = "telemetry.dead-letter"
    client_id: str = "tidemill-sink"
    session_timeout_ms: int = 10_000
    insert_threads: int = 2


@dataclass(slots=True)
class SinkStatus:
    """Counts since the start, for people and health checks."""

    partitions: set[int] = field(default_factory=set[int])
    rows: int = 0
    batches: int = 0
    dead_letters: int = 0
    faults: dict[str, str] = field(default_factory=dict[str, str])
    """Why "log" or "store" is away, while it is."""

    @property
    def away(self) -> str:
        """Why nothing gets on, or empty."""
        return "; ".join(self.faults.values())


class SinkService:
    """One member of the sink's group. ``run`` returns when stopped, and raises when it cannot go on
    (``StoreMismatch``, ``SchemaTooNew``); nothing that was not stored is skipped."""

    def __init__(self, config: SinkConfig) -> None:
        self._config = config
        self._core = SinkCore(config.topic, config.limits)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="sink-read")
        self._member = GroupMember(
            config.bootstrap_servers,
            config.topic,
            config.group,
            config.client_id,
            config.session_timeout_ms,
            self._on_revoked,
            self._on_assigned,
            self._reading,
        )
        self._reader = MessageReader()
        self._inserting = ThreadPoolExecutor(
            config.insert_threads, thread_name_prefix="sink-insert"
        )
        self._store: Store | None = None
        self._held: dict[int, deque[Message]] = defaultdict(deque)
        self._assignments: dict[int, int] = {}
        self._assignment = 0
        self._new: set[int] = set()
        self._tasks: dict[asyncio.Task[None], Effect] = {}
        self._fault: BaseException | None = None
        self._kept = Kept(config.schema.retention_days)
        self._changed = asyncio.Event()
        self._awake = False
        self.status = SinkStatus()

    def keep(self, kept: Kept) -> None:
        """From here on: how long rows stay, and which views there are; while it runs, too."""
        if kept != self._kept:
            self._kept = kept
            self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Store rollups until ``stop`` is set; then finish what is under way, for seconds at most.

        Raises:
            StoreMismatch: The store's tables or rights are not what is needed.
            SchemaTooNew: A later version of this program made the tables.
        """
        beside: list[asyncio.Task[None]] = []
        try:
            await self._retried("store", self._open_store, stop)
            beside.append(asyncio.create_task(self._keep_up(stop)))
            beside.append(asyncio.create_task(self._wake_up_at(stop)))
            await self._retried("log", self._member.start, stop)
            while not stop.is_set() and self._fault is None:
                try:
                    await self._turn()
                except LogUnreachable as error:
                    self._is_away(error)
                    await asyncio.sleep(_RETRY_S)
            await self._finish_tasks(set(self._tasks), _DRAIN_S)
        finally:
            for task in beside:
                task.cancel()
            await self._member.stop()
            self._reading.shutdown(wait=False, cancel_futures=True)
            self._inserting.shutdown(wait=False, cancel_futures=True)
            if self._store is not None:
                await asyncio.to_thread(self._store.close)
        if self._fault is not None:
            raise self._fault

    async def _turn(self) -> None:
        """Read once, and let time pass."""
        self._awake = False
        for partition in sorted(self._new):
            await self._adopt(partition)
        ready = [p for p in self._assignments if self._core.wants(p)]
        for partition, values in (await self._member.read(ready, self._wait_ms())).items():
            assignment = self._assignments.get(partition)
            messages = await asyncio.get_running_loop().run_in_executor(
                self._reading, self._read, partition, values
            )
            if messages and assignment is not None:
                self._arrived(partition, assignment, messages)
        self._tell(Tick())

    def _wait_ms(self) -> int:
        """How long nothing is to be done, unless something happens."""
        wakeup = self._core.wakeup_ms()
        wait = _WAIT_MS if wakeup is None else max(0, min(_WAIT_MS, wakeup - self._now()))
        return 0 if self._awake else wait

    def _wake_up(self) -> None:
        """Something happened: whether more is wanted, and when, is to be asked anew."""
        self._awake = True
        self._member.wake_up()

    async def _wake_up_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake_up()

    def _read(self, partition: int, values: list[tuple[int, bytes]]) -> list[Message]:
        return [self._reader.read(partition, offset, raw) for offset, raw in values]

    def _arrived(self, partition: int, assignment: int, messages: list[Message]) -> None:
        self._is_back("log")
        if self._assignments.get(partition) != assignment:
            return  # given to another while they were read
        self._held[partition].extend(messages)
        now = time.time_ns()
        arrived = tuple(
            Arrived(m.offset, m.rows, max(0, now - m.newest) // rows.NS_PER_MS if m.newest else 0)
            for m in messages
        )
        self._tell(Records(partition, assignment, arrived, messages[-1].offset + 1))

    async def _adopt(self, partition: int) -> None:
        place = await self._member.place(partition)
        self._is_back("log")
        if partition not in self._new or not self._member.holds(partition):
            return
        self._new.discard(partition)
        self._assignment += 1
        self._assignments[partition] = self._assignment
        self._held[partition] = deque()
        self.status.partitions = set(self._assignments)
        self._tell(
            Assigned(
                partition,
                self._assignment,
                place.committed,
                place.start,
                place.end,
                secrets.token_hex(8),
            )
        )

    # Rebalances, called by the member ------------------------------------------------------------

    async def _on_revoked(self, partitions: set[int]) -> None:
        """Commits stop here: one that is tried again after the rebalance would be fenced no more.

        Inserts may end, so that the successor finds their rows and has them dropped only seldom.
        """
        self._new -= partitions
        for partition in partitions:
            self._tell(Revoked(partition))
            self._assignments.pop(partition, None)
            self._held.pop(partition, None)
        self.status.partitions = set(self._assignments)
        theirs = {task for task, effect in self._tasks.items() if effect.partition in partitions}
        for task in theirs:
            if isinstance(self._tasks[task], Commit):
                task.cancel()
        await self._finish_tasks(theirs, _HANDOVER_S)

    def _on_assigned(self, partitions: set[int]) -> None:
        self._new |= partitions
        self._wake_up()

    # Effects -------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        for effect in self._core.step(event, self._now()):
            match effect:
                case Seek():
                    self._member.seek(effect.partition, effect.offset)
                    assignment = self._assignments[effect.partition]
                    self._tell(Records(effect.partition, assignment, (), effect.offset))
                case Forget():
                    held = self._held[effect.partition]
                    while held and held[0].offset <= effect.offset:
                        held.popleft()
                case Report():
                    log.warning("%s", effect.message)
                case Commit():
                    self._begin(effect, self._commit(effect))
                case Insert():
                    self._begin(effect, self._insert(effect))

    def _begin(self, effect: Commit | Insert, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._answered(effect, work))
        self._tasks[task] = effect
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _answered(self, effect: Commit | Insert, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (LogUnreachable, StoreUnreachable) as error:
            self._is_away(error)
            self._tell(Failed(effect.partition, effect.assignment))
        except Exception as error:
            self._fault = error
        else:
            self._is_back("log" if isinstance(effect, Commit) else "store")
            self._tell(Done(effect.partition, effect.assignment))
        self._wake_up()

    async def _commit(self, effect: Commit) -> None:
        await self._member.commit(effect.partition, effect.committed)

    async def _insert(self, effect: Insert) -> None:
        bounds = effect.bounds
        batch = [
            message
            for message in self._held.get(effect.partition, ())
            if bounds.first <= message.offset <= bounds.last
        ]
        for message in batch:
            if message.fault:
                await self._dead_letter(effect.partition, message)
        await asyncio.get_running_loop().run_in_executor(
            self._inserting, self._insert_batch, effect.token, batch
        )
        self.status.rows += sum(message.rows for message in batch)
        self.status.batches += 1

    def _insert_batch(self, token: str, batch: list[Message]) -> None:
        """In a thread. Certificates go first: a row that is seen has its own."""
        store, schema = self._store, self._config.schema
        if store is None:
            raise StoreUnreachable("the store is not open")
        store.ensure_views({name for message in batch for name in message.names})
        lines = b"".join(message.certificates for message in batch)
        if lines:
            store.insert(schema.certificates, rows.CERTIFICATE_COLUMNS, "JSONEachRow", lines, token)
        for number, chunk in enumerate(rows.chunks(batch)):
            store.insert(
                schema.rollups, rows.ROLLUP_COLUMNS, "Native", chunk.body, f"{token}#{number}"
            )

    async def _dead_letter(self, partition: int, message: Message) -> None:
        source = f"{self._config.topic}/{partition}/{message.offset}"
        log.warning("%s goes to %s: %s", source, self._config.dead_letter_topic, message.fault)
        await self._member.dead_letter(
            self._config.dead_letter_topic, source, message.raw, message.fault
        )
        self.status.dead_letters += 1

    # The rest ------------------------------------------------------------------------------------

    async def _open_store(self) -> None:
        def opened() -> Store:
            store = Store(self._config.store, self._config.schema)
            store.keep(self._kept)
            return store

        self._store = await asyncio.to_thread(opened)

    async def _keep_up(self, stop: asyncio.Event) -> None:
        """Tables and views as they are wanted by now. What cannot be done ends the sink."""

        async def keep() -> None:
            self._changed.clear()
            if self._store is not None:  # else it was stopped before the store answered
                await asyncio.to_thread(self._store.keep, self._kept)

        while await self._changed.wait():
            try:
                await self._retried("store", keep, stop)
            except Exception as error:
                self._fault = error
                self._wake_up()
                return

    async def _retried(
        self, part: str, start: Callable[[], Awaitable[None]], stop: asyncio.Event
    ) -> None:
        """Until it works or is not wanted any more."""
        while not stop.is_set():
            try:
                await start()
            except (LogUnreachable, StoreUnreachable) as error:
                self._is_away(error)
                await asyncio.sleep(_RETRY_S)
            else:
                self._is_back(part)
                return

    async def _finish_tasks(self, tasks: set[asyncio.Task[None]], seconds: float) -> None:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()

    def _is_away(self, error: LogUnreachable | StoreUnreachable) -> None:
        """Told once, however often it is tried."""
        part = "log" if isinstance(error, LogUnreachable) else "store"
        if part not in self.status.faults:
            log.warning("the sink waits and tries again: %s", error)
        self.status.faults[part] = str(error)

    def _is_back(self, part: str) -> None:
        if self.status.faults.pop(part, None) is not None:
            log.warning("the %s is back, the sink goes on", part)

    def _now(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)
