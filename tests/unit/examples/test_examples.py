"""The examples do what they say, also through restarts and in any batches."""

from collections import Counter

from examples import shop_hours, word_count
from streams.codecs import Text
from streams.topology.testing import TopologyTestDriver, same_any_way

LINES = ["to be or not to be", "that is the question", "To be", "the rest is silence"]
HOUR = 3_600_000


def test_the_word_count_counts_every_word_once_whatever_happens():
    def feed(line, partition):
        return lambda driver: driver.pipe("lines", [{"line": line}], partition=partition)

    found = same_any_way(
        lambda seed: TopologyTestDriver(word_count.topology(), {"counts": 2}, seed=seed),
        [feed(line, at % 2) for at, line in enumerate(LINES)],
        lambda driver: {k: row["count"] for (k,), row in driver.latest("counts", "word").items()},
        order=lambda chance: chance.sample(range(len(LINES)), len(LINES)),
        seeds=range(8),
    )
    assert found == Counter(" ".join(LINES).lower().split())


def test_a_line_that_is_no_text_goes_to_the_dead_letters_and_the_rest_counts():
    driver = TopologyTestDriver(word_count.topology())
    driver.pipe("lines", [{"line": "to be"}])
    driver.pipe_record("lines", b"\xff\xfe")
    driver.pipe("lines", [{"line": "or not"}])
    driver.run()
    assert {row["word"] for row in driver.read("counts")} == {"to", "be", "or", "not"}
    (letter,) = driver.dead_letters()
    assert (letter.key, letter.value) == (b"lines/0/1", b"\xff\xfe")
    assert dict(letter.headers)["code"] == b"not-utf8"


def order(shop, price, quantity, at_ms, state="paid"):
    return {
        "shop": shop, "price": price, "quantity": quantity, "at": at_ms * 1_000_000, "state": state,
    }  # fmt: skip


def shops_world(seed=None):
    driver = TopologyTestDriver(shop_hours.topology(), {"shop-hours": 2}, seed=seed)
    driver.pipe("shops", [{"shop": "a", "country": "FR", "currency": "EUR"}])
    driver.pipe("shops", [{"shop": "b", "country": "UK", "currency": "GBP"}])
    driver.run()
    return driver


def test_an_hour_is_published_when_it_has_closed_for_every_partition_and_revised_by_late_orders():
    driver = shops_world()
    start = 1_000 * HOUR
    driver.pipe("orders", [order("a", 10.0, 2, start + 1), order("b", 5.5, 1, start + 2)])
    driver.pipe("orders", [order("a", 1001.0, 1, start + 3, "cancelled")], partition=1)
    driver.pipe("orders", [order("a", 1001.0, 1, start + HOUR)], partition=1)  # belongs to it
    driver.pipe("orders", [order("x", 7.0, 1, start + 5)])  # a shop that nobody knows
    driver.pipe("orders", [order("a", 1.0, 1, start + HOUR + 120_000)])  # end and grace
    driver.run()
    assert driver.read("shop-hours") == []
    driver.idle(start + HOUR + 180_000)  # partition 1 has been silent
    driver.run()
    hour = {"window_start": start, "window_end": start + HOUR, "revision": 1}
    a = {
        "shop": "a", "country": "FR", "orders": 2, "value": 1021.0, "dearest": 1001.0,
        "large": 1.0,
    }  # fmt: skip
    b = {
        "shop": "b", "country": "UK", "orders": 1, "value": 5.5, "dearest": 5.5,
        "large": 0.0,
    }  # fmt: skip
    found = sorted(driver.read_new("shop-hours"), key=lambda row: row["shop"])
    for row in found:
        assert abs(row.pop("p90") - row["dearest"]) < 1
    assert found == [
        a | hour,
        b | hour,
    ]

    driver.pipe("orders", [order("b", 4.5, 1, start + 9)])  # late
    driver.restart()
    driver.run()
    assert driver.read_new("shop-hours") == []
    driver.idle(start + 2 * HOUR + 180_000)
    driver.run()
    late = [row for row in driver.read_new("shop-hours") if row["window_end"] == start + HOUR]
    assert [(row["shop"], row["revision"], row["value"]) for row in late] == [("b", 2, 10.0)]


def test_the_rollup_is_the_same_in_any_batches_and_through_any_restarts():
    start = 1_000 * HOUR

    def feed(at):
        rows = [order("ab"[at % 2], 1.0 + at / 7, at % 5, start + at * 60_000)]
        return lambda driver: driver.pipe("orders", rows, partition=at // 2 % 2)

    def make(seed):
        return shops_world(seed)

    def result(driver):
        driver.idle(start + 4 * HOUR)
        driver.run()
        return sorted(map(repr, driver.read("shop-hours")))

    found = same_any_way(make, [feed(at) for at in range(60)], result, seeds=range(4))
    assert len(found) == 3  # an order at the full hour belongs to the hour that it ends


def test_the_plans_of_the_examples_are_printed_and_drawn():
    plan = shop_hours.topology()
    said = plan.describe()
    assert "Processor: join-shops (store: join-shops)" in said
    assert "Sink: to-shop-hours (topic: shop-hours, Json(key=shop, window_end))" in said
    assert plan.graph().startswith("flowchart LR")
    assert plan.internal_topics() == {
        "shop-hours-join-shops-repartition": 2,
    }
    assert Text("line").schema
