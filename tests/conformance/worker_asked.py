"""A worker process for the tests: the shops' open windows, and their totals, to be asked for.

Run it with the broker's address, a state folder and a web port.
"""

import sys
from pathlib import Path

from streams.codecs import Json
from streams.config import TaskSettings, WorkerConfig
from streams.operators.windows import TimeWindows
from streams.schema import Schema, i64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan
from streams.worker.plan_runner import run_plan

SECOND = 10**9
ROWS = Json(Schema(shop=string, amount=i64, at=time))


def topology() -> Plan:
    builder = StreamsBuilder("asked")
    by_shop = builder.stream("rows", ROWS, time="at", partitions=2).group_by("shop")
    what = {"count": agg.count(), "total": agg.sum("amount")}
    by_shop.windowed_by(TimeWindows.of(10 * SECOND)).aggregate(name="windows", **what).to("out")
    by_shop.aggregate(name="ever", **what).to("ever")
    return builder.build(TaskSettings(commit_interval_ms=100, dead_letter_topic="dead"))


if __name__ == "__main__":
    bootstrap, state, port = sys.argv[1:]
    config = WorkerConfig("asked", bootstrap, Path(state), web_port=int(port))
    run_plan(topology(), config, topics={"rows": 2, "out": 1, "ever": 1}, loglevel="WARNING")
