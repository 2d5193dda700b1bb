"""Does a task's compute effects: the processor and the local store behind the task's decisions.

Synchronous and without knowledge of the log; a worker calls `perform` on an executor's thread, a
test calls it in line. One call at a time a lane; `StoreSnapshot` may run beside the others, for it
touches the store and they, while the task runs, touch the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from streams.errors import Fatal, MustRestore, Rejected, StreamsError
from streams.queries.questions import QueryError, Reply
from streams.state.changelog import ChangelogKeys, ChangelogReader, ChangelogWriter
from streams.state.held import LocalCopy
from streams.state.position import Checkpoint, Manifest, Position, UnknownVersion
from streams.state.store import CorruptStore, StateStore
from streams.task.events import (
    Answer,
    Answered,
    ApplyChangelog,
    CallIdle,
    ChangelogApplied,
    CommitPrepared,
    ComputeEffect,
    Event,
    Failed,
    IdleCalled,
    LoadProcessor,
    OpenStore,
    Poisoned,
    PrepareCommit,
    Process,
    Processed,
    ProcessorLoaded,
    SnapshotStored,
    StoreOpened,
    StoreSnapshot,
    Supply,
    TaskId,
    lane_of,
)
from streams.task.outputs import Outputs
from streams.task.processor import OutputRecord, Processor, ProcessorFactory, Queryable


class TaskHost:
    """One task's processor and store.

    `open_store` opens the task's local state. `wall_clock_ms` is asked when a partition is idle,
    and only then: what it says ends up in a record of the log, where every replay finds it again.
    """

    def __init__(
        self,
        task: TaskId,
        factory: ProcessorFactory,
        open_store: Callable[[], StateStore],
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._task = task
        self._wall_clock_ms = wall_clock_ms
        self._factory = factory
        self._open_store = open_store
        self._keys = ChangelogKeys(task.topic, task.partition)
        self._store: StateStore | None = None
        self._processor: Processor | None = None
        self._reader = ChangelogReader(self._keys)
        self._writer = ChangelogWriter(self._keys)
        self._manifest = Manifest()
        self._idle_outputs: list[OutputRecord] = []
        self._stats: dict[str, Any] = {}
        self._changelog_offset = 0

    def perform(self, effect: ComputeEffect) -> Event:
        """Do it and say what came of it. Never raises: failures are events."""
        lane = lane_of(effect)
        try:
            return self._do(effect)
        except StreamsError as error:
            return Failed(lane, error)
        except CorruptStore as error:
            message = f"the local state of {self._task} is damaged: {error}"
            return Failed(lane, MustRestore(message, local=True))
        except UnknownVersion as error:
            advice = "Run the version that wrote it, or a newer one"
            return Failed(lane, Fatal(f"the state of {self._task} cannot be read: {error}", advice))
        except Exception as error:
            what = type(effect).__name__
            message = f"{what} of {self._task} failed: {type(error).__name__}: {error}"
            failure = Fatal(message, "This is a bug in the topology; its state is untouched")
            failure.__cause__ = error
            return Failed(lane, failure)

    def stats(self) -> dict[str, Any]:
        """The processor's figures as of the last load, commit or idle call; from any thread."""
        return self._stats

    @property
    def held(self) -> LocalCopy:
        """Up to where the local state goes; 0 bytes while it is restored."""
        return LocalCopy(self._changelog_offset, self._manifest.bytes)

    @property
    def processor(self) -> Processor | None:
        """The processor, for tests that look into it; None: none is loaded."""
        return self._processor

    def close(self) -> None:
        """Let go of the store; raises nothing."""
        store, self._store, self._processor = self._store, None, None
        if store is not None:
            try:
                store.close()
            except (StreamsError, CorruptStore):
                return  # what did not reach the disk is in the changelog

    def _do(self, effect: ComputeEffect) -> Event:
        match effect:
            case OpenStore(wipe):
                return self._open(wipe)
            case ApplyChangelog():
                return self._apply(effect)
            case LoadProcessor(position):
                return self._load(position)
            case Process():
                return self._process(effect)
            case Supply(records, done, muted):
                self._live.supply(records, done)
                return self._after(0, muted)
            case CallIdle():
                wrote = self._live.idle(self._wall_clock_ms())
                self._stats = self._live.stats()
                self._idle_outputs.extend(wrote)
                return IdleCalled(bool(wrote))
            case PrepareCommit():
                return self._prepare(effect)
            case Answer():
                return self._answer(effect)
            case StoreSnapshot(changes, checkpoint):
                self._opened.write(changes, checkpoint)
                self._changelog_offset = checkpoint.changelog_offset
                return SnapshotStored()

    @property
    def _live(self) -> Processor:
        assert self._processor is not None, "LoadProcessor comes first"
        return self._processor

    @property
    def _opened(self) -> StateStore:
        assert self._store is not None, "OpenStore comes first"
        return self._store

    def _open(self, wipe: bool) -> StoreOpened:
        self._processor = None
        if self._store is None:
            self._store = self._open_store()
        checkpoint = self._store.checkpoint()
        stray = checkpoint is None and next(self._store.blocks(), None) is not None
        if wipe or stray:  # blocks without a checkpoint: the first write was cut short
            self._store.wipe()
            checkpoint = None
        self._reader = ChangelogReader(self._keys)
        self._reader.position = None if checkpoint is None else checkpoint.position
        self._changelog_offset = 0 if checkpoint is None else checkpoint.changelog_offset
        return StoreOpened(checkpoint)

    def _apply(self, effect: ApplyChangelog) -> ChangelogApplied:
        changes = self._reader.read(effect.records)
        offset = self._reader.resume_offset(effect.next_offset)
        self._opened.write(changes, Checkpoint(offset, self._reader.position))
        self._changelog_offset = offset
        return ChangelogApplied(self._reader.position)

    def _load(self, position: Position | None) -> ProcessorLoaded:
        self._manifest = Manifest()
        self._writer = ChangelogWriter(self._keys)
        self._idle_outputs = []
        self._processor = self._factory(self._task.topic, self._task.partition)
        blocks = self._counted_blocks()
        try:
            self._processor.restore(blocks)
        finally:  # a damaged block may be why restore() raised: then this is the better error
            self._check_manifest(blocks, position)
        self._stats = self._processor.stats()
        return ProcessorLoaded(self._processor.replay_from())

    def _check_manifest(
        self, blocks: Iterator[tuple[bytes, bytes]], position: Position | None
    ) -> None:
        """Raises `MustRestore` unless the blocks, read to the last, are those of the position."""
        for _ in blocks:
            pass
        found = (self._manifest.blocks, self._manifest.digest)
        wanted = (0, 0) if position is None else (position.blocks, position.digest)
        if found != wanted:
            raise MustRestore(
                f"the state of {self._task} has {found[0]} blocks with digest {found[1]:x}, "
                f"its position says {wanted[0]} and {wanted[1]:x}",
                local=True,
            )

    def _counted_blocks(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._opened.blocks():
            self._manifest.put(key, value)
            self._writer.known(key, value)
            yield key, value

    def _process(self, effect: Process) -> Event:
        try:
            consumed = self._live.process(effect.records)
        except Rejected as error:
            return Poisoned(error.code, error.message, error.index)
        except Fatal:  # no record's fault
            raise
        except Exception as error:
            return Poisoned("processing-failed", f"{type(error).__name__}: {error}", None)
        return self._after(consumed, effect.muted)

    def _after(self, consumed: int, muted: bool) -> Processed:
        if muted:
            self._live.outputs()
        return Processed(consumed, self._live.needs(), self._live.urgent())

    def _answer(self, effect: Answer) -> Answered:
        """A question that fails is no reason for the task to."""
        replies: dict[int, Reply | QueryError] = {}
        for asked in effect.asked:
            try:
                if not isinstance(self._live, Queryable):
                    raise QueryError(404, "no-stores", f"{self._task} has no stores to ask")
                part = self._live.query(asked.question)
                replies[asked.number] = Reply(part, effect.position, effect.committed)
            except QueryError as error:
                replies[asked.number] = error
            except Exception as error:
                message = f"{self._task} cannot answer: {type(error).__name__}: {error}"
                replies[asked.number] = QueryError(500, "failed", message)
        return Answered(replies)

    def _prepare(self, effect: PrepareCommit) -> CommitPrepared:
        position, processor = effect.position, self._live
        outputs = Outputs()
        outputs += processor.outputs()
        outputs += [*self._idle_outputs, *effect.extra]
        self._idle_outputs = []
        outputs += processor.before_commit(position.offset)
        changes: dict[bytes, bytes | None] | None = None
        if effect.snapshot:
            changes = processor.snapshot(position.offset)
            for key, value in changes.items():
                self._manifest.put(key, value)
            position = replace(position, snapshot=position.offset)
        position = replace(position, blocks=self._manifest.blocks, digest=self._manifest.digest)
        changelog = self._writer.encode(changes or {}, position)
        self._stats = processor.stats()
        return CommitPrepared(position, outputs, changelog, changes)
