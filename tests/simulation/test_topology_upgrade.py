"""A topology is replaced by another version while it runs, a task at a time and at any moment.

What both versions have goes on as if nothing had happened; what is new begins, what is gone ends,
and what cannot be is refused, by the tool beforehand and by a worker that meets it.
`TIDEMILL_UPGRADES` sets the number of histories.
"""

import json
import os
import random
from collections import defaultdict

import pytest

from streams.codecs import Json
from streams.expressions import col
from streams.operators.windows import TimeWindows
from streams.schema import Schema, i64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.manifest import differences, manifest
from streams.topology.testing import TopologyTestDriver

HISTORIES = int(os.environ.get("TIDEMILL_UPGRADES", "8"))
PARTITIONS = 3
SALE = Schema(shop=string, amount=i64, at=time)


def sales(version, **changes):
    """`tens` and `totals` stay; minutes (`slow`) give way to thirds, and `dearest` is new."""
    builder = StreamsBuilder("shop", partitions=2, version=version)
    key = changes.get("key")
    rows = builder.stream("sales", Json(SALE), time="at", partitions=PARTITIONS, key=key)
    if changes.get("dear_only"):
        rows = rows.where(col("amount") > 5)
    shops = rows.group_by("shop")
    shops.aggregate(name="totals", sales=agg.count(), revenue=agg.sum("amount")).to("totals")
    size = changes.get("tens", 10)
    tens = shops.windowed_by(TimeWindows.of(size).grace(3))
    tens.aggregate(name="tens", sales=agg.count(), revenue=agg.sum("amount")).to("tens")
    if version == 1:
        shops.windowed_by(TimeWindows.of(60)).aggregate(name="slow", sales=agg.count()).to("slow")
    else:
        thirds = shops.windowed_by(TimeWindows.of(20).grace(3))
        thirds.aggregate(name="thirds", sales=agg.count()).to("thirds")
        shops.aggregate(name="dearest", amount=agg.max("amount")).to("dearest")
    return builder.build()


def outcomes(old, new):
    found = differences(json.loads(json.dumps(manifest(old))), manifest(new))
    return {f"{each.what} {each.name}": each.outcome for each in found}


def history(seed, key):
    """Rows, deaths, and an upgrade of one task after another in the middle of it all."""
    rng = random.Random(seed)
    driver = TopologyTestDriver(sales(1, key=key), seed=seed)
    new = sales(2, key=key)
    fed = []
    clocks = [0] * PARTITIONS

    def feed(count):
        for _ in range(count):
            shop = rng.randrange(5)
            partition = shop % PARTITIONS if key else rng.randrange(PARTITIONS)
            clocks[partition] += rng.randint(0, 4)
            at = clocks[partition] - (rng.randint(0, 30) if rng.random() < 0.15 else 0)
            row = {"shop": f"s{shop}", "amount": rng.randint(1, 9), "at": at}
            fed.append((partition, row))
            driver.pipe("sales", [row], partition=partition)

    def work():
        feed(rng.randint(5, 25))
        if rng.random() < 0.7:
            driver.run()
        else:
            for task in rng.sample(driver.tasks, len(driver.tasks)):
                for _ in range(rng.randrange(40)):
                    task.turn()
        if rng.random() < 0.4:
            at = rng.randrange(len(driver.tasks))
            driver.restart(lose_disk=rng.random() < 0.5, task=at)

    for _ in range(rng.randint(1, 4)):
        work()
    left = [task.id for task in driver.tasks]
    rng.shuffle(left)
    while left:
        one = left.pop()
        driver.upgrade(new, lambda at, one=one: at == one, drain=rng.random() < 0.6)
        work()
    driver.run()
    driver.upgrade(new)
    begun = max(row["at"] for _, row in fed)
    for _ in range(rng.randint(1, 3)):
        work()
    far = max(clocks) + 1_000
    driver.run()
    for partition in range(PARTITIONS):
        shop = next(s for s in range(9) if s % PARTITIONS == partition)
        row = {"shop": f"s{shop}", "amount": 1, "at": far}
        fed.append((partition, row))
        driver.pipe("sales", [row], partition=partition)
    driver.run()
    return driver, fed, begun, far


def windows(fed, size, far):
    """(shop, end) -> (sales, revenue), without what came late for its own partition."""
    found = defaultdict(list)
    latest = [-100] * PARTITIONS
    for partition, row in fed:
        end = -(-row["at"] // size) * size
        if end > (latest[partition] - 3) // size * size and row["at"] < far:
            found[row["shop"], end].append(row["amount"])
        latest[partition] = max(latest[partition], row["at"])
    return {key: (len(amounts), sum(amounts)) for key, amounts in found.items()}


@pytest.mark.parametrize("key", [None, "shop"], ids=["parts travel", "where the rows are"])
def test_what_both_versions_have_goes_on_without_gap_or_recount_and_what_is_new_begins(key):
    for seed in range(HISTORIES):
        driver, fed, begun, far = history(seed, key)
        totals = driver.latest("totals", "shop")
        for (shop,), row in totals.items():
            amounts = [each["amount"] for _, each in fed if each["shop"] == shop]
            assert (row["sales"], row["revenue"]) == (len(amounts), sum(amounts)), seed
        assert len(totals) == len({row["shop"] for _, row in fed})
        tens = driver.read("tens")
        found = {(r["shop"], r["window_end"]): (r["sales"], r["revenue"]) for r in tens}
        assert len(found) == len(tens), f"seed {seed}: a window came twice"
        assert found == windows(fed, 10, far), seed
        thirds = windows(fed, 20, far)
        rows = driver.read("thirds")
        made = {(r["shop"], r["window_end"]): r["sales"] for r in rows}
        assert len(made) == len(rows), f"seed {seed}: a window came twice"
        for (shop, end), (count, _) in thirds.items():
            if end - 20 >= begun:
                assert made[shop, end] == count, seed


def test_what_ended_leaves_nothing_in_the_state():
    driver = TopologyTestDriver(sales(1))
    driver.pipe("sales", [{"shop": "a", "amount": 2, "at": at} for at in (1, 5)])
    driver.run()
    driver.upgrade(sales(2))
    driver.pipe("sales", [{"shop": "a", "amount": 2, "at": 6}])
    driver.run()
    for task in driver.tasks:
        task.close()
    keys = [key for task in driver.tasks for key, _ in task.disk.open().blocks()]
    assert any(key.startswith(b"tens/") for key in keys)
    assert not any(key.startswith(b"slow/") for key in keys)


def test_the_tool_says_beforehand_what_becomes_of_each_store_and_output():
    assert outcomes(sales(1), sales(2)) == {
        "input source-sales": "continues",
        "output to-dearest": "begins anew",
        "output to-slow": "ends",
        "output to-tens": "continues",
        "output to-thirds": "begins anew",
        "output to-totals": "continues",
        "store dearest": "begins anew",
        "store slow": "ends",
        "store tens": "continues",
        "store thirds": "begins anew",
        "store totals": "continues",
    }
    same = outcomes(sales(2), sales(2))
    assert set(same.values()) == {"continues"}


def test_other_rows_before_a_store_are_told_and_do_not_stop_it():
    found = outcomes(sales(2), sales(3, dear_only=True))
    assert found["store tens"] == "continues, with other rows"
    driver = TopologyTestDriver(sales(2))
    driver.pipe("sales", [{"shop": "a", "amount": 2, "at": 1}])
    driver.run()
    driver.upgrade(sales(3, dear_only=True))
    driver.pipe("sales", [{"shop": "a", "amount": a, "at": 2} for a in (4, 7)])
    driver.run()
    assert driver.latest("totals", "shop")[("a",)]["revenue"] == 9


def refused(old, new):
    """What a worker of the new version says that meets the state of the old one."""
    driver = TopologyTestDriver(old)
    driver.pipe("sales", [{"shop": "a", "amount": 2, "at": 1}])
    driver.run()
    driver.upgrade(new)
    try:
        driver.run()
    except AssertionError as stopped:
        return str(stopped)
    return "nothing"


def test_a_changed_window_under_the_same_name_is_refused_by_the_tool_and_by_a_worker():
    found = outcomes(sales(1), sales(2, tens=15))
    assert found.get("store tens") == "refused"
    said = refused(sales(1), sales(2, tens=15))
    assert "size=10ns" in said
    assert "size=15ns" in said
    assert "another name" in said


def test_a_group_that_moves_to_other_tasks_is_refused_under_the_same_name():
    assert outcomes(sales(1), sales(2, key="shop"))["store tens"] == "refused"
    assert "another name" in refused(sales(1), sales(2, key="shop"))


def test_a_change_without_a_higher_version_is_refused():
    builder = sales(1)
    other = sales(2)
    other.version = 1
    assert outcomes(builder, other)["version shop"] == "refused"
    assert "higher version" in refused(builder, other)


def test_a_worker_of_the_old_version_stops_where_the_new_one_has_taken_over():
    assert "version 2 has taken over and this is version 1" in refused(sales(2), sales(1))
