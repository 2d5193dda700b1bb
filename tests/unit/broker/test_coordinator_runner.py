"""What the broker promises a coordinator's core: order, durability, replay, timers, compaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from broker.config import BrokerConfig
from broker.coordination import (
    Admit,
    Append,
    Appended,
    CancelTimer,
    Dismiss,
    Effect,
    MarkersWritten,
    Record,
    Restored,
    SetTimer,
    Tell,
    TimerFired,
    WriteMarkers,
)
from broker.protocol.errors import ErrorCode
from broker.records.batch import read_header
from broker.records.build import build_batch
from broker.runtime.coordinators import COMPACT_FROM
from broker.runtime.data_folder import DataFolder
from broker.runtime.node import Node


class Core:
    """Keeps what it is told; asks for what the test says."""

    topic = "__consumer_offsets"

    def __init__(self) -> None:
        self.state: dict[bytes, bytes] = {}
        self.events: list[Any] = []
        self.replayed = 0

    def replay(self, record: Record) -> None:
        self.replayed += 1
        if record.value is None:
            self.state.pop(record.key, None)
        else:
            self.state[record.key] = record.value

    def step(self, event: Any, now_ms: int) -> list[Effect]:
        self.events.append(event)
        return event if isinstance(event, list) else []


class Other(Core):
    topic = "__transaction_state"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.005)


def with_node(folder: Path, work: Any) -> None:
    """Run `work(node, core, other)` on a started node."""

    async def main() -> None:
        core, other = Core(), Other()
        factories = {"one": lambda services: core, "two": lambda services: other}
        loop = asyncio.get_running_loop()
        node = Node(BrokerConfig(data=folder), DataFolder(folder), [], factories, loop)
        node.start()
        try:
            await work(node, core, other)
        finally:
            await node.stop()

    asyncio.run(main())


def test_appended_comes_in_order_and_everything_is_replayed_before_restored(tmp_path):
    async def first(node, core, other):
        assert core.events == [Restored()]
        for i in range(20):
            node.tell("one", [Append([Record(b"k%d" % (i % 7), b"v%d" % i)], i)])
        node.tell("one", [Append([Record(b"k0", None)], "gone")])
        await until(lambda: Appended("gone") in core.events)
        assert [e.token for e in core.events if isinstance(e, Appended)] == [*range(20), "gone"]

    async def second(node, core, other):
        assert core.replayed == 21
        assert core.state == {b"k%d" % (i % 7): b"v%d" % i for i in range(14, 20) if i % 7} | {
            b"k6": b"v13"
        }
        assert core.events == [Restored()]

    with_node(tmp_path, first)
    with_node(tmp_path, second)


def test_a_large_log_is_rewritten_with_what_lives_and_nothing_is_forgotten(tmp_path):
    expected: dict[bytes, bytes] = {}

    async def first(node, core, other):
        value = b"x" * 1000
        count = 3 * COMPACT_FROM // 1000
        for i in range(count):
            key, data = b"k%d" % (i % 50), value + b"%d" % i
            expected[key] = data
            node.tell("one", [Append([Record(key, data)], i)])
            if i % 500 == 0:
                await until(lambda i=i: Appended(i) in core.events)
        await until(lambda: Appended(count - 1) in core.events)
        store = node.log("__consumer_offsets", 0)
        await until(lambda: store.size < 1.5 * COMPACT_FROM)
        assert store.log_start > 0

    async def second(node, core, other):
        assert core.state == expected
        assert core.replayed < 2 * COMPACT_FROM / 1000

    with_node(tmp_path, first)
    with_node(tmp_path, second)


def test_timers_fire_once_not_early_and_can_be_moved_or_cancelled(tmp_path):
    async def work(node, core, other):
        now = node.now_ms()
        node.tell("one", [SetTimer("a", now + 50), SetTimer("b", now + 20), SetTimer("c", now)])
        node.tell("one", [SetTimer("b", now + 80), CancelTimer("c")])
        await until(lambda: TimerFired("b") in core.events)
        assert node.now_ms() >= now + 80
        fired = [event.name for event in core.events if isinstance(event, TimerFired)]
        assert fired == ["a", "b"]

    with_node(tmp_path, work)


def test_one_coordinator_can_tell_the_other(tmp_path):
    async def work(node, core, other):
        node.tell("one", [Tell("two", "hello")])
        await until(lambda: "hello" in other.events)

    with_node(tmp_path, work)


def test_markers_end_a_transaction_in_every_partition_that_still_exists(tmp_path):
    async def work(node, core, other):
        node.change_topics(lambda: node.catalog.create("t", uuid4(), 2, {}))
        log = node.log("t", 1)
        batch = build_batch(
            [(None, b"x")], 0, attributes=0x10, producer_id=9, producer_epoch=0, base_sequence=0
        )
        log.append(batch, read_header(batch), 0)
        places = (("t", 1), ("t", 0), ("gone", 0))
        node.tell("one", [WriteMarkers("m", 9, 0, True, places)])
        await until(lambda: MarkersWritten("m", ()) in core.events)
        assert log.last_stable_offset() == log.high_watermark == 2
        assert node.log("t", 0).high_watermark == 1

    with_node(tmp_path, work)


def test_only_admitted_producers_may_write_transactional_batches(tmp_path):
    async def work(node, core, other):
        check = node.admissions.refusal
        assert check(9, 1, "t", 0) == ErrorCode.invalid_txn_state
        node.tell("one", [Admit(9, 1, (("t", 0),)), Admit(9, 1, (("t", 2),))])
        assert [check(9, 1, "t", index) for index in range(3)] == [
            0,
            ErrorCode.invalid_txn_state,
            0,
        ]
        assert check(9, 0, "t", 0) == ErrorCode.invalid_producer_epoch
        node.tell("one", [Admit(9, 2, (("u", 0),))])
        assert check(9, 2, "t", 0) == ErrorCode.invalid_txn_state
        node.tell("one", [Dismiss(9)])
        assert check(9, 2, "u", 0) == ErrorCode.invalid_txn_state

    with_node(tmp_path, work)
