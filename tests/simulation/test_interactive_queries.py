"""Stores are asked at random moments of random runs; a plain model of the log knows the answers.

What an answer says must be what the records before its position amount to, no more and no less:
while windows are open, once they have closed, when parts are on their way from one task to another,
and after processes have died, with or without their disks. TIDEMILL_SIMULATIONS: how many runs.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from streams.codecs import Json
from streams.config import TaskSettings
from streams.event_time.windows import EARLIEST
from streams.operators.windows import TimeWindows
from streams.queries.answers import answer
from streams.queries.questions import QueryError, Question, Reply
from streams.schema import Schema, i64, string, time
from streams.task.events import TaskId
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan
from streams.topology.stores import stores_of
from streams.topology.testing import TopologyTestDriver

RUNS = int(os.environ.get("TIDEMILL_SIMULATIONS", "24"))
SETTINGS = TaskSettings(commit_interval_ms=250, snapshot_interval_ms=600, batch_records=3)
ROWS = Schema(shop=string, amount=i64, at=time)


@dataclass(frozen=True)
class World:
    """A topology, and what was piped into it: (shop, amount, time) by partition."""

    windows: TimeWindows | None
    partitions: int
    keyed: bool
    piped: list[list[tuple[str, int, int]]]

    def plan(self) -> Plan:
        builder = StreamsBuilder("asked", partitions=2)
        rows = builder.stream(
            "rows", Json(ROWS), time="at", partitions=self.partitions,
            key="shop" if self.keyed else None,
        )  # fmt: skip
        grouped = rows.group_by("shop")
        what = {"count": agg.count(), "total": agg.sum("amount"), "most": agg.max("amount")}
        if self.windows is None:
            grouped.aggregate(name="shops", **what).to("out")
        else:
            grouped.windowed_by(self.windows).aggregate(name="shops", **what).to("out")
        return builder.build(SETTINGS)

    # ------------------------------------------------------------ the model

    def seen(self, partition: int, position: int) -> tuple[list[tuple[str, int, int, int]], int]:
        """(shop, amount, time, tag) of the rows before a position, and the last closed window."""
        found: list[tuple[str, int, int, int]] = []
        watermark, closed = None, EARLIEST
        for shop, amount, at in self.piped[partition][:position]:
            found.append((shop, amount, at, closed))
            watermark = at if watermark is None else max(watermark, at)
            assert self.windows is not None
            step = self.windows.advance
            closed = (watermark - self.windows.grace_ns) // step * step
        return found, closed

    def windows_at(self, position: Mapping[str, int]) -> dict[tuple[str, int], dict[str, Any]]:
        """(shop, window end) -> what the store has to say; by partition, if each closes alone."""
        if not self.keyed or len(position) == 1:
            return self.together(position)
        alone = [self.together({name: at}) for name, at in position.items()]
        return {key: row for part in alone for key, row in part.items()}

    def together(self, position: Mapping[str, int]) -> dict[tuple[str, int], dict[str, Any]]:
        """The windows of rows that one task merges."""
        w = self.windows
        assert w is not None
        seen = [self.seen(int(name.split("/")[1]), at) for name, at in position.items()]
        closed = min(c for _, c in seen)
        gone = EARLIEST if closed == EARLIEST else closed - (w.horizon_ns or 0)
        rows = [row for part, _ in seen for row in part]
        ends = {
            end
            for _, _, at, _ in rows
            for end in range(-(-at // w.advance) * w.advance, at + w.size, w.advance)
        }
        found: dict[tuple[str, int], dict[str, Any]] = {}
        for end in (e for e in ends if e > gone):
            inside = [row for row in rows if end - w.size < row[2] <= end]
            if end > closed:  # whoever was late for it does not count in it
                inside = [row for row in inside if row[3] < end]
            else:  # a late row counts from the close of the first window that it was not late for
                inside = [row for row in inside if self.tag(row) <= closed]
            for shop in {row[0] for row in inside}:
                mine = [row[1] for row in inside if row[0] == shop]
                found[shop, end] = {
                    "count": len(mine), "total": sum(mine), "most": max(mine),
                    "final": end <= closed,
                }  # fmt: skip
        return found

    def tag(self, row: tuple[str, int, int, int]) -> int:
        """The first window that the row was in time for; never, if it is dropped."""
        w = self.windows
        assert w is not None
        _, _, at, closed = row
        first = -(-at // w.advance) * w.advance
        tag = first if closed == EARLIEST else max(first, closed + w.advance)
        pane = -(-at // w.pane) * w.pane
        return tag if tag <= w.kept_until(pane) else 1 << 62

    def totals_at(self, position: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """Shop -> its totals of all time."""
        rows = [r for n, at in position.items() for r in self.piped[int(n.split("/")[1])][:at]]
        return {
            shop: {
                "count": sum(r[0] == shop for r in rows),
                "total": sum(r[1] for r in rows if r[0] == shop),
                "most": max(r[1] for r in rows if r[0] == shop),
            }
            for shop in {r[0] for r in rows}
        }


def random_world(chance: random.Random, *, windowed: bool) -> World:
    partitions = chance.choice([1, 2, 3])
    windows = None
    if windowed:
        windows = TimeWindows.of(chance.choice([10, 20])).grace(chance.choice([0, 3]))
        windows = windows.advance_by(10) if chance.random() < 0.4 else windows
        windows = windows.revisions(chance.choice([15, 40])) if chance.random() < 0.5 else windows
    keyed = not windowed or chance.random() < 0.3
    return World(windows, partitions, keyed, [[] for _ in range(partitions)])


def pipe_some(world: World, driver: TopologyTestDriver, chance: random.Random, now: int) -> None:
    for _ in range(chance.randint(1, 6)):
        shop = chance.choice("abcdef")
        row = (shop, chance.randint(1, 9), max(1, now - chance.choice([0, 0, 1, 4, 12, 30])))
        partition = ord(shop) % world.partitions if world.keyed else chance.randrange(
            world.partitions
        )  # fmt: skip
        world.piped[partition].append(row)
        driver.pipe("rows", [{"shop": row[0], "amount": row[1], "at": row[2]}], partition=partition)


def some_turns(driver: TopologyTestDriver, chance: random.Random) -> None:
    for task in chance.sample(driver.tasks, len(driver.tasks)):
        for _ in range(chance.randrange(12)):
            task.turn()
        if chance.random() < 0.5:
            task.advance(100)


def all_pages(driver: TopologyTestDriver, limit: int, **asked: Any) -> list[dict[str, Any]]:
    """The answers to a question, page by page."""
    pages = [driver.query("shops", limit=limit, **asked)]
    while pages[-1]["next"] is not None:
        pages.append(driver.query("shops", limit=limit, next=pages[-1]["next"], **asked))
    return pages


def values(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def check_windows(world: World, answer: Mapping[str, Any], wanted: Any) -> None:
    """The rows of an answer are the model's at its position, of the keys and windows asked for."""
    model = {key: row for key, row in world.windows_at(answer["position"]).items() if wanted(*key)}
    found = {
        (row["shop"], row["window_end"]): values(row, ("count", "total", "most", "final"))
        for row in answer["rows"]
    }
    assert found == model, answer


def away(error: QueryError) -> str:
    """Why there is no answer now; it must say when to ask again."""
    assert error.status == 503, error
    assert error.retry_ms, error
    return error.code


def ask_about_windows(world: World, driver: TopologyTestDriver, chance: random.Random) -> str:
    kind = chance.choice(["all", "key", "range", "pages", "page"])
    try:
        if kind == "all":
            check_windows(world, driver.query("shops"), lambda shop, end: True)
        elif kind == "key":
            key = chance.choice("abcdefg")
            check_windows(world, driver.query("shops", shop=key), lambda shop, end: shop == key)
        elif kind == "range":
            low = chance.randrange(0, 200, 10)
            answer = driver.query("shops", **{"from": low, "to": low + 30})
            check_windows(world, answer, lambda shop, end: low < end <= low + 30)
        elif kind == "pages":
            pages = all_pages(driver, chance.choice([1, 2, 5]))
            if len({tuple(page["position"].items()) for page in pages}) > 1:
                return "moved"  # each page is right at its own position
            rows = [row for page in pages for row in page["rows"]]
            check_windows(world, {**pages[0], "rows": rows}, lambda shop, end: True)
        else:
            answer = driver.query("shops", limit=2)
            model = world.windows_at(answer["position"])
            for row in answer["rows"]:
                at = model[row["shop"], row["window_end"]]
                assert values(row, at) == at
    except QueryError as error:
        return away(error)
    return kind


def steps(chance: random.Random, driver: TopologyTestDriver, world: World, now: int) -> None:
    """Something happens: rows, work, a death."""
    if chance.random() < 0.6:
        pipe_some(world, driver, chance, now)
    some_turns(driver, chance)
    if chance.random() < 0.08:
        at = chance.randrange(len(driver.tasks))
        driver.restart(task=at, lose_disk=chance.random() < 0.5)


def test_every_answer_about_windows_is_what_the_records_before_its_position_amount_to():
    outcomes: Counter[str] = Counter()
    for seed in range(RUNS):
        chance = random.Random(seed)
        world = random_world(chance, windowed=True)
        driver = TopologyTestDriver(world.plan(), seed=seed)
        for now in range(1, 200, 5):
            steps(chance, driver, world, now)
            outcomes[ask_about_windows(world, driver, chance)] += 1
        driver.run()
        outcomes[ask_about_windows(world, driver, random.Random(seed))] += 1
    answers = sum(outcomes[kind] for kind in ("all", "key", "range", "pages", "page"))
    assert answers > sum(outcomes.values()) / 3, outcomes
    assert min(outcomes["settling"], outcomes["restoring"]) > 0, outcomes


def test_every_answer_about_totals_is_what_the_records_before_its_position_amount_to():
    for seed in range(RUNS // 3):
        chance = random.Random(seed)
        world = random_world(chance, windowed=False)
        driver = TopologyTestDriver(world.plan(), seed=seed)
        answered = 0
        for now in range(1, 150, 5):
            steps(chance, driver, world, now)
            try:
                answer = driver.query("shops")
            except QueryError as error:
                away(error)
                continue
            answered += 1
            found = {row.pop("shop"): row for row in answer["rows"]}
            assert found == world.totals_at(answer["position"])
        assert answered > 10
    # the same rows again: one key, and the position that a reader has seen
    driver.run()
    end = {name: len(world.piped[int(name[5:])]) for name in answer["position"]}
    bound = ",".join(f"{name}:{at}" for name, at in end.items())
    (row,) = driver.query("shops", shop="a", min_position=bound)["rows"]
    assert values(row, ("count", "total", "most")) == world.totals_at(end)["a"]


@pytest.mark.parametrize("windows", [TimeWindows.of(10), TimeWindows.of(10).revisions(20)])
def test_a_window_that_has_closed_is_gone_unless_it_may_be_revised_and_the_answer_says_so(windows):
    world = World(windows, 1, True, [[]])
    driver = TopologyTestDriver(world.plan())
    driver.pipe("rows", [{"shop": "a", "amount": 1, "at": 3}])
    driver.pipe("rows", [{"shop": "a", "amount": 2, "at": 13}])
    driver.run()
    found = driver.query("shops", shop="a")
    finals = [(row["window_end"], row["final"]) for row in found["rows"]]
    assert finals == ([(10, True), (20, False)] if windows.revised else [(20, False)])
    assert (found["closed_until"], found["gone_until"]) == (10, -10 if windows.revised else 10)


def test_a_worker_that_lost_a_task_and_does_not_know_it_makes_no_answer_count_twice():
    world = World(TimeWindows.of(10), 2, False, [[], []])
    driver = TopologyTestDriver(world.plan())
    driver.pipe("rows", [{"shop": "a", "amount": 1, "at": 3}])
    driver.run()
    shape = stores_of(driver.plan)["shops"]
    question = Question("shops")
    # as the old owner of the first would go on to say
    old = {task.id: task.ask(question) for task in driver.tasks if task.id.topic == "rows"}
    driver.pipe("rows", [{"shop": "a", "amount": 2, "at": 13}])
    driver.run()  # the new owner sends its part of the first window, then that it is whole

    sub = next(sub for sub in driver.plan.subs if sub.kind == "internal")
    merging = [driver.plan.factory(sub)(sub.topic, p) for p in range(2)]
    records = [driver.log.read(sub.topic, p) for p in range(2)]
    (at,) = [p for p in range(2) if len(records[p]) == 3]
    merging[at].process(records[at][:2])  # the part has come, and not yet the word
    again = driver.plan.factory(sub)(sub.topic, at)
    again.restore((k, v) for k, v in merging[at].snapshot(1).items() if v is not None)
    for processor in (merging[at], again):
        reply = Reply(processor.query(question), 1, 1)
        replies = {TaskId(sub.name, sub.topic, at): reply, **old}
        with pytest.raises(QueryError) as refused:
            answer(shape, question, {}, replies)
        assert refused.value.code == "settling"
