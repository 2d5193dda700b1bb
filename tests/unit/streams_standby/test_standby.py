"""What becomes of a copy when the log is not what it was, or somebody else's."""

import pytest

from streams.config import TaskSettings, Topology, WorkerConfig
from streams.errors import Retriable
from streams.standby import events as ev
from streams.standby.standby import LOOK_MS, Standby
from streams.state.position import Checkpoint
from streams.task.events import TaskId
from streams.testing import MemoryLog, SimulatedDisk, StandbyDriver, TaskDriver


class Sums:
    """The sum of all numbers, one block a last digit."""

    def __init__(self):
        self.sums, self.changed, self.position = {}, set(), None

    def restore(self, blocks):
        for key, value in blocks:
            if key == b"position":
                self.position = int(value)
            else:
                self.sums[key] = int(value)

    def replay_from(self):
        return self.position

    def process(self, records):
        for record in records:
            key = record.value[-1:]
            self.sums[key] = self.sums.get(key, 0) + int(record.value)
            self.changed.add(key)
        return len(records)

    def snapshot(self, position):
        blocks = {key: b"%d" % self.sums[key] for key in self.changed}
        self.changed.clear()
        return blocks | {b"position": b"%d" % position}

    def needs(self):
        return None

    def urgent(self):
        return False

    def outputs(self):
        return []

    def before_commit(self, position):
        return []

    def idle(self, now_ms):
        return []

    def stats(self):
        return {}


TOPOLOGY = Topology(
    "sums", lambda _t, _p: Sums(), ("in",), settings=TaskSettings(snapshot_interval_ms=0)
)


@pytest.fixture
def log():
    return MemoryLog({"in": 1})


def produce(log, owner, first, count):
    for number in range(first, first + count):
        log.append("in", 0, b"%d" % number)
    owner.settle()


def same(owner, standby):
    standby.settle()
    copy, own = standby.disk.open(), owner.disk.open()
    assert dict(copy.blocks()) == dict(own.blocks())
    assert copy.checkpoint().position == own.checkpoint().position


def test_a_copy_is_the_owners_state_to_the_digest(log):
    owner = TaskDriver(log, TOPOLOGY, "in")
    standby = StandbyDriver(log, TOPOLOGY, "in")
    for first in range(0, 100, 20):
        produce(log, owner, first, 20)
        same(owner, standby)
    assert standby.core.wipes == 0
    assert standby.core.stats()["lag"] == 0


def test_a_changelog_made_anew_is_read_anew(log):
    owner = TaskDriver(log, TOPOLOGY, "in")
    standby = StandbyDriver(log, TOPOLOGY, "in")
    produce(log, owner, 0, 50)
    same(owner, standby)
    owner.crash(lose_disk=True)
    log.remake(owner.changelog)
    owner.start()
    for first in range(50, 150, 20):
        produce(log, owner, first, 20)
    for _ in range(20):
        standby.advance(1_000)
    same(owner, standby)
    assert standby.core.wipes == 1


def test_a_copy_ahead_of_the_changelog_is_wiped_when_it_is_opened(log):
    owner = TaskDriver(log, TOPOLOGY, "in")
    produce(log, owner, 0, 50)
    disk = SimulatedDisk()
    disk.record({b"stray": b"1"}, Checkpoint(10_000, None))
    same(owner, StandbyDriver(log, TOPOLOGY, "in", disk=disk))


def test_a_changelog_that_was_trimmed_is_tried_again_ever_later_and_nothing_stops(log):
    owner = TaskDriver(log, TOPOLOGY, "in")
    produce(log, owner, 0, 50)
    for number in (51, 61, 71, 81):  # others' digits are not written again
        log.append("in", 0, b"%d" % number)
        owner.settle()
    log.trim(owner.changelog, 0, log.bounds(owner.changelog, 0)[1] - 3)
    standby = StandbyDriver(log, TOPOLOGY, "in")
    for _ in range(600):
        standby.advance(1_000)
    assert 5 < standby.core.wipes < 20
    assert "blocks with digest" in standby.core.stats()["error"]
    assert standby.alive


def test_a_damaged_copy_is_noticed_when_it_is_opened_though_nothing_new_comes(log):
    owner = TaskDriver(log, TOPOLOGY, "in")
    standby = StandbyDriver(log, TOPOLOGY, "in")
    produce(log, owner, 0, 50)
    same(owner, standby)
    standby.end()
    at = next(n for n, item in enumerate(standby.disk.done) if isinstance(item, tuple))
    standby.disk.done.append((standby.disk.done[at][0], b"77"))
    again = StandbyDriver(log, TOPOLOGY, "in", disk=standby.disk)
    same(owner, again)
    assert again.core.wipes == 1


def test_a_log_that_is_away_is_asked_again_and_the_copy_stays(log):
    owner = TaskDriver(log, TOPOLOGY, "in")
    produce(log, owner, 0, 50)
    away = [True]

    def fault(point):
        if point == "ask the log" and away[0]:
            raise Retriable("away")

    standby = StandbyDriver(log, TOPOLOGY, "in", faults=fault)
    standby.advance(60_000)
    assert standby.core.stats()["error"] == "away"
    away[0] = False
    standby.advance(60_000)
    same(owner, standby)
    assert standby.core.wipes == 0


def test_tasks_that_share_a_partition_of_the_changelog_are_told_apart():
    log = MemoryLog({"in": 1, "other": 1})
    topology = Topology("sums", lambda _t, _p: Sums(), ("in", "other"), settings=TOPOLOGY.settings)
    one, two = (TaskDriver(log, topology, topic) for topic in ("in", "other"))
    copy = StandbyDriver(log, topology, "in")
    produce(log, one, 0, 30)
    log.append("other", 0, b"1000")
    two.settle()
    same(one, copy)


def test_a_copy_that_is_caught_up_rests_and_one_that_ends_lets_go_first():
    core = Standby(TaskId("t", "in", 0), TaskSettings())
    assert core.step(ev.Begin(), 0) == [ev.OpenCopy(wipe=False)]
    assert core.step(ev.CopyOpened(None), 0) == [ev.FindChangelog()]
    assert core.step(ev.ChangelogFound(0, 5), 0) == [ev.Follow(0)]
    assert core.wants_records(0)
    fetched = ev.ChangelogFetched(0, [], 5, 5)
    assert core.step(fetched, 0) == [ev.ApplyToCopy([], 5, 5)]
    assert core.step(ev.End(), 0) == []  # a write is under way
    assert core.step(ev.CopyApplied(False), 0) == [ev.CloseCopy()]
    assert not core.wants_records(LOOK_MS)
    assert core.step(ev.CopyClosed(), 0) == [ev.StandbyEnded()]
    assert core.ended


def test_copies_need_a_state_folder(tmp_path):
    WorkerConfig("app", "localhost:1", tmp_path, standby_replicas=1)
    with pytest.raises(ValueError, match="needs a state_dir"):
        WorkerConfig("app", "localhost:1", None, standby_replicas=1)
    with pytest.raises(ValueError, match="0 or more"):
        WorkerConfig("app", "localhost:1", tmp_path, standby_replicas=-1)
