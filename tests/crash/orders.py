"""The topology whose workers are killed: orders of shops, in two hops, written in the DSL.

    python tests/crash/orders.py --bootstrap HOST:PORT --state FOLDER --web-port PORT

Every order leaves once by itself (`seen`), counts in the totals of its shop for all time (`totals`)
and in its ten seconds of event time (`tens`).
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from streams.config import TaskSettings, WorkerConfig
from streams.operators.windows import TimeWindows
from streams.schema import Schema, i64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.codecs import Json
from streams.topology.plan import Plan
from streams.worker.plan_runner import run_plan

PARTITIONS = 4
TOPICS = {"orders": PARTITIONS, "seen": 2, "totals": 2, "tens": 2}
ORDER = Schema(id=i64, shop=string, amount=i64, at=time)
SESSION_MS = 3_000


def topology() -> Plan:
    """What the workers run."""
    builder = StreamsBuilder("shop", partitions=2)
    orders = builder.stream("orders", Json(ORDER), time="at", partitions=PARTITIONS)
    orders.select("id", "shop", "amount").to("seen", Json(key="shop"))
    shops = orders.group_by("shop")
    totals = shops.aggregate(name="totals", orders=agg.count(), revenue=agg.sum("amount"))
    totals.to("totals")
    tens = TimeWindows.of(timedelta(seconds=10)).grace(timedelta(seconds=2))
    sums = shops.windowed_by(tens).aggregate(
        name="tens", orders=agg.count(), revenue=agg.sum("amount"), biggest=agg.max("amount")
    )
    sums.to("tens", Json(key="shop"))
    settings = TaskSettings(
        commit_interval_ms=100, snapshot_interval_ms=1_500, dead_letter_topic="shop-dead-letter"
    )
    return builder.build(settings)


def main() -> None:
    """A worker, until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--web-port", type=int, required=True)
    given = parser.parse_args()
    config = WorkerConfig(
        "shop",
        given.bootstrap,
        given.state,
        web_port=given.web_port,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=500,
    )
    run_plan(topology(), config, topics=TOPICS)


if __name__ == "__main__":
    main()
