"""A topology's life on the in-memory log: what a test of a topology relies on."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from streams.config import TaskSettings, Topology
from streams.errors import Fatal, Rejected
from streams.task import events as ev
from streams.task.phase import Phase
from streams.task.processor import InputRange, InputRecord, OutputRecord
from streams.testing import MemoryLog, TaskDriver


class Totals:
    """Running totals of numbers by key; emits each new total."""

    is_urgent = False

    def __init__(self) -> None:
        self.totals: dict[bytes, int] = {}
        self.changed: set[bytes] = set()
        self.out: list[OutputRecord] = []
        self.from_offset: int | None = None
        self.idle_calls = 0
        self.commits: list[int] = []

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in blocks:
            if key == b"!":
                self.from_offset = int(value)
            else:
                self.totals[key] = int(value)

    def replay_from(self) -> int | None:
        return self.from_offset

    def process(self, records: Sequence[InputRecord]) -> int:
        for record in records:
            if record.value == b"fatal":
                raise Fatal("this process lacks what it takes", "Give it that")
            number = int(record.value or b"")
            key = record.key or b"-"
            self.totals[key] = self.totals.get(key, 0) + number
            self.changed.add(key)
            self.out.append(OutputRecord("totals", 0, key, b"%d" % self.totals[key]))
        return len(records)

    def needs(self) -> InputRange | None:
        return None

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        raise AssertionError

    def outputs(self) -> list[OutputRecord]:
        out, self.out = self.out, []
        return out

    def urgent(self) -> bool:
        return self.is_urgent and bool(self.out)

    def before_commit(self, position: int) -> list[OutputRecord]:
        self.commits.append(position)
        return [OutputRecord("progress", 0, b"p", b"%d" % position)]

    def idle(self, now_ms: int) -> list[OutputRecord]:
        self.idle_calls += 1
        return []

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        blocks: dict[bytes, bytes | None] = {k: b"%d" % self.totals[k] for k in self.changed}
        self.changed.clear()
        return blocks | {b"!": b"%d" % position}

    def stats(self) -> dict[str, Any]:
        return {"keys": len(self.totals)}


def make(**settings: Any) -> tuple[MemoryLog, TaskDriver]:
    log = MemoryLog({"numbers": 1, "totals": 1, "progress": 1})
    topology = Topology(
        "totals", lambda _t, _p: Totals(), ("numbers",), settings=TaskSettings(**settings)
    )
    return log, TaskDriver(log, topology, "numbers")


def totals(log: MemoryLog) -> list[bytes | None]:
    return [record.value for record in log.read("totals")]


def test_outputs_appear_with_the_commit_and_not_before():
    log, driver = make(commit_interval_ms=250)
    log.append("numbers", 0, b"1")
    driver.run()
    assert totals(log) == []
    driver.advance(250)
    assert totals(log) == [b"1"]


class Urgent(Totals):
    is_urgent = True


def urgent(**settings: Any) -> tuple[MemoryLog, TaskDriver]:
    log = MemoryLog({"numbers": 1, "totals": 1, "progress": 1})
    topology = Topology(
        "totals", lambda _t, _p: Urgent(), ("numbers",), settings=TaskSettings(**settings)
    )
    return log, TaskDriver(log, topology, "numbers")


def test_what_is_urgent_is_committed_at_once():
    log, driver = urgent(batch_records=4)
    for number in (1, 2, 3):
        log.append("numbers", 0, b"%d" % number)
    driver.run()
    assert totals(log) == [b"1", b"3", b"6"]


def test_of_a_task_that_is_behind_what_is_urgent_waits_for_more_or_for_the_interval():
    log, driver = urgent(batch_records=4)
    for _ in range(18):
        log.append("numbers", 0, b"1")
    driver.run()
    assert totals(log) == [b"%d" % number for number in range(1, 19)]
    assert [record.value for record in log.read("progress")] == [b"16", b"18"]


def test_a_crash_after_the_commit_repeats_nothing():
    log, driver = make()
    for number in (1, 2, 3):
        log.append("numbers", 0, b"%d" % number)
    driver.settle()
    driver.crash()
    driver.start()
    log.append("numbers", 0, b"4")
    driver.settle()
    assert totals(log) == [b"1", b"3", b"6", b"10"]


@pytest.mark.parametrize("lose_disk", [False, True])
def test_a_crash_before_the_commit_loses_nothing(lose_disk):
    log, driver = make(snapshot_interval_ms=0)
    log.append("numbers", 0, b"1")
    driver.settle()
    log.append("numbers", 0, b"2")
    driver.run()
    driver.crash(lose_disk=lose_disk)
    driver.start()
    driver.settle()
    assert totals(log) == [b"1", b"3"]


def test_a_record_that_raises_goes_to_the_dead_letters_and_the_rest_counts():
    log, driver = make()
    for value in (b"1", b"poison", b"2", b"3", b"bad", b"4"):
        log.append("numbers", 0, value, headers=(("tenant", b"a"),))
    driver.settle()
    assert totals(log) == [b"1", b"3", b"6", b"10"]
    letters = log.read("telemetry.dead-letter")
    assert [r.key for r in letters] == [b"numbers/0/1", b"numbers/0/4"]
    assert [r.value for r in letters] == [b"poison", b"bad"]
    assert dict(letters[0].headers)["code"] == b"processing-failed"
    assert dict(letters[0].headers)["tenant"] == b"a"
    assert b"invalid literal" in dict(letters[0].headers)["reason"]


def test_what_is_no_records_fault_stops_the_task_and_leaves_no_record_out():
    log, driver = make()
    for value in (b"1", b"fatal", b"2"):
        log.append("numbers", 0, value)
    driver.settle()
    assert isinstance(driver.task.error, Fatal)
    assert "lacks what it takes" in str(driver.task.error)
    assert totals(log) == log.read("telemetry.dead-letter") == []


def test_dead_letters_are_written_once_whatever_crashes():
    log, driver = make(snapshot_interval_ms=0)
    for value in (b"1", b"poison", b"2"):
        log.append("numbers", 0, value)
    driver.settle()
    driver.crash(lose_disk=True)
    driver.start()
    log.append("numbers", 0, b"3")
    driver.settle()
    assert totals(log) == [b"1", b"3", b"6"]
    assert len(log.read("telemetry.dead-letter")) == 1


def test_a_rejected_record_that_is_named_needs_no_restore():
    class Strict(Totals):
        loads = 0

        def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
            Strict.loads += 1
            super().restore(blocks)

        def process(self, records: Sequence[InputRecord]) -> int:
            for index, record in enumerate(records):
                if not (record.value or b"").isdigit():
                    raise Rejected("not-a-number", "the value is not a number", index=index)
            return super().process(records)

    log = MemoryLog({"numbers": 1, "totals": 1, "progress": 1})
    topology = Topology("totals", lambda _t, _p: Strict(), ("numbers",))
    driver = TaskDriver(log, topology, "numbers")
    for value in (b"1", b"x", b"2", b"y", b"z"):
        log.append("numbers", 0, value)
    driver.settle()
    assert totals(log) == [b"1", b"3"]
    assert [r.key for r in log.read("telemetry.dead-letter")] == [
        b"numbers/0/1",
        b"numbers/0/3",
        b"numbers/0/4",
    ]
    assert Strict.loads == 1


def test_progress_is_told_once_a_transaction_and_never_on_replay():
    log, driver = make()
    log.append("numbers", 0, b"1")
    driver.settle()
    driver.crash(lose_disk=True)
    driver.start()
    driver.settle()
    driver.advance(10_000)
    assert [r.value for r in log.read("progress")] == [b"1"]


def test_an_empty_partition_is_idle_at_once_a_read_one_after_a_while():
    log, driver = make(idle_after_ms=1_000)
    driver.run()
    driver.advance(0)
    processor = driver.host._processor
    assert processor.idle_calls == 1
    log.append("numbers", 0, b"1")
    driver.run()
    driver.advance(900)
    assert processor.idle_calls == 1
    driver.advance(100)
    assert processor.idle_calls == 2
    driver.advance(1_000)
    assert processor.idle_calls == 3


def test_a_partition_that_lags_is_never_idle():
    """Nothing comes for long, but the log goes on behind what was read: somebody is slow."""
    log, driver = make(idle_after_ms=1_000)
    log.append("numbers", 0, b"1")
    driver.settle()
    driver.advance(1_000)
    processor = driver.host._processor
    calls = processor.idle_calls
    number, at = driver.fetch
    driver.step(ev.Fetched(number, at, (), at, at + 1))  # one more is there, and does not come
    for _ in range(5):
        driver.now_ms += 10_000
        driver.step(ev.Tick())
        assert [e for e in driver.pending if isinstance(e, ev.CallIdle)] == []
    driver.step(ev.Fetched(number, at, (), at, at))
    driver.step(ev.Tick())
    driver.now_ms += 1_000
    driver.step(ev.Tick())
    assert [e for e in driver.pending if isinstance(e, ev.CallIdle)] == [ev.CallIdle()]
    assert processor.idle_calls == calls


def test_a_task_in_order_closes_with_everything_committed_and_a_snapshot():
    log, driver = make()
    log.append("numbers", 0, b"7")
    driver.run()
    driver.close()
    assert driver.task.phase is Phase.CLOSED
    assert totals(log) == [b"7"]
    driver.start()
    driver.run()
    assert driver.task.position == 1
    assert driver.host.stats() == {"keys": 1}


def test_a_piece_that_does_not_begin_where_the_last_one_ended_is_sought_again():
    log, driver = make()
    for number in range(6):
        log.append("numbers", 0, b"%d" % number)
    driver.settle()
    number, at = driver.fetch
    records, next_offset = log.fetch("numbers", 0, 0, 6)
    for offset in (at - 3, at + 3):
        driver.step(ev.Fetched(number, offset, records[3:], next_offset + 3, next_offset + 3))
        assert driver.fetch == (number + 1, at)
        number += 1
    assert driver.task.position == at
