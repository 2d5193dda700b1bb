"""The windowed aggregation in tidemill's DSL, exactly once. See `peer.py` for the arguments."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from streams.codecs import Json
from streams.config import WorkerConfig
from streams.operators.windows import TimeWindows
from streams.schema import Schema, f64, string, time
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan
from streams.worker.plan_runner import run_plan


def topology(name: str, source: str, target: str, partitions: int, window_s: int) -> Plan:
    """Results are those of the other peers, and a record's key is the group's."""
    builder = StreamsBuilder(name)
    fields = Schema(host=string, route=string, value=f64, at=time)
    events = builder.stream(
        source, Json(fields, times="ms"), time="at", partitions=partitions, key=("host", "route")
    )
    windows = TimeWindows.of(timedelta(seconds=window_s)).grace(timedelta(seconds=5))
    (
        events.group_by("host", "route")
        .windowed_by(windows)
        .aggregate(count=agg.count(), sum=agg.sum("value"), min=agg.min("value"),
                   max=agg.max("value"))
        .to(target, Json(key=("host", "route"), times="ms"))
    )  # fmt: skip
    return builder.build()


if __name__ == "__main__":
    bootstrap, source, target, name, state, _, window, options = sys.argv[1:]
    port = int(options.removeprefix("web_port="))
    config = WorkerConfig(name, bootstrap, Path(state), web_port=port)
    run_plan(topology(name, source, target, 2, int(window)), config, loglevel="WARNING")
