"""The standbys of one topology in this process: loops without decisions around `Standby`.

One consumer follows the changelogs of all of them, in a thread of their own the stores are written.
What the group wants followed is opened as soon as no task of ours has the store, and let go of
before one opens it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from streams.config import Topology, WorkerConfig
from streams.errors import Retriable, StreamsError
from streams.kernels.compile import load_cached
from streams.standby import events as ev
from streams.standby.events import Effect, Event
from streams.standby.host import CopyHost
from streams.standby.standby import Standby, StandbyPhase
from streams.state.changelog import ChangelogRecord
from streams.state.held import LocalCopy
from streams.task.events import TaskId
from streams.worker.kafka import OffsetLookup, Partition
from streams.worker.pieces import FollowingConsumer, OffsetsGone, Piece
from streams.worker.stores import open_store
from streams.worker.threads import Threads

log = logging.getLogger(__name__)

REST_SECONDS = 0.25
AWAY_SECONDS = 1.0
CLOSE_SECONDS = 5.0


class StandbyRunner:
    """One standby with its host. `changed` is called after every step."""

    def __init__(
        self,
        config: WorkerConfig,
        task: TaskId,
        changelog: Partition,
        settings: Topology,
        lookup: OffsetLookup,
        executor: Executor,
        changed: Callable[[StandbyRunner, bool], None],
    ) -> None:
        self.id = task
        self.changelog = changelog
        self.core = Standby(task, settings.settings)
        self.ended = asyncio.Event()
        self._lookup = lookup
        self._executor = executor
        self._changed = changed
        self._host = CopyHost(task, lambda: open_store(config, task))
        self._at_work: asyncio.Task[None] | None = None
        self.feed(ev.Begin())

    @property
    def following(self) -> bool:
        return self.core.phase is StandbyPhase.FOLLOWING

    @property
    def held(self) -> LocalCopy:
        """The copy."""
        return self._host.held

    def feed(self, event: Event) -> None:
        """Give the standby an event and start what it orders."""
        seek = False
        for effect in self.core.step(event, now_ms()):
            match effect:
                case ev.Follow():
                    seek = True
                case ev.StandbyEnded():
                    self.ended.set()
                case _:
                    self._at_work = asyncio.get_running_loop().create_task(self._perform(effect))
        self._changed(self, seek)

    async def _perform(self, effect: Effect) -> None:
        try:
            event = await self._do(effect)
        except StreamsError as error:
            event = ev.CopyFailed(error)
        if (error := getattr(event, "error", None)) is not None:
            log.warning("the standby of %s begins again: %s", self.id, error)
        self.feed(event)

    async def _do(self, effect: Effect) -> Event:
        match effect:
            case ev.FindChangelog():
                return ev.ChangelogFound(*await self._lookup.full_bounds(self.changelog))
            case ev.Follow() | ev.StandbyEnded():
                raise AssertionError(effect)
            case _:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._executor, self._host.perform, effect)


class Standbys:
    """All of a topology. `taken` says whether a task of ours has a partition's store, or will."""

    def __init__(
        self,
        config: WorkerConfig,
        topology: Topology,
        lookup: OffsetLookup,
        threads: Threads,
        changelog_of: Callable[[Partition], Awaitable[Partition]],
        taken: Callable[[Partition], bool],
    ) -> None:
        self._config = config
        self._topology = topology
        self._lookup = lookup
        self._threads = threads
        self._changelog_of = changelog_of
        self._taken = taken
        self._wanted: frozenset[Partition] = frozenset()
        self._runners: dict[Partition, StandbyRunner] = {}
        self._consumer: FollowingConsumer | None = None
        self._chosen: frozenset[Partition] = frozenset()
        self._wake = asyncio.Event()
        self._stopping = False
        self._loaded = False

    def want(self, tasks: frozenset[Partition]) -> None:
        """Follow these tasks' state, and no others'; without a folder for it, none."""
        self._wanted = tasks if self._config.state_dir is not None else frozenset()
        self._wake.set()

    def held(self) -> dict[Partition, LocalCopy]:
        """The copies that are open."""
        return {at: runner.held for at, runner in self._runners.items()}

    def stats(self) -> dict[str, Any]:
        """Figures of every standby, by topic and partition."""
        return {
            f"{topic}/{partition}": runner.core.stats() | {"bytes": runner.held.bytes}
            for (topic, partition), runner in sorted(self._runners.items())
        }

    async def release(self, at: Partition) -> None:
        """Let go of a store, for a task of ours is to open it."""
        self._wanted -= {at}
        if (runner := self._runners.get(at)) is not None:
            runner.feed(ev.End())
            await runner.ended.wait()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping:
            await self._open_and_close()
            try:
                await self._follow()
            except Retriable as error:
                log.warning("standbys of %s wait: %s", self._topology.name, error)
                await self._rest(AWAY_SECONDS)
            for runner in list(self._runners.values()):
                runner.feed(ev.Tick())

    async def stop(self) -> None:
        """Close all copies; bounded."""
        self._stopping = True
        self._wanted = frozenset()
        self._wake.set()
        ending = [asyncio.create_task(self.release(at)) for at in self._runners]
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_SECONDS)
        await self._drop_consumer()

    async def _open_and_close(self) -> None:
        for at, runner in list(self._runners.items()):
            if at not in self._wanted:
                runner.feed(ev.End())
        for at in sorted(self._wanted - set(self._runners)):
            changelog = await self._changelog_of(at)
            if at in self._wanted and not self._taken(at) and not self._stopping:
                self._load_kernels()
                task = TaskId(self._topology.name, *at)
                self._runners[at] = StandbyRunner(
                    self._config,
                    task,
                    changelog,
                    self._topology,
                    self._lookup,
                    self._threads.standby,
                    self._changed,
                )

    def _load_kernels(self) -> None:
        """Who takes over a task has no second to load them then."""
        if not self._loaded:
            self._loaded = True
            self._threads.standby.submit(load_cached, lambda: not self._stopping)

    def _changed(self, runner: StandbyRunner, seek: bool) -> None:
        if runner.ended.is_set():
            self._runners.pop((runner.id.topic, runner.id.partition), None)
        elif seek and self._consumer is not None and runner.changelog in self._chosen:
            self._seek(self._consumer, runner.changelog)
        self._wake.set()

    def _seek(self, consumer: FollowingConsumer, changelog: Partition) -> None:
        """Where the one begins that is the furthest behind; the others pass over what they know."""
        consumer.fetch_from(changelog, min(r.core.offset for r in self._followers(changelog)))

    def _followers(self, changelog: Partition) -> list[StandbyRunner]:
        every = self._runners.values()
        return [runner for runner in every if runner.changelog == changelog and runner.following]

    async def _follow(self) -> None:
        """Fetch once, for whom it is time."""
        chosen = frozenset(r.changelog for r in self._runners.values() if r.following)
        if not chosen:
            if not self._wanted:
                await self._drop_consumer()
            await self._rest(AWAY_SECONDS if self._wanted else None)
            return
        consumer = await self._choose(chosen)
        ready = [changelog for changelog in chosen if self._due(changelog)]
        if not ready:
            await self._rest(REST_SECONDS)
            return
        try:
            pieces = await consumer.poll(ready, REST_SECONDS)
        except OffsetsGone as gone:
            for changelog in gone.partitions:
                for runner in self._followers(changelog):
                    runner.feed(ev.ChangelogGone())
            return
        for changelog, piece in pieces.items():
            self._hand_over(changelog, piece)

    def _due(self, changelog: Partition) -> bool:
        followers = self._followers(changelog)
        free = not any(runner.core.busy for runner in followers)
        return free and any(runner.core.wants_records(now_ms()) for runner in followers)

    def _hand_over(self, changelog: Partition, piece: Piece) -> None:
        records = [ChangelogRecord(r.key or b"", r.value, r.offset) for r in piece.records]
        for runner in self._followers(changelog):
            runner.feed(ev.ChangelogFetched(piece.offset, records, piece.next_offset, piece.end))

    async def _choose(self, chosen: frozenset[Partition]) -> FollowingConsumer:
        if self._consumer is None:
            consumer = FollowingConsumer(self._config, self._threads.codec)
            await consumer.start()
            self._consumer, self._chosen = consumer, frozenset()
        if chosen != self._chosen:
            self._chosen = chosen
            self._consumer.choose(chosen)
            for changelog in chosen:
                self._seek(self._consumer, changelog)
        return self._consumer

    async def _drop_consumer(self) -> None:
        consumer, self._consumer, self._chosen = self._consumer, None, frozenset()
        if consumer is not None:
            await consumer.stop(2.0)

    async def _rest(self, seconds: float | None) -> None:
        if self._stopping:
            return
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)


def now_ms() -> int:
    """Monotonic."""
    return time.monotonic_ns() // 1_000_000
