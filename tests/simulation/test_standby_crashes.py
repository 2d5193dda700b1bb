"""A task with a standby, under every fault of both, against a plain run over the same log.

The histories of `test_task_crashes.py`; beside each owner another process follows its changelog.
Owners die, hang and move, mostly to where the copy is; the standby dies, loses or damages its disk,
reads the log in pieces that repeat and skip. Outputs and state are as ever; at the end the copy is
the owner's state. Then bugs are planted, with and without the manifest's check: without it each is
found; with it those that spoil the copy cost time and no number. Those that read the log wrongly
are the standby's own to prevent: a copy without a transaction, or with an aborted one, is whole in
itself. `TIDEMILL_STANDBYS` sets the number of histories.
"""

import os
from typing import Any, ClassVar

import pytest

from streams.standby import events as standby_events
from streams.standby.host import CopyHost
from streams.standby.standby import Standby
from streams.state.changelog import ChangelogRecord
from streams.state.position import Checkpoint, Position
from streams.state.store import StateStore
from streams.task.host import TaskHost
from streams.testing import StandbyDriver, TaskDriver
from tests.simulation.crash_standby_world import Pair

SEEDS = int(os.environ.get("TIDEMILL_STANDBYS", "120"))
HISTORIES = 1_500


class Unchecked(TaskDriver):
    """Nobody compares what is loaded with the manifest."""

    class Host(TaskHost):
        def _check_manifest(self, blocks: Any, position: Any) -> None:
            for _ in blocks:
                pass

    host_type = Host


class UncheckedCopies(StandbyDriver):
    class Host(CopyHost):
        def _compare(self, position: Position) -> None:
            pass

    host_type = Host


def test_any_history_of_an_owner_and_a_standby_gives_what_a_run_without_gives():
    for seed in range(SEEDS):
        try:
            Pair(seed).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


# ---------------------------------------------------------------- planted bugs


class ReadsWhatIsNotCommitted(UncheckedCopies):
    def read(self, offset: int) -> tuple[list[ChangelogRecord], int]:
        entries = self.log._topics[self.changelog][self.id.partition].entries
        found = [entry.record for entry in entries if entry.record and entry.offset >= offset]
        end = self.log.bounds(self.changelog, self.id.partition, committed=False)[1]
        return [ChangelogRecord(r.key or b"", r.value, r.offset) for r in found], end


class ThePositionBeforeTheBlocks(UncheckedCopies):
    class Host(UncheckedCopies.Host):
        def _open(self, wipe: bool) -> standby_events.CopyOpened:
            opened = super()._open(wipe)
            assert self._store is not None
            self._store = Reversed(self._store)
            return opened

    host_type = Host


class Reversed:
    """A store that writes the checkpoint first."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, changes: Any, checkpoint: Checkpoint) -> None:
        self._store.write({}, checkpoint)
        for key, value in changes.items():
            self._store._disk.done.append((key, value))
            self._store._apply({key: value})


class TakesPiecesWithAHole(UncheckedCopies):
    class Core(Standby):
        def _fetched(self, event: standby_events.ChangelogFetched) -> None:
            self.offset = max(self.offset, event.offset)
            super()._fetched(event)

    core_type = Core


class KeepsOnWriting(UncheckedCopies):
    """The standby is not told that the task runs here now."""


class TrustsATornCopy(UncheckedCopies):
    """Its disk changed without anybody noticing."""


class RunsAheadOfItsBlocks(UncheckedCopies):
    """A checkpoint at the end of what was fetched, with the last of it not applied."""

    class Host(UncheckedCopies.Host):
        def _apply(self, effect: standby_events.ApplyToCopy) -> standby_events.CopyApplied:
            held = effect.records[:-1] if len(effect.records) > 1 else effect.records
            late = standby_events.ApplyToCopy(held, effect.next_offset, effect.end)
            return super()._apply(late)

    host_type = Host


MUTANTS = [
    ReadsWhatIsNotCommitted,
    ThePositionBeforeTheBlocks,
    TakesPiecesWithAHole,
    KeepsOnWriting,
    TrustsATornCopy,
    RunsAheadOfItsBlocks,
]


def broken(mutant: type[StandbyDriver], seed: int, *, checked: bool) -> None:
    """One history with the bug; `checked`: with the manifest's check, which is to contain it."""

    class Sound(mutant):
        class Host(mutant.host_type):
            _compare = CopyHost._compare

        host_type = Host

    class Broken(Pair):
        standby_type: ClassVar = Sound if checked else mutant
        lets_go: ClassVar = mutant is not KeepsOnWriting

    driver = TaskDriver if checked else Unchecked
    damages = mutant is TrustsATornCopy or checked
    Broken(seed, driver, damages=damages).run()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_histories_find_the_planted_bug_in_a_standby(mutant):
    for seed in range(HISTORIES):
        try:
            broken(mutant, seed, checked=False)
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} survived {HISTORIES} histories")


SPOILS_THE_COPY = [ThePositionBeforeTheBlocks, KeepsOnWriting, TrustsATornCopy]


@pytest.mark.parametrize("mutant", SPOILS_THE_COPY, ids=lambda mutant: mutant.__name__)
def test_the_manifest_keeps_a_spoilt_copy_from_making_a_wrong_number(mutant):
    for seed in range(SEEDS // 5):
        try:
            broken(mutant, seed, checked=True)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
