"""Two workers that share partitions, under every fault, against plain runs over the same log.

One seed is one history (`crash_shared_world.py`). Then bugs are planted that need a second worker,
or another task's transactions in the input, to show. `TIDEMILL_SHARED` sets the number of seeds.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar

import pytest

from streams.errors import Fatal, Fenced
from streams.state.changelog import ChangelogRecord
from streams.task import events as ev
from streams.task.events import Event
from streams.task.processor import InputRecord, OutputRecord
from streams.task.task import Task
from streams.testing import TaskDriver
from tests.simulation.crash_shared_world import Shared

SEEDS = int(os.environ.get("TIDEMILL_SHARED", "120"))
HISTORIES = 400


def test_any_history_of_two_workers_gives_what_a_run_without_crashes_gives():
    for seed in range(SEEDS):
        try:
            Shared(seed).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


# ---------------------------------------------------------------- planted bugs


class EachProcessHasATransactionalIdOfItsOwn(TaskDriver):
    """Nobody's registration fences the one before."""

    starts = count()

    def start(self) -> None:
        self.transactional_id += f"-{next(self.starts)}"
        super().start()


class InputIsReadUncommitted(TaskDriver):
    def _read_on(self) -> tuple[Sequence[InputRecord], int, int]:
        entries = self.log._topics[self.id.topic][self.id.partition].entries
        found = [e.record for e in entries if e.record and e.offset >= self.fetch[1]][:8]
        end = self.log.bounds(self.id.topic, self.id.partition, committed=False)[1]
        return found, found[-1].offset + 1 if found else end, end


class AFencedTaskRegistersAgain(TaskDriver):
    """In place, with what it has in memory."""

    def commit(
        self, outputs: Sequence[OutputRecord], changelog: Sequence[ChangelogRecord]
    ) -> Event:
        try:
            return super().commit(outputs, changelog)
        except Fenced:
            self.session = self.log.init_producer(self.transactional_id)
            return super().commit(outputs, changelog)


class AnUnknownOutcomeCountsAsACommit(TaskDriver):
    def commit(
        self, outputs: Sequence[OutputRecord], changelog: Sequence[ChangelogRecord]
    ) -> Event:
        try:
            return super().commit(outputs, changelog)
        except Fatal:
            at = self.log.bounds(self.changelog, self.id.partition, committed=False)[1]
            self.session = self.log.init_producer(self.transactional_id)
            return ev.Committed(at)


class LocalStateIsTakenForTheLatest(TaskDriver):
    """What the other worker wrote to the changelog meanwhile is not read."""

    def perform(self, effect: ev.Effect) -> Event:
        event = super().perform(effect)
        if isinstance(event, ev.StoreOpened):
            self.local = event.checkpoint
        if isinstance(event, ev.BoundsFound) and self.local is not None:
            at = max(event.changelog_start, self.local.changelog_offset)
            return replace(event, changelog_end=min(at, event.changelog_end))
        return event


class PositionsAreThoseOfTheGroup(TaskDriver):
    """Noted behind each transaction and not in it, and read when a task starts."""

    class Broken(Task):
        noted: ClassVar[dict[Any, int]] = {}

        def _load(self) -> None:
            at = self.noted.get((self.id, self._lineage_of_log), None)
            if self.committed is not None and at is not None:
                self.committed = replace(self.committed, offset=at)
            super()._load()

        def _on_committed(self, event: ev.Committed) -> None:
            super()._on_committed(event)
            assert self.committed is not None
            self.noted[self.id, self._lineage_of_log] = self.committed.offset

        _lineage_of_log: Any = None
        _handlers: ClassVar = {**Task._handlers, ev.Committed: _on_committed}

    task_type = Broken

    def start(self) -> None:
        super().start()
        self.task._lineage_of_log = id(self.log)


DRIVERS = [
    EachProcessHasATransactionalIdOfItsOwn,
    InputIsReadUncommitted,
    AFencedTaskRegistersAgain,
    AnUnknownOutcomeCountsAsACommit,
    LocalStateIsTakenForTheLatest,
    PositionsAreThoseOfTheGroup,
]


@pytest.mark.parametrize("mutant", DRIVERS, ids=lambda mutant: mutant.__name__)
def test_the_histories_of_two_workers_find_the_planted_bug(mutant):
    for seed in range(HISTORIES):
        try:
            Shared(seed, mutant, damages=False).run()
        except (AssertionError, KeyError):
            return
    pytest.fail(f"{mutant.__name__} survived {HISTORIES} histories")
