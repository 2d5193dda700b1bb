"""Does what a standby orders with its store. Synchronous, without knowledge of the log."""

from __future__ import annotations

from collections.abc import Callable

from streams.errors import MustRestore, Retriable, StreamsError
from streams.standby.events import (
    ApplyToCopy,
    CloseCopy,
    CopyApplied,
    CopyClosed,
    CopyEffect,
    CopyFailed,
    CopyOpened,
    Event,
    OpenCopy,
)
from streams.state.changelog import ChangelogKeys, ChangelogReader
from streams.state.held import LocalCopy
from streams.state.position import Checkpoint, Manifest, Position, UnknownVersion
from streams.state.store import CorruptStore, StateStore
from streams.task.events import TaskId


class CopyHost:
    """The store of one standby, and the manifest of what is in it."""

    def __init__(self, task: TaskId, open_store: Callable[[], StateStore]) -> None:
        self._task = task
        self._open_store = open_store
        self._keys = ChangelogKeys(task.topic, task.partition)
        self._store: StateStore | None = None
        self._reader = ChangelogReader(self._keys)
        self._manifest = Manifest()
        self._offset = 0

    @property
    def held(self) -> LocalCopy:
        """How far the copy goes."""
        return LocalCopy(self._offset, self._manifest.bytes)

    def perform(self, effect: CopyEffect) -> Event:
        """Do it and say what came of it. Never raises: failures are events."""
        try:
            match effect:
                case OpenCopy(wipe):
                    return self._open(wipe)
                case ApplyToCopy():
                    return self._apply(effect)
                case CloseCopy():
                    self.close()
                    return CopyClosed()
        except MustRestore as error:
            return CopyFailed(error, wipe=True)
        except StreamsError as error:
            return CopyFailed(error)
        except CorruptStore as error:
            failure = MustRestore(f"the copy of {self._task} is damaged: {error}", local=True)
            return CopyFailed(failure, wipe=True)
        except UnknownVersion as error:
            return CopyFailed(Retriable(f"the state of {self._task} cannot be read: {error}"))

    def close(self) -> None:
        """Let go of the store; raises nothing."""
        store, self._store = self._store, None
        if store is not None:
            try:
                store.close()
            except (StreamsError, CorruptStore):
                return  # what did not reach the disk is in the changelog

    def _open(self, wipe: bool) -> CopyOpened:
        if self._store is None:
            self._store = self._open_store()
        store = self._store
        checkpoint = store.checkpoint()
        stray = checkpoint is None and next(store.blocks(), None) is not None
        if wipe or stray:  # blocks without a checkpoint: the first write was cut short
            store.wipe()
            checkpoint = None
        self._manifest = Manifest()
        for key, value in store.blocks():
            self._manifest.put(key, value)
        self._reader = ChangelogReader(self._keys)
        self._reader.position = None if checkpoint is None else checkpoint.position
        # Were blocks of the next transaction written, it would be read on first, but for one that
        # another's open transaction cuts in two: then the copy is wiped without need.
        self._reader.at_position = self._reader.position is not None
        self._offset = 0 if checkpoint is None else checkpoint.changelog_offset
        return CopyOpened(checkpoint)

    def _apply(self, effect: ApplyToCopy) -> CopyApplied:
        store = self._store
        assert store is not None, "OpenCopy comes first"
        before = self._reader.position
        changes = self._reader.read(effect.records)
        position = self._reader.position
        if before is not None and position is not None and before.lineage != position.lineage:
            raise MustRestore(f"the changelog of {self._task} was made anew", local=True)
        self._offset = self._reader.resume_offset(effect.next_offset)
        store.write(changes, Checkpoint(self._offset, position))
        for key, value in changes.items():
            self._manifest.put(key, value)
        if effect.next_offset < effect.end or not self._reader.at_position or position is None:
            return CopyApplied(matches=False)
        self._compare(position)
        return CopyApplied(matches=True)

    def _compare(self, position: Position) -> None:
        """Raises `MustRestore` unless the copy is what its owner has."""
        found = (self._manifest.blocks, self._manifest.digest)
        if found != (position.blocks, position.digest):
            raise MustRestore(
                f"the copy of {self._task} has {found[0]} blocks with digest {found[1]:x}, "
                f"its position says {position.blocks} and {position.digest:x}",
                local=True,
            )
