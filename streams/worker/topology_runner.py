"""One topology in this process: a member of its consumer group, and the tasks it was given.

The group only says which partitions are ours. A task that is revoked commits and waits (a
rebalance often gives it back); it is closed when the new assignment goes without it. Should the
group have given it away meanwhile, the new owner has fenced our producer: the first commit says so,
and we join anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from streams.assignment.claims import Claim, Held, How, Told
from streams.config import Topology, WorkerConfig
from streams.errors import Fatal, MustRestore, Retriable, StreamsError
from streams.state.held import copies, process_identity
from streams.task import events as ev
from streams.task.phase import Phase
from streams.worker.assignor import Assignor
from streams.worker.desk import Desk
from streams.worker.group_consumer import GroupConsumer
from streams.worker.input_records import InputRecords
from streams.worker.kafka import OffsetLookup, Partition, create_topic
from streams.worker.pieces import OffsetsGone, Piece
from streams.worker.standbys import Standbys
from streams.worker.task_runner import TaskOwner, TaskRunner
from streams.worker.threads import Threads

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.02
WAIT_SECONDS = 1.0
"""For records or for a task that wants some; what happens ends the wait, and not the clock."""
OFFSETS_SECONDS = 5.0
MAX_REJOINS = 20
CHANGELOG_SETTINGS = {
    "cleanup.policy": "compact",
    "max.message.bytes": "10485760",
    "segment.bytes": str(32 << 20),  # the newest segment is never compacted, and is restored whole
}


class TopologyRunner:
    """Runs one topology until stopped. `failed` is called once when it cannot go on."""

    def __init__(
        self,
        config: WorkerConfig,
        topology: Topology,
        threads: Threads,
        failed: Callable[[Exception], None],
    ) -> None:
        self.topology = topology
        self._config = config
        self._threads = threads
        self._failed = failed
        self._lookup = OffsetLookup(config)
        self._records = InputRecords(self._lookup, topology)
        self._process = process_identity(config.state_dir)
        self._tasks: dict[Partition, TaskRunner] = {}
        self._closing: dict[Partition, TaskRunner] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._consumer: GroupConsumer | None = None
        self._seen: dict[Partition, tuple[int, int]] = {}
        self._stopping = asyncio.Event()
        self._rejoin = False
        self._wake = asyncio.Event()
        self._polled: Collection[Partition] = ()
        """The tasks that wait for records by now; any other that wants some ends the wait."""
        self._changelogs: dict[str, int] = {}
        self._mine: set[Partition] = set()
        self._where: Mapping[Partition, str] = {}
        self._standbys = Standbys(
            config, topology, self._lookup, threads, self._changelog_of, self._taken
        )

    def stats(self) -> dict[str, Any]:
        """Figures of every task here, by topic and partition."""
        return {
            f"{topic}/{partition}": runner.stats()
            for (topic, partition), runner in sorted(self._tasks.items())
        }

    def standbys(self) -> dict[str, Any]:
        """Figures of every standby here, by topic and partition."""
        return self._standbys.stats()

    @property
    def where(self) -> Mapping[Partition, str]:
        """The endpoint of every task of the topology, as of the last assignment."""
        return self._where

    def desk(self, at: Partition) -> Desk | None:
        """Where to ask a task that runs here; None: it does not."""
        runner = self._tasks.get(at)
        return None if runner is None else runner.desk

    async def run(self) -> None:
        """Join, work, and join anew after being fenced, until `stop`. Raises `Fatal`."""
        rejoins = 0
        self._spawn(self._standbys.run())
        try:
            while not self._stopping.is_set():
                self._rejoin = False
                await self._be_member()
                rejoins += 1
                if rejoins > MAX_REJOINS:
                    raise Fatal(
                        f"{self.topology.name} was fenced {MAX_REJOINS} times",
                        "Does another worker run under the same app name outside the group?",
                    )
        finally:
            await self._standbys.stop()
            await self._lookup.stop()

    def stop(self) -> None:
        """Ask `run` to commit, close the tasks, leave the group and return."""
        self._stopping.set()
        self._wake_up()

    async def abandon(self) -> None:
        """Let go of everything at once, without commits."""
        for work in list(self._background):
            work.cancel()
        runners = [*self._tasks.values(), *self._closing.values()]
        await asyncio.gather(*(runner.abandon() for runner in runners), return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop(2.0)
        await self._standbys.stop()
        await self._lookup.stop()

    # ------------------------------------------------------------ membership

    async def _be_member(self) -> None:
        consumer = await self._join()
        if consumer is None:
            return
        beside = [
            asyncio.create_task(self._note_offsets(consumer)),
            asyncio.create_task(self._records.keep_looking()),
        ]
        try:
            while not self._stopping.is_set() and not self._rejoin:
                await self._poll(consumer)
        finally:
            for work in beside:
                work.cancel()
        self._mine = set()
        await self._drain()
        await consumer.stop(3.0)
        self._consumer = None

    async def _join(self) -> GroupConsumer | None:
        """A consumer that joined, or None when asked to stop. Raises `Fatal` at the limit."""
        give_up_ms = self.topology.settings.give_up_after_ms
        backoff_ms, waited_ms = 250, 0
        while not self._stopping.is_set():
            group = f"{self._config.app}-{self.topology.name}"
            await self._records.look()
            assignor = Assignor(self._claim, self._told, self._records)
            consumer = GroupConsumer(self._config, group, assignor, self._threads.codec)
            self._consumer = consumer
            try:
                await consumer.start(
                    self.topology.topics,
                    self.topology.pattern,
                    self._revoked,
                    self._assigned,
                    self._failed,
                )
            except Retriable as error:
                if waited_ms >= give_up_ms:
                    raise Fatal(
                        f"no log at {self._config.bootstrap_servers} for {waited_ms // 1000} s",
                        "Start the broker, or point bootstrap_servers at it",
                    ) from error
                if waited_ms == 0:
                    log.warning("waiting for the log at %s", self._config.bootstrap_servers)
                await self._pause(backoff_ms / 1000)
                waited_ms += backoff_ms
                backoff_ms = min(backoff_ms * 2, 5_000)
            else:
                return consumer
        return None

    def _claim(self) -> Claim:
        """What this process says to the group: the state it has, and the tasks it runs."""
        held: dict[Partition, Held] = {}
        if self._config.state_dir is not None:
            for at, copy in copies(self._config.state_dir / self.topology.name).items():
                held[at] = Held(How.DORMANT, copy.offset, copy.bytes)
        for at, copy in self._standbys.held().items():
            held[at] = Held(How.FOLLOWS, copy.offset, copy.bytes)
        for at, runner in self._tasks.items():
            held[at] = Held(How.RUNS, runner.held.offset, runner.held.bytes)
        config = self._config
        standbys, version = config.standby_replicas, self.topology.version
        return Claim(self._process, standbys, held, config.endpoint, version)

    def _told(self, told: Told) -> None:
        """What the group says beside the partitions."""
        self._where = told.where
        self._standbys.want(told.standbys)

    def _taken(self, at: Partition) -> bool:
        """Whether a task of ours has the store of a partition open, or is about to."""
        return at in self._mine or at in self._tasks or at in self._closing

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _revoked(self, partitions: set[Partition]) -> None:
        """All tasks commit and wait; the consumer goes on to heartbeat meanwhile."""
        runners = [self._tasks[at] for at in partitions if at in self._tasks]
        for runner in runners:
            runner.feed(ev.Suspend())
        waiting = [asyncio.create_task(runner.settled.wait()) for runner in runners]
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=self._config.handover_ms / 1000)
        for wait in late:
            wait.cancel()
        for runner in runners:
            if not runner.settled.is_set():
                log.warning("%s is too busy for a rebalance: back to its last commit", runner.id)
                self._give_up(runner)

    def _give_up(self, runner: TaskRunner) -> None:
        """Let go of a task without a commit; the next owner's registration ends what is open."""
        at = runner.partition
        del self._tasks[at]
        self._closing[at] = runner
        self._spawn(runner.abandon())
        self._spawn(self._see_off(at, runner))

    async def _assigned(self, partitions: set[Partition]) -> None:
        """Seek and pause only: no heartbeat is sent while this runs."""
        consumer = self._consumer
        assert consumer is not None
        self._seen.clear()
        self._mine = set(partitions)
        for at in partitions:
            consumer.park(at)
        for topic in {topic for topic, _ in partitions}:
            self._spawn(self._check_partitions(topic))
        for at in list(self._tasks):
            runner = self._tasks[at]
            if at in partitions and runner.task.phase is Phase.SUSPENDED:
                runner.feed(ev.Resume())
            else:
                self._retire(at)
        for at in sorted(partitions - set(self._tasks)):
            self._spawn(self._take_over(at))
        log.info("%s: %d partitions assigned", self.topology.name, len(partitions))

    def _retire(self, at: Partition) -> None:
        runner = self._tasks.pop(at)
        runner.feed(ev.Close())
        if not runner.ended.is_set():
            self._closing[at] = runner
            self._spawn(self._see_off(at, runner))

    async def _see_off(self, at: Partition, runner: TaskRunner) -> None:
        await runner.ended.wait()
        if self._closing.get(at) is runner:
            del self._closing[at]

    async def _take_over(self, at: Partition) -> None:
        """Start a task once nothing here has its store, unless it is not ours any more by then.

        Of several that a series of rebalances began, the first to come through starts it.
        """
        await self._check_partitions(at[0])
        changelog = await self._changelog_of(at)
        while (previous := self._closing.get(at)) is not None and not previous.ended.is_set():
            await previous.ended.wait()
        await self._standbys.release(at)
        closing = at in self._closing and not self._closing[at].ended.is_set()
        if self._stopping.is_set() or self._rejoin or at in self._tasks or closing:
            return
        if at not in self._mine:
            return
        runner = TaskRunner(
            self._config,
            self.topology,
            at,
            changelog,
            self._lookup,
            self._threads,
            TaskOwner(self._seek, self._progressed, self._fenced, self._failed),
        )
        self._tasks[at] = runner
        runner.feed(ev.Assigned())

    async def _check_partitions(self, topic: str) -> None:
        """Raises `Fatal` when an input topic has not as many partitions as it must have."""
        wanted = self.topology.partitions_of(topic)
        while wanted is not None and not self._stopping.is_set():
            try:
                found = await self._lookup.partition_count(topic)
            except Retriable:
                await self._pause(self.topology.settings.retry_backoff_ms / 1000)
                continue
            if found in (0, wanted):  # 0: it has just been deleted
                return
            raise Fatal(
                f"topic {topic} has {found} partitions and {self.topology.name} was set up for "
                f"{wanted}: records would move between tasks, and results would be wrong",
                "A topic's partitions cannot be taken away again: delete it and make it anew, or "
                "begin another deployment with as many",
            )

    async def _changelog_of(self, at: Partition) -> Partition:
        """The changelog partition of a task; the topic is made with as many as the input has."""
        name = f"{self._config.app}-{self.topology.name}-changelog"
        backoff_ms, waited_ms = self.topology.settings.retry_backoff_ms, 0
        while name not in self._changelogs:
            try:
                count = await self._lookup.partition_count(name)
                if count:
                    self._changelogs[name] = count
                else:
                    inputs = await self._lookup.partition_count(at[0])
                    await create_topic(self._config, name, max(1, inputs), CHANGELOG_SETTINGS)
            except Retriable as error:
                if waited_ms >= self.topology.settings.give_up_after_ms:
                    raise Fatal(f"no changelog {name}: {error.message}", error.advice) from error
                await self._pause(backoff_ms / 1000)
                waited_ms += backoff_ms
                if self._stopping.is_set():
                    break
        return name, at[1] % self._changelogs.get(name, 1)

    def _seek(self, at: Partition, offset: int) -> None:
        if self._consumer is not None and at in self._tasks:
            self._seen.pop(at, None)
            self._consumer.fetch_from(at, offset)

    def _fenced(self, error: StreamsError) -> None:
        log.warning("%s; joining anew", error)
        self._rejoin = True
        self._wake_up()

    def _progressed(self) -> None:
        """A task took an event."""
        if not self._wake.is_set() and any(
            at not in self._polled and runner.task.wants_records()
            for at, runner in self._tasks.items()
        ):
            self._wake_up()

    def _wake_up(self) -> None:
        """Poll anew."""
        self._wake.set()
        if self._consumer is not None:
            self._consumer.wake_up()

    # ------------------------------------------------------------ the loop

    async def _poll(self, consumer: GroupConsumer) -> None:
        ready = [at for at, runner in self._tasks.items() if runner.task.wants_records()]
        self._polled = ready
        self._wake.clear()
        if not ready:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), WAIT_SECONDS)
            return
        try:
            got = await consumer.poll(ready, WAIT_SECONDS)
        except OffsetsGone as gone:
            for at in gone.partitions:
                if at in self._tasks:
                    reason = MustRestore(f"offsets of {at[0]}/{at[1]} are gone from the log")
                    self._tasks[at].feed(ev.Failed("input", reason))
            return
        except Retriable as error:
            log.warning("%s", error)
            await self._pause(_RETRY_SECONDS)
            return
        for at, piece in got.items():
            self._hand_over(at, piece)

    def _hand_over(self, at: Partition, piece: Piece) -> None:
        """Whether the task can use it is the task's to say: what it does not take is not lost, for
        it seeks where it goes on."""
        runner = self._tasks.get(at)
        progress = (piece.next_offset, piece.end)
        if runner is None or (not piece.records and self._seen.get(at) == progress):
            return
        self._seen[at] = progress
        runner.feed(ev.Fetched(runner.fetch, *piece))

    async def _note_offsets(self, consumer: GroupConsumer) -> None:
        while True:
            await asyncio.sleep(OFFSETS_SECONDS)
            offsets = {
                at: runner.task.committed.offset
                for at, runner in self._tasks.items()
                if runner.task.committed is not None
            }
            if offsets:
                await consumer.note_offsets(offsets)

    async def _drain(self) -> None:
        """Commit and close every task; bounded. What is late is dropped, not lost."""
        for at in list(self._tasks):
            self._retire(at)
        waiting = [asyncio.create_task(r.ended.wait()) for r in self._closing.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=self._config.drain_ms / 1000)
            for wait in late:
                wait.cancel()
            if late:
                log.warning("%d tasks of %s dropped undrained", len(late), self.topology.name)
                late_runners = [r for r in self._closing.values() if not r.ended.is_set()]
                await asyncio.gather(*(runner.abandon() for runner in late_runners))
        self._closing.clear()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error if isinstance(error, Exception) else Fatal(repr(error)))
