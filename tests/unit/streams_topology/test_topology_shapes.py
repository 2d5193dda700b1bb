"""Topologies of many shapes: what forks, meets again, comes from several topics, or fails."""

import numpy as np
import pytest

from streams.codecs import Columnar, Json
from streams.expressions import col
from streams.operators.windows import TimeWindows
from streams.schema import Schema, f64, i64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.testing import TopologyTestDriver

SCHEMA = Schema(key=string, n=i64.optional, at=time)
ROWS = [{"key": "abc"[at % 3], "n": None if at % 4 == 0 else at, "at": at} for at in range(1, 41)]


def windowed(stream, name, **aggregates):
    grouped = stream.group_by("key").windowed_by(TimeWindows.of(10))
    return grouped.aggregate(name=name, **(aggregates or {"rows": agg.count(), "n": agg.sum("n")}))


def published(driver, topic):
    return {(row["key"], row["window_end"]): (row["rows"], row["n"]) for row in driver.read(topic)}


def plain(rows):
    found = {}
    for row in rows:
        place = (row["key"], -(-row["at"] // 10) * 10)
        count, total = found.get(place, (0, 0.0))
        found[place] = (count + 1, total + (row["n"] or 0))
    return found


def feed(driver, topic="rows", rows=ROWS):
    for at, row in enumerate(rows):
        driver.pipe(topic, [row], partition=at % driver.log.partitions(topic))
    for partition in range(driver.log.partitions(topic)):
        driver.pipe(topic, [{"key": "a", "n": 1, "at": 51}], partition=partition)
    driver.run()


@pytest.mark.parametrize("partitions", [1, 2])
def test_branches_that_meet_again_are_the_stream_in_its_order(partitions):
    builder = StreamsBuilder("diamond")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=partitions)
    large, small, unknown = stream.branch(col("n") > 20, col("n") <= 20, col("n").is_null())
    again = large.merge(small.with_columns(n=col("n") + 0), unknown)
    windowed(again, "met").to("met")
    windowed(stream, "whole").to("whole")
    stream.to("copy")
    driver = TopologyTestDriver(builder.build())
    feed(driver)
    assert published(driver, "met") == published(driver, "whole") == plain(ROWS)
    assert len(driver.read("copy")) == len(ROWS) + partitions


def test_a_row_goes_to_the_first_branch_that_takes_it_and_null_takes_none():
    builder = StreamsBuilder("branches")
    stream = builder.stream("rows", Json(SCHEMA), time="at")
    first, second = stream.branch(col("n") > 10, col("n") > 5)
    first.to("first")
    second.to("second")
    driver = TopologyTestDriver(builder.build())
    driver.pipe("rows", ROWS)
    driver.run()
    numbers = [row["n"] for row in ROWS if row["n"] is not None]
    assert [row["n"] for row in driver.read("first")] == [n for n in numbers if n > 10]
    assert [row["n"] for row in driver.read("second")] == [n for n in numbers if 5 < n <= 10]


def test_streams_of_two_topics_are_counted_together_when_both_have_come_so_far():
    builder = StreamsBuilder("two")
    one = builder.stream("one", Json(SCHEMA), time="at", partitions=1)
    two = builder.stream("two", Columnar(SCHEMA), time="at", partitions=2)
    windowed(one.merge(two), "both").to("out")
    driver = TopologyTestDriver(builder.build())
    feed(driver, "one")
    assert driver.read("out") == []
    feed(driver, "two")
    assert published(driver, "out") == plain(ROWS + ROWS)


def test_one_group_of_everything():
    builder = StreamsBuilder("all")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=2)
    stream.group_by().aggregate(rows=agg.count(), n=agg.count("n")).to("out", Json())
    driver = TopologyTestDriver(builder.build())
    feed(driver)
    assert driver.read("out")[-1] == {"rows": 42, "n": 32}


def failing(columns):
    if "bad" in columns["key"].to_list():
        raise RuntimeError("a bad key")
    return {"key": columns["key"]}


def test_a_record_on_which_a_function_fails_goes_to_the_dead_letters_and_the_rest_counts():
    builder = StreamsBuilder("fails")
    stream = builder.stream("rows", Json(SCHEMA), time="at", partitions=1)
    stream.map_batches(failing, Schema(key=string)).group_by("key").count().to("out")
    driver = TopologyTestDriver(builder.build(), seed=3)
    for row in [*ROWS[:9], {"key": "bad", "n": 1, "at": 9}, *ROWS[9:]]:
        driver.pipe("rows", [row])
    driver.run()
    (letter,) = driver.dead_letters()
    assert letter.key == b"rows/0/9"
    assert b"a bad key" in dict(letter.headers)["reason"]
    counts = {row["key"]: row["count"] for row in driver.read("out")}
    assert counts == {"a": 13, "b": 14, "c": 13}


WRONG = [
    (lambda c: {"x": np.zeros(len(c["n"]))}, "it returned the columns ['x']"),
    (lambda c: {"n": [1.5] * len(c["n"]), "key": c["n"]}, "key does not hold string"),
    (lambda c: {"n": np.zeros(len(c["n"])), "key": c["key"]}, "n does not hold i64"),
    (lambda c: {"n": [1, 2], "key": c["key"]}, "return (columns, index of the row"),
    (lambda c: {"n": [None] * len(c["n"]), "key": c["key"]}, "let its type be i64.optional"),
    (lambda c: ({"n": [1], "key": ["a"]}, [len(c["n"])]), "it names rows that it was not given"),
]


@pytest.mark.parametrize(("function", "said"), WRONG)
def test_a_function_that_returns_what_its_schema_does_not_say_is_named_with_the_column(
    function, said
):
    builder = StreamsBuilder("wrong")
    stream = builder.stream("rows", Json(SCHEMA), time="at")
    stream.map_batches(function, Schema(key=string, n=i64), name="mine").to("out")
    driver = TopologyTestDriver(builder.build())
    driver.pipe("rows", [ROWS[1]])
    driver.run()
    (letter,) = driver.dead_letters()
    reason = dict(letter.headers)["reason"].decode()
    assert "mine" in reason
    assert said in reason


def test_a_time_that_cannot_be_nanoseconds_is_rejected():
    builder = StreamsBuilder("times")
    builder.stream("rows", Json(SCHEMA), time="at").to("out")
    driver = TopologyTestDriver(builder.build())
    driver.pipe("rows", [ROWS[0], {"key": "a", "n": 1, "at": 2**62 + 1}, ROWS[1]])
    driver.run()
    assert len(driver.read("out")) == 2
    assert dict(driver.dead_letters()[0].headers)["code"] == b"time-out-of-range"


def test_without_a_column_of_time_the_records_time_counts():
    builder = StreamsBuilder("stamps")
    stream = builder.stream("rows", Json(Schema(key=string)), partitions=1)
    second = 10**9
    windows = stream.group_by("key").windowed_by(TimeWindows.of(second))
    windows.aggregate(rows=agg.count()).to("out")
    driver = TopologyTestDriver(builder.build())
    for ms in (1, 500, 1000, 1001, 2000):
        driver.pipe("rows", [{"key": "a"}], timestamp_ms=ms)
    driver.run()
    assert [(row["window_end"], row["rows"]) for row in driver.read("out")] == [
        (second, 3),
        (2 * second, 2),
    ]


class Doubled:
    """An aggregate of a user's: twice the exact sum."""

    name, version = "doubled", 1

    def __init__(self):
        self._sum = agg.sum("x").aggregate

    def __getattr__(self, name):
        return getattr(self._sum, name)

    def finish(self, state):
        return 2 * self._sum.finish(state)


def test_an_aggregate_of_a_users_own_and_results_that_are_no_numbers():
    builder = StreamsBuilder("own")
    stream = builder.stream("rows", Json(Schema(key=string, x=f64)), partitions=2)
    stream.group_by("key").aggregate(
        twice=agg.of(Doubled(), "x"), top=agg.top_k("x"), q=agg.quantile("x", 0.25)
    ).to("out")
    driver = TopologyTestDriver(builder.build())
    for at in range(8):
        driver.pipe("rows", [{"key": "a", "x": float(at % 2)}], partition=at % 2)
    driver.run()
    row = driver.latest("out", "key")["a",]
    assert (row["twice"], row["q"]) == (8.0, 0.0)
    assert '"complete":true' in row["top"]
