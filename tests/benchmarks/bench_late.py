"""How much of the log late samples of cumulative streams make a task read again, and what it costs.

    .venv/bin/python tests/benchmarks/bench_late.py [--series 10000] [--minutes 40] [--late 0.01]

Agents of 100 series each send a request every ten seconds; one request in a hundred comes 30 s to
5 min late. Counted after the first twenty minutes, for definitions whose windows are computed anew
from the log, and for some that are kept. Records and CPU microseconds a late sample.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import deque

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.event_time.windows import SECOND
from streams.task.processor import InputRecord
from topologies.deployment import Deployment
from topologies.preaggregate.config import PreaggregateConfig
from topologies.preaggregate.processor import PreaggregateProcessor

BASE = 1_700_006_400 * SECOND
AN_AGENT = 100
CASES = {
    "10s, 1m; corrections 1h": ("10s, 1m", "1h"),
    "10s, 1m, 1h; corrections 4h": ("10s, 1m, 1h", "4h"),
    "1m; corrections 10m": ("1m", "10m"),
}
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: served
description: Requests served
owner: bench
source: {{metric: requests, unit: "1"}}
space: {{keep: [agent]}}
time: {{granularities: [{}], grace: 15s, corrections: {}}}
aggregate: {{over_time: increase, over_space: sum}}
"""


def request(agent: int, at: int) -> bytes:
    """What an agent has counted until second `at`."""
    message = ExportMetricsServiceRequest()
    block = message.resource_metrics.add()
    block.resource.attributes.add(key="agent").value.string_value = f"a{agent}"
    metric = block.scope_metrics.add().metrics.add(name="requests", unit="1")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for series in range(AN_AGENT):
        point = metric.sum.data_points.add(
            start_time_unix_nano=BASE, time_unix_nano=BASE + at * SECOND, as_int=at * (series + 1)
        )
        point.attributes.add(key="series").value.string_value = f"s{series}"
    return message.SerializeToString()


def traffic(agents: int, minutes: int, late: float) -> tuple[list[InputRecord], int]:
    """Records as they come, and how many of the later half are late."""
    rng = random.Random(1)
    sent: list[tuple[float, int, int, bool]] = []
    for agent in range(agents):
        offset = rng.random() * 10
        for at in range(10, minutes * 60, 10):
            is_late = rng.random() < late
            delay = rng.uniform(30, 300) if is_late else rng.uniform(0, 1)
            sent.append((at + offset + delay, agent, at + int(offset), is_late))
    sent.sort()
    half = len(sent) // 2
    records: list[InputRecord] = []
    for number, (received, agent, at, _) in enumerate(sent):
        headers = (
            ("encoding", b"otlp"),
            ("tenant", b"t"),
            ("received", b"%d" % (BASE + int(received * SECOND))),
        )
        records.append(InputRecord(number, 0, None, request(agent, at), headers))
    return records, sum(is_late for _, _, _, is_late in sent[half:])


def run(records: list[InputRecord], sizes: str, corrections: str) -> tuple[int, int, float]:
    """Records read again, jobs, and CPU seconds, of the later half of the traffic."""
    definition = DEFINITION.format(sizes, corrections).encode()
    report = check_files([SourceFile("served.yaml", definition)])
    deployed = Deployment(compile_plan(report.definitions))
    config = PreaggregateConfig(deployed=deployed, sources=1, shard_partitions=1, key=bytes(16))
    task = PreaggregateProcessor(config, "telemetry.raw", 0)
    task.restore([])
    half = len(records) // 2
    read, jobs, begin = 0, 0, 0.0
    parts = deque(range(0, len(records), 64))
    while parts:
        at = parts.popleft()
        end = min(at + 64, len(records))
        if at <= half < end:
            read, jobs, begin = 0, 0, time.process_time()
        while at < end:
            at += task.process(records[at:end])
            jobs += task.needs() is not None
            while (wanted := task.needs()) is not None:
                read += wanted.end - wanted.start
                task.supply(records[wanted.start : wanted.end], True)
        task.outputs()
    return read, jobs, time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=40)
    parser.add_argument("--late", type=float, default=0.01)
    chosen = parser.parse_args()
    agents = chosen.series // AN_AGENT
    records, late = traffic(agents, chosen.minutes, chosen.late)
    on_time, _ = traffic(agents, chosen.minutes, 0.0)
    samples = late * AN_AGENT
    print(f"{len(records):,} records, {late:,} of the later half late ({samples:,} samples)")
    for name, (sizes, corrections) in CASES.items():
        read, jobs, seconds = run(records, sizes, corrections)
        _, _, least = run(on_time, sizes, corrections)
        print(
            f"{name:30} {read / late:8.1f} records a late request, {jobs} jobs, "
            f"{(seconds - least) / samples * 1e6:8.1f} us a late sample "
            f"(all: {seconds:.2f} s, none late: {least:.2f} s)"
        )


if __name__ == "__main__":
    main()
