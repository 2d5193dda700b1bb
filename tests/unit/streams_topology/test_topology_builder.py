"""What a builder refuses, and what it says to do; how a plan is cut and named."""

import pytest

from streams.aggregates import aggregate
from streams.codecs import Columnar, Json, Text
from streams.expressions import col
from streams.operators.windows import TimeWindows
from streams.schema import Schema, TopologyError, boolean, f64, i64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder

SCHEMA = Schema(shop=string, amount=f64, n=i64, at=time, ok=boolean)


def orders(builder=None, **given):
    builder = builder or StreamsBuilder("app")
    return builder.stream("orders", Json(SCHEMA), **({"time": "at", "partitions": 2} | given))


def shops(builder, **given):
    codec = Json(Schema(shop=string, country=string), key="shop")
    return builder.table("shops", codec, **({"partitions": 1} | given))


WINDOWS = TimeWindows.of(10)

REFUSED = [
    (lambda s: s.where(col("amount")), "a condition is bool, not f64; compare it"),
    (lambda s: s.where(col("none") > 1), "where after source-orders: there is no column 'none'"),
    (lambda s: s.select("none"), "select: none after source-orders: there is no column 'none'"),
    (lambda s: s.with_columns(x=col("shop") + 1), "with_columns: x after source-orders"),
    (lambda s: s.select(), "name at least one column"),
    (lambda s: s.group_by("amount"), "doubles are no keys; cast it"),
    (lambda s: s.group_by("none"), "group_by: there is no column 'none'; there are shop"),
    (lambda s: s.group_by("shop").aggregate(), "Give name=agg.count()"),
    (lambda s: s.group_by("shop").aggregate(x=agg.sum("none")), "x=sum('none'): there is no such"),
    (lambda s: s.group_by("shop").aggregate(x=agg.sum("shop")), "sum is for numbers, and shop is"),
    (lambda s: s.group_by("shop").aggregate(x=agg.of("sum")), "x=sum(): say of which column"),
    (lambda s: s.group_by("shop").aggregate(shop=agg.count()), "shop is a key already"),
    (
        lambda s: s.group_by("shop").windowed_by(WINDOWS).aggregate(window_end=agg.count()),
        "window_end is a column of windows",
    ),
    (lambda s: s.group_by("shop").count().group_by("shop"), "its rows replace earlier ones"),
    (
        lambda s: s.group_by("shop").windowed_by(WINDOWS.revisions(9)).aggregate(n=agg.count())
        .group_by("shop"),
        "its rows replace earlier ones",
    ),
    (lambda s: s.join(shops(s.builder), "n"), "on='n' does not name its key shop"),
    (lambda s: s.join(shops(s.builder), {"n": "shop"}), "n is i64 and its key shop is string"),
    (
        lambda s: s.with_columns(country=col("shop")).join(shops(s.builder), "shop"),
        "both sides have country; select() others first",
    ),
    (lambda s: s.merge(s.select("shop")), "select the same columns"),
    (lambda s: s.to("out", Text()), "to 'out': a Text codec writes one column of strings"),
    (lambda s: s.to("out", Json(key="none")), "key column 'none' is not there"),
    (lambda s: s.to("out", Json(key="amount")), "is to be i64, string, time"),
    (lambda s: s.map_batches(dict, Schema(__time=time)), "__time is kept for the framework"),
    (lambda s: (s.to("out"), s.to("out")), "two operators are called 'to-out'; give one of them"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "said"), REFUSED)
def test_what_is_wrong_is_refused_with_operator_column_and_what_to_do(wrong, said):
    with pytest.raises(TopologyError) as caught:
        wrong(orders())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"time": "none"}, "there is no column 'none' that always has a value"),
        ({"time": "n"}, "event time 'n' is i64; let the codec read it as time"),
        ({"key": "none"}, "key: there is no column 'none'"),
    ],
)
def test_a_source_is_checked(given, said):
    with pytest.raises(TopologyError) as caught:
        orders(**given)
    assert said in str(caught.value)


def built(make, **given):
    builder = StreamsBuilder("app")
    make(orders(builder, **given))
    return builder.build()


def test_where_rows_of_several_partitions_meet_their_number_is_asked_for():
    def totals(stream):
        stream.group_by("shop").count().to("out")

    with pytest.raises(TopologyError, match=r"give stream\('orders', ..., partitions=...\)"):
        built(totals, partitions=None)
    with pytest.raises(TopologyError, match=r"give table\('shops', ..., partitions=...\)"):
        built(lambda s: s.join(shops(s.builder, partitions=None), "shop").to("out"))


def test_a_topology_that_writes_nothing_or_reads_twice_is_refused():
    with pytest.raises(TopologyError, match="writes nothing: end it with to"):
        built(lambda s: s.where(col("ok")))
    with pytest.raises(TopologyError, match="two operators are called 'source-orders'"):
        built(lambda s: orders(s.builder))


def subs(plan):
    return [sub.name for sub in plan.subs]


def test_a_group_that_the_partitioning_decides_is_aggregated_where_it_is():
    def hourly(stream):
        stream.group_by("shop", "n").windowed_by(WINDOWS).aggregate(x=agg.sum("amount")).to("out")

    assert subs(built(hourly, key="shop")) == ["app-orders"]
    assert subs(built(hourly, partitions=1)) == ["app-orders"]
    assert subs(built(hourly)) == ["app-orders", "app-aggregate-shop-n"]
    assert subs(built(hourly, key=("shop", "ok"))) == ["app-orders", "app-aggregate-shop-n"]


def test_what_decides_the_partition_is_followed_through_new_names_and_lost_when_overwritten():
    def renamed(stream):
        stream.select(store=col("shop"), n=col("n")).group_by("store").count().to("out")

    def overwritten(stream):
        lost = stream.with_columns(shop=col("n").cast(string))
        lost.group_by("shop").count().to("out")

    assert len(built(renamed, key="shop").subs) == 1
    assert len(built(overwritten, key="shop").subs) == 2


def test_a_second_table_of_the_same_key_and_a_global_one_come_to_the_rows():
    def joined(stream):
        b = stream.builder
        more = b.table("more", Json(Schema(shop=string, more=string), key="shop"), partitions=2)
        all_of = b.global_table("rates", Json(Schema(n=i64, rate=f64), key="n"), partitions=1)
        first = stream.join(shops(b), "shop").where(col("ok"))
        first.left_join(more, "shop").left_join(all_of, "n").to("out")

    plan = built(joined)
    assert list(plan.internal_topics()) == ["app-join-shops-repartition"]
    said = plan.describe()
    assert "rates as join-rates-table" in said
    assert "by every partition" in said


def test_names_of_topics_and_stores_do_not_depend_on_stateless_steps():
    def plain(stream):
        stream.group_by("shop").count().to("out")

    def longer(stream):
        stream.where(col("ok")).with_columns(x=1).group_by("shop").count().to("out")

    assert built(plain).internal_topics() == built(longer).internal_topics()
    assert subs(built(plain)) == subs(built(longer))


def test_every_registered_aggregate_that_numbers_can_join_can_be_asked_for():
    builder = StreamsBuilder("app")
    asked = {f"x_{name}": agg.of(aggregate(name), "amount") for name in ("p99", "top_k", "stddev")}
    totals = (
        orders(builder).group_by("shop").aggregate(**asked, distinct=agg.distinct_count("shop"))
    )
    assert totals.schema["x_top_k"] == string
    assert totals.schema["distinct"] == f64
    with pytest.raises(AttributeError, match="no aggregate is called 'median'"):
        agg.median("amount")


def test_a_topic_needs_a_schema_to_be_read():
    with pytest.raises(TopologyError, match="cannot be read without a schema"):
        StreamsBuilder("app").stream("orders", Columnar())
    with pytest.raises(TopologyError, match="it needs key columns"):
        StreamsBuilder("app").table("shops", Json(SCHEMA))


def test_windows_that_cannot_be_are_refused():
    with pytest.raises(TopologyError, match="holds nothing"):
        TimeWindows.of(0)
    with pytest.raises(TopologyError, match="rows would fall between them"):
        WINDOWS.advance_by(11)
    with pytest.raises(TopologyError, match="a grace is zero or more"):
        WINDOWS.grace(-1)


def test_a_plan_is_described_and_drawn():
    plan = built(lambda s: s.where(col("ok"), name="paid").group_by("shop").count().to("out"))
    assert plan.describe().splitlines() == [
        "Topology: app",
        "  Sub-topology: 0 app-orders (a task for each of 2 partitions)",
        "    Source: source-orders (topic: orders)",
        "      --> paid",
        "    Processor: paid ok",
        "      --> aggregate-shop-sender",
        "      <-- source-orders",
        "    Sink: aggregate-shop-sender (topic: app-aggregate-shop-repartition, "
        "parts of groups by shop)",
        "      <-- paid",
        "  Sub-topology: 1 app-aggregate-shop (a task for each of 2 partitions)",
        "    Source: aggregate-shop-input (topic: app-aggregate-shop-repartition)",
        "      --> aggregate-shop",
        "    Processor: aggregate-shop (store: aggregate-shop) by(shop: string) count=count.1()",
        "      --> to-out",
        "      <-- aggregate-shop-input",
        "    Sink: to-out (topic: out, Json(key=shop))",
        "      <-- aggregate-shop",
    ]
    chart = plan.graph().splitlines()
    assert chart[0] == "flowchart LR"
    assert '  t1[("app-aggregate-shop-repartition")]' in chart
