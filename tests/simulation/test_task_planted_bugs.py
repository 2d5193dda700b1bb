"""The simulation of test_task_crashes.py is only worth what it finds: bugs planted one at a time.

Each mutant breaks one rule of the protocol (streams/task/README.md). The simulation must notice
within a bounded number of histories.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from streams.state.changelog import ChangelogRecord
from streams.task import events as ev
from streams.task.events import Event
from streams.task.host import TaskHost
from streams.task.phase import Phase
from streams.task.processor import InputRecord, OutputRecord
from streams.task.task import Task
from streams.testing import ProducerSession, TaskDriver
from tests.simulation.crash_world import Simulation

HISTORIES = 2_000


class OutputsAndStateInTwoTransactions(TaskDriver):
    def commit(
        self, outputs: Sequence[OutputRecord], changelog: Sequence[ChangelogRecord]
    ) -> Event:
        assert self.session is not None
        self.log.begin(self.session)
        for output in outputs:
            self.log.send(self.session, output)
        self.log.commit(self.session)
        return super().commit((), changelog)


class LocalStateBeforeTheCommit(TaskDriver):
    """And nobody checks the manifest."""

    class Host(TaskHost):
        def _check_manifest(self, blocks: Any, position: Any) -> None:
            for _ in blocks:
                pass

        def _prepare(self, effect: ev.PrepareCommit) -> ev.CommitPrepared:
            prepared = super()._prepare(effect)
            if prepared.changes is not None and (at := self._opened.checkpoint()) is not None:
                self._opened.write(prepared.changes, at)
            return prepared

    host_type = Host


class ReplayIsNotMuted(TaskDriver):
    class Host(TaskHost):
        def _after(self, consumed: int, muted: bool) -> ev.Processed:
            return super()._after(consumed, False)

    host_type = Host


class BatchesAreNotCutAtThePosition(TaskDriver):
    class Broken(Task):
        def _process_next(self) -> None:
            batch_of = self._input.next_batch
            self._input.next_batch = lambda _stops: batch_of(())
            super()._process_next()
            self._input.next_batch = batch_of

    task_type = Broken


class NobodyIsFenced(TaskDriver):
    """Every start shares one session."""

    def perform(self, effect: ev.Effect) -> Event:
        if isinstance(effect, ev.InitProducer):
            name = self.transactional_id
            if name not in self.log._epochs:
                self.log.init_producer(name)
            self.session = ProducerSession(name, self.log._epochs[name])
            return ev.ProducerReady("one")
        return super().perform(effect)


class PositionsAreReadBeforeFencing(TaskDriver):
    """The old owner may commit between the two."""

    def start(self) -> None:
        self.early = self.log.bounds(self.changelog, self.id.partition, committed=False)
        super().start()

    def perform(self, effect: ev.Effect) -> Event:
        event = super().perform(effect)
        if isinstance(event, ev.BoundsFound):
            start, end = self.early
            return replace(event, changelog_start=start, changelog_end=end)
        return event


class TheChangelogIsReadToTheStableOffsetOnly(TaskDriver):
    def perform(self, effect: ev.Effect) -> Event:
        event = super().perform(effect)
        if isinstance(event, ev.BoundsFound):
            stable = self.log.bounds(self.changelog, self.id.partition)[1]
            return replace(event, changelog_end=max(stable, event.changelog_start))
        return event


class CommitsInTheMiddleOfARecomputation(TaskDriver):
    class Broken(Task):
        def _go_on(self) -> None:
            if "compute" not in self._flight and self._needs is not None and self._commit_due():
                self._prepare(snapshot=False)
                return
            super()._go_on()

    task_type = Broken


class AFailedSendIsIgnored(TaskDriver):
    def commit(
        self, outputs: Sequence[OutputRecord], changelog: Sequence[ChangelogRecord]
    ) -> Event:
        session, last = self.session, 0
        assert session is not None
        self.log.begin(session)
        for output in outputs:
            try:
                self.faults("send output")
            except ev.StreamsError:
                continue
            self.log.send(session, output)
        for record in changelog:
            target = OutputRecord(self.changelog, self.id.partition, record.key, record.value)
            _, last = self.log.send(session, target)
        self.log.commit(session)
        return ev.Committed(last + 1)


class AnUnknownOutcomeCountsAsAFailure(TaskDriver):
    """The same processor goes on, and sends the same again."""

    def commit(
        self, outputs: Sequence[OutputRecord], changelog: Sequence[ChangelogRecord]
    ) -> Event:
        try:
            return super().commit(outputs, changelog)
        except ev.StreamsError as error:
            if "outcome" not in error.message:
                raise
            self.faults, faults = (lambda _point: None), self.faults
            try:
                return super().commit(outputs, changelog)
            finally:
                self.faults = faults


class AResumedTaskReadsOnFromTheConsumer(TaskDriver):
    class Broken(Task):
        def _on_resume(self, event: ev.Resume) -> None:
            if self.phase is Phase.SUSPENDED:
                self._goal = None
                self.phase = Phase.RUNNING
                self._seek(self._input.next_offset)

        _handlers: ClassVar = {**Task._handlers, ev.Resume: _on_resume}

    task_type = Broken


class LateFetchesAreTaken(TaskDriver):
    """A reload seeks back, but the consumer goes on where it was."""

    class Broken(Task):
        def _on_processor_loaded(self, event: ev.ProcessorLoaded) -> None:
            ahead = self._input.next_offset
            super()._on_processor_loaded(event)
            if self.phase is Phase.REPLAYING and ahead > self._input.next_offset:
                self._seek(ahead)

        _handlers: ClassVar = {**Task._handlers, ev.ProcessorLoaded: _on_processor_loaded}

    task_type = Broken


class WhatComesForAFullBufferIsDropped(TaskDriver):
    """The consumer stands behind it, and goes on; the task believes that nothing is missing."""

    class Broken(Task):
        def _on_fetched(self, event: ev.Fetched) -> None:
            super()._on_fetched(replace(event, offset=self._input.next_offset))

        _handlers: ClassVar = {**Task._handlers, ev.Fetched: _on_fetched}

    task_type = Broken

    def hand_over(self, records: Sequence[InputRecord], next_offset: int, end: int) -> None:
        if self.task.wants_records():
            super().hand_over(records, next_offset, end)
        else:
            self.fetch = (self.fetch[0], next_offset)


class PoisonIsRememberedBeforeItIsPassed(TaskDriver):
    class Broken(Task):
        def _prepare(self, *, snapshot: bool) -> None:
            super()._prepare(snapshot=snapshot)
            effect = self._effects[-1]
            assert isinstance(effect, ev.PrepareCommit)
            every = tuple(sorted(self._input.skipped))
            position = replace(effect.position, skipped=every)
            self._effects[-1] = self._flight["compute"] = replace(effect, position=position)

    task_type = Broken


class ASnapshotForgetsDeletions(TaskDriver):
    class Host(TaskHost):
        def _prepare(self, effect: ev.PrepareCommit) -> ev.CommitPrepared:
            prepared = super()._prepare(effect)
            kept = [r for r in prepared.changelog if r.value is not None]
            return replace(prepared, changelog=kept)

    host_type = Host


MUTANTS = [
    OutputsAndStateInTwoTransactions,
    LocalStateBeforeTheCommit,
    ReplayIsNotMuted,
    BatchesAreNotCutAtThePosition,
    NobodyIsFenced,
    PositionsAreReadBeforeFencing,
    TheChangelogIsReadToTheStableOffsetOnly,
    CommitsInTheMiddleOfARecomputation,
    AFailedSendIsIgnored,
    AnUnknownOutcomeCountsAsAFailure,
    AResumedTaskReadsOnFromTheConsumer,
    LateFetchesAreTaken,
    WhatComesForAFullBufferIsDropped,
    PoisonIsRememberedBeforeItIsPassed,
    ASnapshotForgetsDeletions,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_simulation_finds_the_planted_bug(mutant):
    for seed in range(HISTORIES):
        try:
            damages = mutant is not LocalStateBeforeTheCommit
            Simulation(seed, mutant, damages=damages).run()
        except AssertionError:
            return
    pytest.fail(f"{mutant.__name__} survived {HISTORIES} histories")
