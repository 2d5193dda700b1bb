"""At least once, under every fault of the commit protocol: repeats are allowed, a loss is not.

`TIDEMILL_SIMULATIONS` sets the number of histories.
"""

import os
from collections import Counter

import pytest

from streams.codecs import Json
from streams.config import TaskSettings, Topology, WorkerConfig
from streams.errors import Rejected
from streams.operators.frames import decode_frame
from streams.operators.windows import TimeWindows
from streams.schema import Schema, string
from streams.schema import time as at_time
from streams.task import events as ev
from streams.task.processor import InputRecord
from streams.testing import MemoryLog
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from tests.simulation.crash_at_least_once import AtLeastOnceDriver, Repeating
from tests.simulation.crash_world import Windows

SEEDS = int(os.environ.get("TIDEMILL_SIMULATIONS", "250"))


def test_any_history_of_crashes_writes_everything_and_counts_it_once():
    met: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            Repeating(seed, met=met).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    for what in ("output came twice", "every output came once", "zombie was fenced", "disk lost",
                 "crash send output", "crash end transaction", "produce failed"):  # fmt: skip
        assert met[what], f"no history met: {what}"


class ThePositionGoesFirst(AtLeastOnceDriver):
    def commit(self, outputs, changelog):
        committed = super().commit((), changelog)
        self.write(outputs)
        return committed


class AFailedWriteIsPassedOver(AtLeastOnceDriver):
    def write(self, outputs):
        for output in outputs:
            try:
                self.faults("send output")
            except ev.StreamsError:
                continue
            self.log.write(output)


class NoPositionFollowsOutputs(AtLeastOnceDriver):
    class Broken(AtLeastOnceDriver.task_type):
        def _on_outputs_prepared(self, event):
            super()._on_outputs_prepared(event)
            self._behind = False

        _handlers = AtLeastOnceDriver.task_type._handlers | {
            ev.CommitPrepared: _on_outputs_prepared
        }

    task_type = Broken


@pytest.mark.parametrize(
    "mutant",
    [ThePositionGoesFirst, AFailedWriteIsPassedOver, NoPositionFollowsOutputs],
    ids=lambda mutant: mutant.__name__,
)
def test_a_planted_bug_is_found(mutant):
    for seed in range(2_000):
        try:
            Repeating(seed, mutant).run()
        except AssertionError:
            return
    raise AssertionError(f"{mutant.__name__} survived 2,000 histories")


def driver_of(settings):
    log = MemoryLog({"in": 1, "out": 1, "progress": 1})
    topology = Topology("windows", lambda _t, _p: Windows(), ("in",), settings=settings)
    return log, AtLeastOnceDriver(log, topology, "in")


def test_outputs_are_seen_at_once_and_positions_come_with_snapshots():
    settings = TaskSettings(commit_interval_ms=100, snapshot_interval_ms=5_000)
    log, driver = driver_of(settings)
    driver.run()
    for time in range(0, 100, 5):
        log.append("in", 0, b"%d 1" % time)
    driver.run()
    assert len(log.read("out")) == 9
    assert log.read(driver.changelog) == []
    assert log.bounds("out", 0)[1] == 9  # no marker of a transaction
    driver.advance(5_000)
    assert log.read(driver.changelog) != []
    assert driver.task.committed.offset == 20


def test_a_crash_repeats_what_was_written_since_the_snapshot_and_counts_nothing_twice():
    log, driver = driver_of(TaskSettings(commit_interval_ms=100, snapshot_interval_ms=5_000))
    for time in range(0, 100, 5):
        log.append("in", 0, b"%d 1" % time)
    driver.run()
    driver.crash()
    driver.start()
    driver.settle()
    driver.close()
    keys = [record.key for record in log.read("out")]
    assert keys[:9] == keys[9:18]
    assert {record.value for record in log.read("out")} == {b"2"}


def test_a_task_that_moves_in_order_repeats_nothing():
    log, driver = driver_of(TaskSettings(commit_interval_ms=100, snapshot_interval_ms=5_000))
    for time in range(0, 100, 5):
        log.append("in", 0, b"%d 1" % time)
    driver.run()
    driver.close()
    driver.start()
    driver.settle()
    assert len(log.read("out")) == 9


def test_a_part_that_comes_again_when_its_window_has_closed_is_refused_and_changes_nothing():
    builder = StreamsBuilder("app")
    rows = builder.stream("in", Json(Schema(key=string, at=at_time)), time="at", partitions=2)
    rows.group_by("key").windowed_by(TimeWindows.of(10)).aggregate(n=agg.count()).to("out")
    plan = builder.build()
    rows_of, merge_of = map(plan.factory, plan.subs)
    sent = []
    for partition in range(2):
        task = rows_of("in", partition)
        for offset, at in enumerate((3, 14)):
            row = b'{"key":"a","at":%d}' % at
            task.process([InputRecord(offset, 0, None, row)])
            sent += task.outputs()
    mine = sent[0].partition
    frames = [r for r in sent if r.partition == mine]
    merge = merge_of(plan.subs[1].topic, mine)
    for offset, frame in enumerate(frames):
        merge.process([InputRecord(offset, 0, frame.key, frame.value)])
    assert len(merge.outputs()) == 1
    for frame in frames:
        if decode_frame(frame.value).kind == "groups":
            with pytest.raises(Rejected, match="had closed before"):
                merge.process([InputRecord(9, 0, frame.key, frame.value)])
    assert not merge.outputs()


def test_the_guarantee_is_one_of_two():
    with pytest.raises(ValueError, match="it is exactly_once or at_least_once"):
        WorkerConfig("app", "127.0.0.1:1", None, guarantee="twice")
