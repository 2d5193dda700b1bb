"""What `suppress` lets through, and when, through restarts and in any batches, against a model.

Longer: TIDEMILL_DSL_STORIES (how many random stories, 24 if not given).
"""

import math
import os
import random
from collections import defaultdict

import pytest

from streams.codecs import Json
from streams.config import TaskSettings
from streams.errors import Fatal
from streams.operators.frames import decode_frame
from streams.operators.suppress import until_time_limit, until_window_closes
from streams.operators.windows import TimeWindows
from streams.schema import Schema, TopologyError, i64, string, time
from streams.task.processor import InputRecord
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.testing import TopologyTestDriver
from tests.simulation.dsl_delivery import deliver

STORIES = int(os.environ.get("TIDEMILL_DSL_STORIES", "24"))
SCHEMA = Schema(key=string, value=i64, at=time)
SETTINGS = TaskSettings(batch_records=7, snapshot_interval_ms=300, commit_interval_ms=100)


class Story:
    """Records of partitions; groups are whole in one (`coherent`), or their parts travel."""

    def __init__(self, seed, coherent=True, windows=False):
        self.seed, self.coherent = seed, coherent
        self.chance = chance = random.Random(seed)
        self.partitions = chance.choice([1, 2]) if coherent else 2
        self.every = chance.choice([1, 5, 20, 1000])
        self.max_groups = chance.choice([None, 1, 3, 5])
        self.advance = chance.choice([5, 10])
        self.size = self.advance * chance.choice([1, 2, 3])
        self.grace = chance.choice([0, 7])
        self.windows = windows
        self.records = [self._partition(p) for p in range(self.partitions)]

    def _partition(self, partition):
        chance, now, records = self.chance, self.chance.randrange(-30, 30), []
        for _ in range(chance.randrange(1, 60)):
            now += chance.choice([0, 0, 1, 2, 5, 40 if chance.random() < 0.1 else 3])
            if chance.random() < 0.1:
                records.append(now + chance.randrange(10))
                continue
            rows = chance.choice([1, 1, 2, 5])
            keys = [chance.choice("abcdefgh") for _ in range(rows)]
            ats = [now - chance.choice([0, 0, 1, 4, 12, 30]) for _ in keys]
            records.append(
                [
                    {"key": f"{partition}{k}" if self.coherent else k, "value": v, "at": at}
                    for k, at in zip(keys, ats, strict=True)
                    for v in [chance.randrange(-9, 9)]
                ]
            )
        return records

    def plan(self, limited=True):
        builder = StreamsBuilder("story")
        stream = builder.stream(
            "rows", Json(SCHEMA), time="at", partitions=self.partitions,
            key="key" if self.coherent else None,
        )  # fmt: skip
        groups = stream.group_by("key")
        if self.windows:
            shape = TimeWindows.of(self.size).advance_by(self.advance).grace(self.grace)
            groups = groups.windowed_by(shape)
        made = groups.aggregate(name="sums", n=agg.count(), total=agg.sum("value"))
        if limited:
            made = made.suppress(until_time_limit(self.every, max_groups=self.max_groups))
        made.to("out", Json(key="key"))
        return builder.build(SETTINGS)

    def run(self):
        driver = TopologyTestDriver(self.plan(), seed=self.seed)
        deliver(driver, self.records, SCHEMA, self.chance, 0.04)
        assert not driver.dead_letters()
        return driver


class Model:
    """One partition, record by record: what is published, as sorted rows of each moment."""

    def __init__(self, story):
        self.of = story
        self.time = self.interval = None
        self.rows = defaultdict(list)  # (window or None, key) -> values
        self.waits = set()  # (pane or None, key)
        self.published = []
        self.closed = None

    def feed(self, records):
        for record in records:
            rows = [] if isinstance(record, int) else record
            self._count(rows)
            if self.of.max_groups is not None and len(self.waits) > self.of.max_groups:
                self._publish()
            moves = [record] if isinstance(record, int) else [row["at"] for row in rows]
            self.time = max([*moves, *([] if self.time is None else [self.time])])
            if self.of.windows:
                self._close((self.time - self.of.grace) // self.of.advance * self.of.advance)
            before, self.interval = self.interval, self.time // self.of.every
            if before is not None and self.interval > before:
                self._publish()
        return self.published

    def _count(self, rows):
        of = self.of
        for row in rows:
            if not of.windows:
                self.rows[None, row["key"]].append(row["value"])
                self.waits.add((None, row["key"]))
                continue
            pane = math.gcd(of.size, of.advance)
            self.waits.add((-(-row["at"] // pane) * pane, row["key"]))
            first = -(-row["at"] // of.advance) * of.advance
            for end in range(first, row["at"] + of.size, of.advance):
                if self.closed is None or end > self.closed:
                    self.rows[end, row["key"]].append(row["value"])

    def _close(self, closed):
        before, self.closed = self.closed, closed
        for end in sorted({end for end, _ in self.rows}):
            if end <= closed and (before is None or end > before):
                keys = sorted(key for of, key in self.rows if of == end)
                self.published.append([self._row(end, key, True) for key in keys])

    def _publish(self):
        waits, self.waits = self.waits, set()
        if not self.of.windows:
            self.published.append(sorted(self._row(None, key, False) for _, key in waits))
            return
        for end in sorted({end for end, _ in self.rows}):
            if self.closed is not None and end <= self.closed:
                continue
            inside = {key for pane, key in waits if end - self.of.size < pane <= end}
            found = sorted(self._row(end, key, False) for key in inside)
            self.published.append(found)

    def _row(self, end, key, final):
        values = self.rows[end, key]
        return key, end, len(values), sum(values), final


def moments(rows, sizes):
    """What was published in order, as sorted rows of so many each."""
    found, at = [], 0
    for size in sizes:
        found.append(sorted(rows[at : at + size]))
        at += size
    assert at == len(rows), f"{len(rows) - at} rows too many"
    return found


def shown(row):
    return (
        row["key"], row.get("window_end"), row["n"], int(row["total"]), row.get("final", False),
    )  # fmt: skip


@pytest.mark.parametrize("windows", [False, True], ids=["totals", "windows"])
@pytest.mark.parametrize("seed", range(STORIES))
def test_what_changed_is_published_at_the_interval_and_at_the_bound_and_never_else(seed, windows):
    story = Story(seed, windows=windows)
    driver = story.run()
    rows = [shown(row) for row in driver.read("out")]
    for partition, records in enumerate(story.records):
        want = [each for each in Model(story).feed(records) if each]
        mine = [row for row in rows if row[0].startswith(str(partition))]
        assert moments(mine, [len(each) for each in want]) == want


@pytest.mark.parametrize("windows", [False, True], ids=["totals", "windows"])
@pytest.mark.parametrize("seed", range(STORIES // 2))
def test_where_parts_travel_it_is_a_function_of_what_arrives(seed, windows):
    """And what is published last of all, of a total, is all of it: no change is lost."""
    story = Story(seed, coherent=False, windows=windows)
    driver = story.run()
    if not windows:
        far = max(r["at"] for records in story.records for rs in records
                  if isinstance(rs, list) for r in rs) + 10_000  # fmt: skip
        for at in (far, 2 * far):
            driver.pipe("rows", [{"key": "end", "value": 0, "at": at}])
            driver.run()
    plan = story.plan()
    (inner,) = (sub for sub in plan.subs if sub.kind == "internal")
    again, reference = [], plan.factory(inner)
    for partition in range(driver.log.partitions(inner.topic)):
        processor = reference(inner.topic, partition)
        processor.restore([])
        for record in driver.log.read(inner.topic, partition):
            processor.process([record])
            again += [record.value for record in processor.outputs()]
    published = [record.value for record in driver.read_records("out")]
    assert sorted(again) == sorted(published)
    if not windows:
        last = {row["key"]: (row["n"], row["total"]) for row in driver.read("out")}
        all_rows = [r for records in story.records for rs in records if isinstance(rs, list)
                    for r in rs]  # fmt: skip
        for key in {row["key"] for row in all_rows}:
            values = [row["value"] for row in all_rows if row["key"] == key]
            assert last[key] == (len(values), sum(values))


def test_windows_whose_parts_travel_are_seen_open_at_the_interval():
    story = Story(1, coherent=False, windows=True)
    story.every, story.max_groups = 5, None
    story.size = story.advance = 100
    story.records = [
        [[{"key": "a", "value": 1, "at": at}] for at in range(p + 1, 60, 4)] for p in range(2)
    ]
    driver = story.run()
    seen = [(row["n"], row["final"]) for row in driver.read("out")]
    assert len(seen) >= 8
    assert seen == sorted(seen)
    assert not any(final for _, final in seen)
    kinds = [decode_frame(r.value).kind for r in driver.read_records("story-sums-repartition")]
    assert kinds.count("groups") <= 2 * 12  # one an interval and source, not one a commit


def task_of(builder):
    plan = builder.build(SETTINGS)
    task = plan.factory(plan.subs[0])("rows", 0)
    task.restore([])
    return task


def rows_of(*keys, at=1):
    return InputRecord(0, 0, None, b"\n".join(b'{"key":"%s","value":1,"at":%d}' % (k, at)
                                              for k in keys))  # fmt: skip


def totals(limit):
    builder = StreamsBuilder("app")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
    stream.group_by("key").aggregate(n=agg.count()).suppress(limit).to("out")
    return builder


def test_a_bound_in_bytes_counts_keys_and_columns():
    task = task_of(totals(until_time_limit(1000, max_bytes=100)))
    published = []
    for key in (b"a", b"bb", b"a", b"c", b"d"):
        task.process([rows_of(key)])
        published.append(len(task.outputs()))
    # a row: 9 bytes and its text for the key, 8 for each of two columns; 26, 53, 53, 79, 105
    assert published == [0, 0, 0, 0, 4]


def test_at_the_bound_the_worker_stops_if_that_is_asked_for():
    task = task_of(totals(until_time_limit(1000, max_groups=2, when_full="stop")))
    task.process([rows_of(b"a", b"b")])
    with pytest.raises(Fatal, match="more than 2 groups"):
        task.process([rows_of(b"a", b"c")])


def test_a_version_that_suppresses_no_more_publishes_what_waited():
    def version(number, limited):
        builder = StreamsBuilder("app", version=number)
        stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
        made = stream.group_by("key").aggregate(n=agg.count())
        (made.suppress(until_time_limit(1000)) if limited else made).to("out")
        return builder.build(SETTINGS)

    driver = TopologyTestDriver(version(1, True))
    driver.pipe("rows", [{"key": "a", "value": 1, "at": 5}])
    driver.run()
    assert driver.read("out") == []
    driver.upgrade(version(2, False))
    driver.pipe("rows", [{"key": "b", "value": 1, "at": 6}])
    driver.run()
    assert sorted((row["key"], row["n"]) for row in driver.read("out")) == [("a", 1), ("b", 1)]


def test_until_the_window_closes_is_what_windows_do_and_may_be_said():
    def closing(said):
        builder = StreamsBuilder("app")
        stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
        made = stream.group_by("key").windowed_by(TimeWindows.of(10)).aggregate(n=agg.count())
        (made.suppress(until_window_closes()) if said else made).to("out")
        return builder.build(SETTINGS)

    assert closing(True).describe() == closing(False).describe()


def test_suppress_is_refused_where_it_says_nothing():
    builder = StreamsBuilder("app")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
    groups = stream.group_by("key")
    limit = until_time_limit(5)
    with pytest.raises(TopologyError, match="say it right behind aggregate"):
        stream.suppress(limit)
    with pytest.raises(TopologyError, match="totals have no windows that close"):
        groups.count(name="a").suppress(until_window_closes())
    with pytest.raises(TopologyError, match="it was said before when to publish"):
        groups.count(name="b").suppress(limit).suppress(limit)
    updated = groups.windowed_by(TimeWindows.of(10)).updates().aggregate(name="c", n=agg.count())
    with pytest.raises(TopologyError, match="it was said before when to publish"):
        updated.suppress(limit)
    counts = groups.count(name="d")
    counts.to("d")
    with pytest.raises(TopologyError, match="something else follows it already"):
        counts.suppress(limit)
    with pytest.raises(TopologyError, match="above zero"):
        until_time_limit(5, max_groups=0)
