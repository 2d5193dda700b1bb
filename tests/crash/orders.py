"""The topology whose workers are killed: orders of shops, in two hops, written in the DSL.

    python tests/crash/orders.py --bootstrap HOST:PORT --state FOLDER --web-port PORT [--version 2]

Every order leaves once by itself (`seen`), counts in the totals of its shop for all time (`totals`)
and in its ten seconds of event time (`tens`), and in its minute (`slow`). Version 2 has one more
aggregate (`dearest`), and half minutes (`halves`) instead of minutes.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from streams.codecs import Json
from streams.config import TaskSettings, WorkerConfig
from streams.operators.windows import TimeWindows
from streams.schema import Schema, i64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan
from streams.worker.plan_runner import run_plan

PARTITIONS = 4
TOPICS = {"orders": PARTITIONS, "seen": 2, "totals": 2, "tens": 2}
TOPICS |= {"slow": 2, "halves": 2, "dearest": 2}
ORDER = Schema(id=i64, shop=string, amount=i64, at=time)
SESSION_MS = 3_000


def topology(version: int = 1) -> Plan:
    """What the workers run."""
    builder = StreamsBuilder("shop", partitions=2, version=version)
    orders = builder.stream("orders", Json(ORDER), time="at", partitions=PARTITIONS)
    orders.select("id", "shop", "amount").to("seen", Json(key="shop"))
    shops = orders.group_by("shop")
    totals = shops.aggregate(name="totals", orders=agg.count(), revenue=agg.sum("amount"))
    totals.to("totals")
    sums = shops.windowed_by(_windows(10)).aggregate(
        name="tens", orders=agg.count(), revenue=agg.sum("amount"), biggest=agg.max("amount")
    )
    sums.to("tens", Json(key="shop"))
    name, seconds = ("slow", 60) if version == 1 else ("halves", 30)
    counts = shops.windowed_by(_windows(seconds)).aggregate(name=name, orders=agg.count())
    counts.to(name, Json(key="shop"))
    if version > 1:
        shops.aggregate(name="dearest", amount=agg.max("amount")).to("dearest")
    settings = TaskSettings(
        commit_interval_ms=100, snapshot_interval_ms=1_500, dead_letter_topic="shop-dead-letter"
    )
    return builder.build(settings)


def topology_2() -> Plan:
    """The version that replaces it."""
    return topology(2)


def _windows(seconds: int) -> TimeWindows:
    return TimeWindows.of(timedelta(seconds=seconds)).grace(timedelta(seconds=2))


def main() -> None:
    """A worker, until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--web-port", type=int, required=True)
    parser.add_argument("--version", type=int, default=1)
    given = parser.parse_args()
    config = WorkerConfig(
        "shop",
        given.bootstrap,
        given.state,
        web_port=given.web_port,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=500,
    )
    run_plan(topology(given.version), config, topics=TOPICS)


if __name__ == "__main__":
    main()
