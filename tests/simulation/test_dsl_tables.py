"""Tables, totals and own operators through restarts, against dicts and plain loops."""

import math
import os
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from streams.codecs import Columnar, Json
from streams.config import TaskSettings
from streams.errors import Fatal
from streams.expressions import col
from streams.schema import Schema, f64, i64, string
from streams.task.processor import InputRecord
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.testing import TopologyTestDriver

STORIES = int(os.environ.get("TIDEMILL_DSL_STORIES", "12"))
SETTINGS = TaskSettings(batch_records=5, snapshot_interval_ms=300, commit_interval_ms=100)
SALES = Schema(shop=string.optional, n=i64, amount=f64)


def disturb(driver, chance):
    for task in driver.tasks:
        if chance.random() < 0.15:
            for _ in range(chance.randrange(25)):
                task.turn()
            if chance.random() < 0.3:
                task.advance(chance.choice([50, 150, 400]))
        if chance.random() < 0.03:
            task.crash(lose_disk=chance.random() < 0.5)
            task.start()


def sales(chance, n):
    return [
        {
            "shop": None if chance.random() < 0.1 else f"s{chance.randrange(6)}",
            "n": chance.randrange(4),
            "amount": chance.uniform(-1, 9),
        }
        for _ in range(n)
    ]


@pytest.mark.parametrize("seed", range(STORIES))
def test_totals_of_all_time_end_as_the_rows_say(seed):
    chance = random.Random(seed)
    partitions = chance.choice([1, 3])
    builder = StreamsBuilder("totals", partitions=chance.choice([None, 2]))
    stream = builder.stream("sales", Columnar(SALES), partitions=partitions)
    grouped = stream.where(col("amount") > 0).group_by("shop", "n")
    grouped.aggregate(
        count=agg.count(), total=agg.sum("amount"), kinds=agg.distinct_count("shop")
    ).to("out", Json(key="shop"))
    driver = TopologyTestDriver(builder.build(SETTINGS), {"out": 2}, seed=seed)
    want = defaultdict(list)
    for _ in range(60):
        rows = sales(chance, chance.choice([1, 1, 8]))
        for row in rows:
            if row["amount"] > 0:
                want[row["shop"], row["n"]].append(row["amount"])
        driver.pipe("sales", rows, partition=chance.randrange(partitions))
        disturb(driver, chance)
    driver.run()
    found = {
        key: (row["count"], row["total"], row["kinds"])
        for key, row in driver.latest("out", "shop", "n").items()
    }
    exact = {key: (len(v), math.fsum(v), float(key[0] is not None)) for key, v in want.items()}
    assert found == exact
    stored = {(row["shop"], row["n"]): row["count"] for row in driver.store("aggregate-shop-n")}
    assert stored == {key: len(v) for key, v in want.items()}
    counts = [row["count"] for row in driver.read("out") if (row["shop"], row["n"]) == ("s1", 1)]
    assert counts == sorted(set(counts)), "each value of a key is published once"


class Numbered:
    """Numbers the rows of each shop; drops those of a shop's first."""

    def process(self, columns, store):
        shops = columns["shop"].to_list()
        numbers, origin = [], []
        for at, shop in enumerate(shops):
            key = (shop or "").encode()
            number = int(store.get(key) or 0) + 1
            store.put(key, b"%d" % number)
            if number > 1:
                numbers.append(number)
                origin.append(at)
        kept = np.array(origin, np.int64)
        return {"shop": columns["shop"].take(kept), "number": numbers}, kept


@pytest.mark.parametrize("by", [None, "shop"])
@pytest.mark.parametrize("seed", range(STORIES // 2))
def test_an_operator_of_ones_own_keeps_its_store_and_sees_each_row_once(seed, by):
    chance = random.Random(seed)
    builder = StreamsBuilder("own")
    stream = builder.stream("sales", Json(SALES), partitions=2)
    schema = Schema(shop=string.optional, number=i64)
    stream.process(Numbered, schema, name="numbered", by=by).to("out")
    driver = TopologyTestDriver(builder.build(SETTINGS), seed=seed)
    counts = Counter()
    for _ in range(50):
        rows = sales(chance, chance.choice([1, 4]))
        partition = chance.randrange(2)
        counts.update((None if by else partition, row["shop"]) for row in rows)
        driver.pipe("sales", rows, partition=partition)
        disturb(driver, chance)
    driver.run()
    want = Counter()
    for (_, shop), count in counts.items():
        want.update({(shop, number): 1 for number in range(2, count + 1)})
    assert Counter((row["shop"], row["number"]) for row in driver.read("out")) == want
    if by:
        stored = {key.decode() or None: int(v) for key, v in driver.store("numbered").items()}
        assert stored == {shop: count for (_, shop), count in counts.items()}


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("seed", range(STORIES // 3))
def test_rows_meet_the_latest_row_of_a_table_and_none_after_a_tombstone(seed, everywhere, inner):
    chance = random.Random(seed)
    builder = StreamsBuilder("joined")
    codec = Json(Schema(shop=string, country=string, rank=i64.optional), key="shop")
    made = builder.global_table if everywhere else builder.table
    table = made("shops", codec, partitions=2)
    stream = builder.stream("sales", Json(SALES), partitions=2)
    (stream.join if inner else stream.left_join)(table, "shop").to("out")
    driver = TopologyTestDriver(builder.build(SETTINGS), seed=seed)
    model, want = {}, []
    for _ in range(40):
        shop = f"s{chance.randrange(6)}"
        place = int(shop[1:]) % 2
        if chance.random() < 0.3:
            model.pop(shop, None)
            driver.pipe_record("shops", None, key=shop.encode(), partition=place)
        elif chance.random() < 0.6:
            row = {"country": chance.choice(["FR", "UK"]), "rank": chance.choice([None, 3])}
            model[shop] = row
            driver.pipe("shops", [{"shop": shop, **row}], partition=place)
        driver.run()
        rows = sales(chance, chance.choice([1, 5]))
        nothing = {"country": None, "rank": None}
        want += [
            row | model.get(row["shop"], nothing)
            for row in rows
            if not inner or row["shop"] in model
        ]
        driver.pipe("sales", rows, partition=chance.randrange(2))
        disturb(driver, chance)
        driver.run()
    assert sorted(map(repr, driver.read("out"))) == sorted(map(repr, want))
    assert not driver.dead_letters()
    shops = {row.pop("shop"): row for row in driver.store("join-shops")}
    assert shops == model


def test_rows_wait_until_every_partition_of_a_table_was_read_once_also_over_a_restart():
    builder = StreamsBuilder("waits")
    codec = Json(Schema(shop=string, country=string), key="shop")
    table = builder.table("shops", codec, partitions=2)
    stream = builder.stream("sales", Json(SALES), partitions=1)
    stream.join(table, "shop").to("out")
    driver = TopologyTestDriver(builder.build(SETTINGS))
    driver.pipe("sales", [{"shop": "a", "n": 1, "amount": 1.0}])
    rows_first = [task for task in driver.tasks if task.id.topic == "sales"]
    joins = [task for task in driver.tasks if "repartition" in task.id.topic]
    for task in (*rows_first, *joins):
        task.settle()
    (join,) = joins
    assert driver.stats()[str(join.id)]["join-shops-input"]["held"] == 2  # rows, and a mark
    join.advance(1_000)
    join.settle()  # what is held is in a snapshot
    join.crash(lose_disk=True)
    join.start()
    driver.pipe("shops", [{"shop": "a", "country": "FR"}])
    driver.run()
    assert [row["country"] for row in driver.read("out")] == ["FR"]


def test_the_state_of_another_topology_is_refused_with_both_named():
    def processor(column):
        builder = StreamsBuilder("app")
        stream = builder.stream("sales", Json(SALES), partitions=1)
        stream.group_by(column).aggregate(name="totals", sold=agg.count()).to("out")
        plan = builder.build(SETTINGS)
        (sub,) = plan.subs
        return plan.factory(sub)("sales", 0)

    old, same, changed = processor("shop"), processor("shop"), processor("n")
    old.process([InputRecord(0, 0, None, b'{"shop":"a","n":1,"amount":1.0}')])
    old.outputs()
    blocks = old.snapshot(1)
    same.restore(blocks.items())
    assert same.replay_from() == 1
    with pytest.raises(Fatal) as caught:
        changed.restore(blocks.items())
    assert "by(shop: string?) sold=count.1()" in str(caught.value)
    assert "by(n: i64) sold=count.1()" in str(caught.value)
    assert "give the changed one another name" in str(caught.value)
