"""What the orders of each shop are worth, hour by hour, with the country of the shop.

    .venv/bin/python -m broker --data /tmp/shops --port 9092 &
    .venv/bin/python -m examples.shop_hours --bootstrap 127.0.0.1:9092

Topics `orders` (JSON, times in ms), `shops` (a table: JSON keyed by the shop) and `shop-hours`: a
row a shop and hour, when the hour has closed, and again when orders came late.
"""

from __future__ import annotations

from datetime import timedelta

from examples.command import main
from streams.codecs import Json
from streams.expressions import col, when
from streams.operators.windows import TimeWindows
from streams.schema import Schema, f64, i64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan

TOPICS = {"orders": 2, "shops": 1, "shop-hours": 2}
ORDERS = Json(Schema(shop=string, price=f64, quantity=i64, at=time, state=string), times="ms")
SHOPS = Json(Schema(shop=string, country=string, currency=string), key="shop")


def topology() -> Plan:
    builder = StreamsBuilder("shop-hours")
    orders = builder.stream(
        "orders", ORDERS, time="at", partitions=TOPICS["orders"], idle_marks=True
    )
    shops = builder.table("shops", SHOPS, partitions=TOPICS["shops"])
    hours = TimeWindows.of(timedelta(hours=1)).grace(timedelta(minutes=2))
    (
        orders.where(col("state") != "cancelled")
        .with_columns(value=col("price") * col("quantity"))
        .join(shops, "shop")
        .with_columns(large=when(col("value") > 1000).then(1).otherwise(0))
        .group_by("shop", "country")
        .windowed_by(hours.revisions(timedelta(hours=24)))
        .aggregate(
            orders=agg.count(),
            value=agg.sum("value"),
            dearest=agg.max("value"),
            p90=agg.p90("value"),
            large=agg.sum("large"),
        )
        .to("shop-hours", Json(key=("shop", "window_end"), times="ms"))
    )
    return builder.build()


if __name__ == "__main__":
    main(topology(), TOPICS)
