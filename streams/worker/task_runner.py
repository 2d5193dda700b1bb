"""Carries out what one task orders: the loop without decisions around `Task`."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from streams.config import Topology, WorkerConfig
from streams.errors import Fatal, StreamsError
from streams.state.changelog import ChangelogRecord
from streams.state.held import LocalCopy
from streams.task import events as ev
from streams.task.at_least_once import AtLeastOnceTask
from streams.task.events import Effect, Event, TaskId, lane_of
from streams.task.host import TaskHost
from streams.task.task import Task
from streams.worker.alarm import Alarm
from streams.worker.desk import Desk
from streams.worker.kafka import OffsetLookup, Partition, TransactionalProducer
from streams.worker.ranges import RangeReader
from streams.worker.stores import open_store
from streams.worker.threads import Threads

log = logging.getLogger(__name__)

TELL_SECONDS = 5.0
FREEZE_BYTES = 4 << 20
"""Of state that is loaded; see `_load`."""


class TaskOwner:
    """What a task's runner asks of the topology's: the consumer, and what ends it."""

    def __init__(
        self,
        seek: Callable[[Partition, int], None],
        progressed: Callable[[], None],
        fenced: Callable[[StreamsError], None],
        failed: Callable[[StreamsError], None],
    ) -> None:
        self.seek = seek
        self.progressed = progressed
        self.fenced = fenced
        self.failed = failed


class TaskRunner:
    """One task with its host, its producer and its readers."""

    def __init__(
        self,
        config: WorkerConfig,
        topology: Topology,
        partition: Partition,
        changelog: Partition,
        lookup: OffsetLookup,
        threads: Threads,
        owner: TaskOwner,
    ) -> None:
        self.id = TaskId(topology.name, *partition)
        self.partition = partition
        kind = AtLeastOnceTask if config.guarantee == "at_least_once" else Task
        self.task = kind(self.id, topology.settings)
        self.fetch = 0
        self.settled = asyncio.Event()
        self.ended = asyncio.Event()
        self.desk = Desk(lambda number, question: self.feed(ev.Asked(number, question)))
        self._config = config
        self._changelog = changelog
        self._lookup = lookup
        self._executor = threads.compute
        self._restoring = threads.restore
        self._loading: Future[Event] | None = None
        self._owner = owner
        self._host = TaskHost(
            self.id, topology.factory, lambda: open_store(config, self.id), _wall_clock_ms
        )
        self._producer = TransactionalProducer(config, f"{config.app}-{self.id}", threads.codec)
        self._changelog_reader = RangeReader(config, threads.codec)
        self._input_reader = RangeReader(config, threads.codec)
        self._at_work: set[asyncio.Task[None]] = set()
        self._abandoned = False
        self._alarm = Alarm(lambda: self.feed(ev.Tick()))
        self._told = 0.0

    def feed(self, event: Event) -> None:
        """Give the task an event and start what it orders; nothing once it was abandoned."""
        if self._abandoned:
            return
        now_ms = time.monotonic_ns() // 1_000_000
        for effect in self.task.step(event, now_ms):
            self._start(effect)
        if self.task.settled:
            self.settled.set()
        else:
            self.settled.clear()
        self._alarm.set(self.task.due_ms(), now_ms)
        self._owner.progressed()
        if isinstance(event, ev.ChangelogRead | ev.ProcessorLoaded):
            self._tell_restore(done=isinstance(event, ev.ProcessorLoaded))

    def _tell_restore(self, *, done: bool) -> None:
        """Say how far a restore is, every few seconds, and when it is over."""
        now, found = time.monotonic(), self.task.stats()["restore"]
        if done:
            size = self.held.bytes / 1e6
            log.info("%s has its state: %.1f MB, %d records read", self.id, size, found["records"])
        elif now - self._told >= TELL_SECONDS:
            self._told = now
            log.info("%s reads its changelog: %d of %d", self.id, found["at"], found["end"])

    def stats(self) -> dict[str, Any]:
        """The task's figures and its processor's."""
        return self.task.stats() | {"processor": self._host.stats()}

    @property
    def held(self) -> LocalCopy:
        """The local state of the task."""
        return self._host.held

    async def abandon(self) -> None:
        """Let go of everything without a commit; the next owner fences what is open."""
        self._abandoned = True
        self._alarm.set(None, 0)
        self.desk.close()
        for work in list(self._at_work):
            work.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        await self._let_go()
        self.ended.set()

    def _start(self, effect: Effect) -> None:
        match effect:
            case ev.SeekInput(number, offset):
                self.fetch = number
                self._owner.seek(self.partition, offset)
            case ev.TaskClosed():
                self.ended.set()
            case ev.TaskFenced(error):
                self._spawn(self._let_go_and_end())
                self._owner.fenced(error)
            case ev.StopWorker(error):
                self._owner.failed(error)
            case ev.Refuse(asked, error):
                self.desk.refuse((each.number for each in asked), error)
            case _:
                self._spawn(self._perform(effect))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _perform(self, effect: Effect) -> None:
        try:
            event = await self._do(effect)
        except StreamsError as error:
            event = ev.Failed(lane_of(effect), error)
        except Exception as error:
            what = f"{type(effect).__name__} of {self.id} failed: {error!r}"
            failure = Fatal(what, "This is a bug in the worker")
            failure.__cause__ = error
            event = ev.Failed(lane_of(effect), failure)
        if isinstance(event, ev.Answered):
            self.desk.hand_out(event.replies)
        self.feed(event)

    async def _do(self, effect: Effect) -> Event:
        match effect:
            case ev.InitProducer():
                await self._producer.start()
                return ev.ProducerReady(f"{time.time_ns():x}")
            case ev.FindBounds():
                changelog = await self._lookup.full_bounds(self._changelog)
                return ev.BoundsFound(*changelog, *await self._lookup.stable_bounds(self.partition))
            case ev.ReadChangelog(start, end):
                records, next_offset = await self._changelog_reader.read(
                    self._changelog, start, end
                )
                found = [ChangelogRecord(r.key or b"", r.value, r.offset) for r in records]
                return ev.ChangelogRead(found, next_offset)
            case ev.ReadRange(start, end):
                return ev.RangeRead(*await self._input_reader.read(self.partition, start, end))
            case ev.Commit(outputs, changelog):
                next_offset = await self._producer.commit(outputs, changelog, self._changelog)
                return ev.Committed(next_offset)
            case ev.CloseTask():
                await self._let_go()
                return ev.Closed()
            case ev.SeekInput() | ev.TaskClosed() | ev.TaskFenced() | ev.Refuse() | ev.StopWorker():
                raise AssertionError(effect)
            case ev.LoadProcessor():
                self._loading = self._restoring.submit(self._load, effect)
                return await asyncio.wrap_future(self._loading)
            case _:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._executor, self._host.perform, effect)

    def _load(self, effect: ev.LoadProcessor) -> Event:
        """Without looking for garbage meanwhile: what is loaded stays.

        To look through it again and again while it grows takes a tenth of the time, and holds the
        interpreter for hundreds of milliseconds; so does each full collection later. Large state is
        therefore never looked through again.
        """
        on = gc.isenabled()
        gc.disable()
        try:
            return self._host.perform(effect)
        finally:
            if self.held.bytes >= FREEZE_BYTES:
                gc.freeze()
            if on:
                gc.enable()

    async def _let_go(self) -> None:
        await self._changelog_reader.close()
        await self._input_reader.close()
        await self._producer.stop()
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close)

    def _close(self) -> None:
        """On the thread of what else the host does, which so has ended; and behind a load."""
        if self._loading is not None and not self._loading.cancel():
            wait((self._loading,))
        self._host.close()

    async def _let_go_and_end(self) -> None:
        await self._let_go()
        self.ended.set()


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
