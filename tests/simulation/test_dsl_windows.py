"""Windows of random streams, through restarts and in any batches, against the rules row by row.

Longer: TIDEMILL_DSL_STORIES (how many random stories, 30 if not given).
"""

import math
import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dsl_reference import Reference

from streams.codecs import Json
from streams.config import TaskSettings
from streams.expressions import col
from streams.operators.frames import decode_frame
from streams.operators.windows import TimeWindows
from streams.schema import Schema, f64, string, time
from streams.task.processor import InputRecord
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.testing import TopologyTestDriver, same_any_way, within_grace
from tests.simulation.dsl_delivery import deliver

STORIES = int(os.environ.get("TIDEMILL_DSL_STORIES", "30"))
SCHEMA = Schema(key=string.optional, value=f64, at=time)
SETTINGS = TaskSettings(batch_records=7, snapshot_interval_ms=300, commit_interval_ms=100)


class Same:
    """An operator that gives what it takes; rows travel to it."""

    def process(self, columns, store):
        return columns


class Story:
    """A random stream: partitions, windows, records, and how it is run."""

    def __init__(self, seed):
        self.seed = seed
        self.chance = chance = random.Random(seed)
        self.partitions = chance.choice([1, 2, 3])
        self.advance = chance.choice([5, 10])
        self.size = self.advance * chance.choice([1, 1, 2, 3]) + chance.choice([0, 0, 2])
        self.grace = chance.choice([0, 3, 10, 17])
        self.horizon = chance.choice([None, None, 20, 45])
        self.coherent = chance.random() < 0.4
        self.updates = self.horizon is None and chance.random() < 0.3
        self.every = 5
        self.via = None if self.coherent else chance.choice([None, None, "operator", "table"])
        self.records = [self._partition(p) for p in range(self.partitions)]

    def _partition(self, partition):
        chance, now, records = self.chance, self.chance.randrange(-30, 30), []
        for _ in range(chance.randrange(1, 60)):
            now += chance.choice([0, 0, 1, 2, 5, 40 if chance.random() < 0.1 else 3])
            if chance.random() < 0.1:
                records.append(now + chance.randrange(10))
                continue
            rows = []
            for _ in range(chance.choice([1, 1, 2, 5])):
                late = chance.choice([0, 0, 1, 4, 12, 30])
                key = chance.choice("abcdef") if chance.random() < 0.9 else None
                if self.coherent:
                    key = f"{partition}{key or ''}"
                rows.append({"key": key, "value": chance.uniform(-5, 5), "at": now - late})
            records.append(rows)
        return records

    def plan(self):
        windows = TimeWindows.of(self.size).advance_by(self.advance).grace(self.grace)
        if self.horizon is not None:
            windows = windows.revisions(self.horizon)
        builder = StreamsBuilder("story")
        stream = builder.stream(
            "rows", Json(SCHEMA), time="at", partitions=self.partitions,
            key="key" if self.coherent else None,
        )  # fmt: skip
        if self.via == "operator":
            stream = stream.process(Same, SCHEMA, name="same", by="key")
        elif self.via == "table":
            codec = Json(Schema(key=string, more=string), key="key")
            stream = stream.left_join(builder.table("table", codec, partitions=1), "key")
        windowed = stream.group_by("key").windowed_by(windows)
        if self.updates:
            windowed = windowed.updates(every=self.every, rows=20)
        windowed.aggregate(
            name="windows", n=agg.count(), total=agg.sum("value"), top=agg.max("value")
        ).to("out", Json(key="key"))
        return builder.build(SETTINGS)

    def run(self):
        """Deliver the records, with crashes in between; what came out, and the driver."""
        driver = TopologyTestDriver(self.plan(), {"out": 2}, seed=self.seed)
        deliver(driver, self.records, SCHEMA, self.chance, 0.02)
        return driver


def expected(story):
    """(first, last, closed, rows by window, dropped): of all partitions, or of each by itself."""
    shares = [[p] for p in story.records] if story.coherent else [story.records]
    first, last, closed, open_rows, dropped = {}, {}, set(), {}, 0
    for records in shares:
        want = Reference(records, story.size, story.advance, story.grace, story.horizon)
        first |= {place: summary(rows) for place, rows in want.first_rows().items()}
        rows_of = want.last_rows(story.grace, story.advance)
        last |= {place: summary(rows) for place, rows in rows_of.items()}
        closed |= want.closed
        open_rows |= want.first
        dropped += want.dropped
    return first, last, closed, open_rows, dropped


def summary(rows):
    values = [row["value"] for row in rows]
    return {"n": len(values), "total": math.fsum(values), "top": max(values)}


def published(row):
    return {name: row[name] for name in ("n", "total", "top")}


@pytest.mark.parametrize("seed", range(STORIES))
def test_windows_publish_what_the_rules_say_whatever_happens(seed):
    story = Story(seed)
    driver = story.run()
    assert not driver.dead_letters()
    want_first, want_last, _, _, want_dropped = expected(story)
    rows = driver.read("out")
    first, last, revisions = {}, {}, {}
    for row in rows:
        if not row.get("final", True):
            continue
        place = (row["window_end"], row["key"])
        assert row["window_start"] == row["window_end"] - story.size
        if row.get("revision", 1) == 1:
            assert place not in first, f"{place} was published twice"
            first[place] = published(row)
        assert row.get("revision", 1) > revisions.get(place, 0)
        revisions[place] = row.get("revision", 1)
        last[place] = published(row)
    assert first == want_first
    assert last == (want_first if story.horizon is None else want_last)
    figures = [each.get("windows", {}) for each in driver.stats().values()]
    assert sum(each.get("dropped", 0) for each in figures) == want_dropped


@pytest.mark.parametrize("every", [0, 5])
@pytest.mark.parametrize("seed", range(STORIES // 4))
def test_updates_before_the_close_end_with_what_is_final(seed, every):
    story = Story(seed)
    story.updates, story.horizon, story.every = True, None, every
    last = story.run().latest("out", "window_end", "key")
    _, _, closed, rows_of, _ = expected(story)
    assert {place for place, row in last.items() if row["final"]} == closed
    for place, rows in rows_of.items():
        if place in closed or every == 0:
            assert published(last[place]) == summary(rows)


def test_rows_that_an_expression_drops_move_time_all_the_same():
    builder = StreamsBuilder("dropped")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
    windows = stream.where(col("value") > 0).group_by("key").windowed_by(TimeWindows.of(10))
    windows.aggregate(n=agg.count()).to("out")
    driver = TopologyTestDriver(builder.build())
    driver.pipe(
        "rows", [{"key": "a", "value": 1.0, "at": 3}, {"key": "a", "value": -1.0, "at": 10}]
    )
    driver.run()
    assert [(row["key"], row["n"]) for row in driver.read("out")] == [("a", 1)]


def test_rows_in_any_order_that_grace_allows_publish_the_same_windows():
    chance = random.Random(3)
    times = [chance.randrange(400) for _ in range(80)]
    rows = [{"key": chance.choice("ab"), "value": chance.random(), "at": t} for t in times]

    def make(seed):
        builder = StreamsBuilder("shuffled")
        stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
        windows = stream.group_by("key").windowed_by(TimeWindows.of(20).advance_by(10).grace(60))
        windows.aggregate(n=agg.count(), p99=agg.p99("value"), last=agg.last("value")).to("out")
        return TopologyTestDriver(builder.build(SETTINGS), seed=seed)

    def result(driver):
        driver.pipe("rows", [{"key": "end", "value": 0.0, "at": 1000}])
        driver.run()
        assert driver.stats()["shuffled-rows-rows-0"]["aggregate-key"]["late"] == 0
        return sorted(map(repr, driver.read("out")))

    found = same_any_way(
        make,
        [lambda driver, row=row: driver.pipe("rows", [row]) for row in rows],
        result,
        order=lambda drawn: within_grace(times, 60, drawn),
        seeds=range(6),
    )
    assert len(found) > 40


def test_a_difference_between_two_ways_is_found():
    def make(seed):
        builder = StreamsBuilder("order")
        stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
        stream.group_by("key").windowed_by(TimeWindows.of(10)).aggregate(n=agg.count()).to("out")
        return TopologyTestDriver(builder.build(SETTINGS), seed=seed)

    rows = [{"key": "a", "value": 0.0, "at": at} for at in (3, 12, 25)]
    with pytest.raises(AssertionError, match="gave another result"):
        same_any_way(
            make,
            [lambda driver, row=row: driver.pipe("rows", [row]) for row in rows],
            lambda driver: driver.read("out"),
            order=lambda drawn: within_grace([3, 12, 25], 1000, drawn),
            seeds=range(6),
        )


@pytest.mark.parametrize("partitions", [1, 2])
def test_windows_of_windows_wait_for_the_grace_of_those_they_are_made_of(partitions):
    builder = StreamsBuilder("chain")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=partitions)
    tens = stream.group_by("key").windowed_by(TimeWindows.of(10).grace(7))
    hundreds = tens.aggregate(name="tens", n=agg.count()).group_by("key")
    hundreds.windowed_by(TimeWindows.of(100)).aggregate(
        name="hundreds", windows=agg.count(), rows=agg.sum("n")
    ).to("out")
    driver = TopologyTestDriver(builder.build(SETTINGS), seed=1)
    for at in [5, 15, 99, 103, 95, 106, 98, 107, 180, 240]:
        for partition in range(partitions):
            driver.pipe("rows", [{"key": "a", "value": 1.0, "at": at}], partition=partition)
    driver.run()
    found = [(row["window_end"], row["windows"], row["rows"]) for row in driver.read("out")]
    # 5 | 15 | 99, 95, 98 (107 closes them); 103, 106, 107 | 180
    assert found == [(100, 3.0, 5.0 * partitions), (200, 2.0, 4.0 * partitions)]


def test_parts_of_open_windows_leave_with_every_commit_so_that_no_replay_sends_them_again():
    builder = StreamsBuilder("parts")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=2)
    windows = stream.group_by("key").windowed_by(TimeWindows.of(100)).updates(every=50)
    windows.aggregate(n=agg.count()).to("out")
    plan = builder.build(SETTINGS)
    task = plan.factory(plan.subs[0])("rows", 0)
    for at in range(4):
        value = b'{"key":"a","value":1,"at":%d}' % at
        task.process([InputRecord(at, 0, None, value)])
        kinds = [decode_frame(record.value).kind for record in task.outputs()]
        assert kinds.count("groups") == 1
