"""What a task does when local state, changelog and input do not fit together."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from streams.config import TaskSettings, Topology, WorkerConfig
from streams.errors import Fatal, Retriable
from streams.state.changelog import ChangelogKeys
from streams.task import events as ev
from streams.task.phase import Phase
from streams.testing import MemoryLog, TaskDriver

_spec = importlib.util.spec_from_file_location(
    "streams_driver", Path(__file__).with_name("test_streams_driver.py")
)
assert _spec is not None
assert _spec.loader is not None
_driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_driver)
Totals = _driver.Totals


def make(**settings: Any) -> tuple[MemoryLog, TaskDriver]:
    given = {"snapshot_interval_ms": 0, "idle_after_ms": 1_000_000} | settings
    log = MemoryLog({"numbers": 1, "totals": 1, "progress": 1})
    topology = Topology(
        "totals", lambda _t, _p: Totals(), ("numbers",), settings=TaskSettings(**given)
    )
    return log, TaskDriver(log, topology, "numbers")


def feed(log: MemoryLog, *numbers: int) -> None:
    for number in numbers:
        log.append("numbers", 0, b"%d" % number)


def values(log: MemoryLog) -> list[bytes | None]:
    return [record.value for record in log.read("totals")]


def test_local_state_behind_the_changelog_reads_only_the_rest():
    log, driver = make()
    feed(log, 1, 2)
    driver.settle()
    driver.close()
    driver.disk.flush()
    kept = list(driver.disk.done)
    driver.start()
    feed(log, 3)
    driver.settle()
    driver.crash()
    driver.disk.done[:] = kept
    driver.start()
    driver.run()
    assert driver.host.stats() == {"keys": 1}
    feed(log, 4)
    driver.settle()
    assert values(log) == [b"1", b"3", b"6", b"10"]


def test_blocks_without_a_checkpoint_count_for_nothing():
    log, driver = make()
    feed(log, 1, 2)
    driver.settle()
    driver.crash()
    log.remake(driver.changelog)
    driver.disk.done[:] = [(b"-", b"77"), (b"!", b"2")]
    driver.start()
    driver.settle()
    assert values(log) == [b"1", b"3", b"1", b"3"]


def test_local_state_ahead_of_the_changelog_is_wiped_and_the_task_starts_over():
    log, driver = make()
    feed(log, 1)
    driver.settle()
    driver.crash()
    log.remake(driver.changelog)
    driver.start()
    driver.settle()
    assert values(log) == [b"1", b"1"]


def test_a_changelog_made_anew_and_grown_past_the_checkpoint_is_told_by_its_lineage():
    log, driver = make()
    feed(log, 1)
    driver.settle()
    driver.close()
    log.remake(driver.changelog)
    other = TaskDriver(log, driver._topology, "numbers")
    feed(log, *range(20))
    other.settle()
    for _ in range(5):
        feed(log, 1)
        other.settle()
    other.close()
    driver.start()
    driver.settle()
    assert driver.task.phase is Phase.RUNNING
    driver.close()
    assert dict(driver.disk.open().blocks()) == dict(other.disk.open().blocks())


def test_a_changelog_trimmed_past_the_checkpoint_stops_the_worker_rather_than_guess():
    log, driver = make()
    for number in range(5):
        log.append("numbers", 0, b"1", key=b"k%d" % number)
        driver.settle()
    driver.crash(lose_disk=True)
    log.trim(driver.changelog, 0, 6)
    driver.start()
    driver.run()
    driver.advance(10_000)
    assert driver.task.phase is Phase.FAILED
    assert "does not hold its whole state" in str(driver.task.error)


def test_a_position_without_any_snapshot_replays_from_the_first_record_muted():
    log, driver = make(snapshot_interval_ms=1_000_000)
    feed(log, 1, 2)
    driver.settle()
    driver.crash(lose_disk=True)
    driver.start()
    feed(log, 3)
    driver.settle()
    assert values(log) == [b"1", b"3", b"6"]


def test_input_that_retention_took_stops_the_worker_with_its_offsets():
    log, driver = make(snapshot_interval_ms=1_000_000)
    feed(log, 1, 2, 3)
    driver.settle()
    driver.crash(lose_disk=True)
    log.trim("numbers", 0, 2)
    driver.start()
    driver.run()
    assert isinstance(driver.task.error, Fatal)
    assert "records 0 to 2 of numbers/0 are gone" in str(driver.task.error)


def test_input_that_retention_took_is_passed_over_when_told_so():
    log, driver = make(snapshot_interval_ms=1_000_000, lost_input="skip")
    feed(log, 1, 2, 3)
    driver.settle()
    driver.crash(lose_disk=True)
    log.trim("numbers", 0, 2)
    driver.start()
    feed(log, 4)
    driver.settle()
    assert driver.task.stats()["lost_records"] == 2
    assert values(log) == [b"1", b"3", b"6", b"7"]


def test_an_input_topic_made_anew_is_noticed():
    log, driver = make()
    feed(log, 1, 2, 3)
    driver.settle()
    driver.crash()
    log.remake("numbers")
    driver.start()
    driver.run()
    assert "was counted up to 3" in str(driver.task.error)


def test_a_log_that_is_away_is_waited_for_up_to_a_limit():
    log, driver = make(give_up_after_ms=5_000)
    away = True

    def faults(point: str) -> None:
        if away and point == "ask the log":
            raise Retriable("the log is away", "Start it")

    driver.faults = faults
    driver.run()
    for _ in range(9):
        driver.advance(500)
    assert driver.task.phase is Phase.FENCING
    away = False
    feed(log, 1)
    driver.advance(500)
    driver.settle()
    assert values(log) == [b"1"]
    away = True
    driver.crash()
    driver.start()
    driver.run()
    for _ in range(11):
        driver.advance(500)
    assert isinstance(driver.task.error, Fatal)
    assert "gave up after 5 s: the log is away. Start it" in str(driver.task.error)


def test_a_suspended_task_goes_on_without_a_restore_and_a_fenced_one_never():
    log, driver = make()
    feed(log, 1)
    driver.settle()
    driver.step(ev.Suspend())
    driver.run()
    assert driver.task.phase is Phase.SUSPENDED
    feed(log, 2)
    driver.step(ev.Resume())
    driver.settle()
    assert driver.task.restarts == 0
    assert values(log) == [b"1", b"3"]
    log.init_producer(driver.transactional_id)
    feed(log, 3)
    driver.run()
    driver.advance(1_000)
    assert driver.task.phase is Phase.FENCED
    assert values(log) == [b"1", b"3"]


def test_tasks_that_share_a_changelog_partition_keep_their_state_apart():
    log = MemoryLog({"numbers": 1, "more": 1, "totals": 1, "progress": 1})
    topology = Topology("totals", lambda _t, _p: Totals(), pattern="numbers|more")
    one, two = (TaskDriver(log, topology, topic) for topic in ("numbers", "more"))
    log.append("numbers", 0, b"1")
    log.append("more", 0, b"100")
    for driver in (one, two):
        driver.settle()
        driver.close()
        driver.disk.lose()
        driver.start()
    log.append("numbers", 0, b"1")
    log.append("more", 0, b"100")
    one.settle()
    two.settle()
    assert sorted(values(log), key=lambda v: int(v or b"")) == [b"1", b"2", b"100", b"200"]
    assert ChangelogKeys("numbers", 0).position != ChangelogKeys("more", 0).position


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: TaskSettings(commit_interval_ms=0), "commit_interval_ms must be at least 1"),
        (lambda: TaskSettings(snapshot_interval_ms=-1), "snapshot_interval_ms"),
        (lambda: Topology("A b", lambda _t, _p: Totals(), ("x",)), "topology name"),
        (lambda: Topology("a", lambda _t, _p: Totals()), "either topics or a pattern"),
        (lambda: Topology("a", lambda _t, _p: Totals(), ("x",), "y"), "either topics or a pattern"),
        (lambda: WorkerConfig("a", "b", None, commit_timeout_ms=30_000), "must be shorter"),
        (lambda: WorkerConfig("a", "b", None, handover_ms=60_000), "must be shorter"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_reason(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
