"""What it costs to ask what open windows hold, by the number of groups.

    .venv/bin/python tests/benchmarks/bench_asking.py [--groups 100000] [--points 1000000]

One source and one roll-up task, in one process; a definition of ten seconds and a minute, of points
that lie in open panes of the last thirty seconds. For a group by its labels, a page of 100 rows, a
page of all groups (10,000 rows), and all groups of a definition that is at its limit: milliseconds
of the source's thread, of putting the answer together, and its size on the way. Median of --runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping

import msgspec
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.plan import Plan
from streams.event_time.windows import SECOND
from streams.queries.questions import Reply
from streams.task.events import TaskId
from streams.task.processor import InputRecord
from topologies.deployment import Deployment
from topologies.preaggregate.config import PreaggregateConfig
from topologies.preaggregate.processor import PreaggregateProcessor
from topologies.queries.answers import Replies, answer, may_overflow
from topologies.queries.parsing import parse, shares
from topologies.queries.questions import MetricQuestion, asked
from topologies.rollup.processor import RollupProcessor

BASE = 1_700_006_400 * SECOND
A_REQUEST = 1_000
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {name}
description: Requests served
owner: bench
source: {{metric: requests, unit: "1"}}
space: {{keep: [series]}}
time: {{granularities: [10s, 1m], grace: 15s, corrections: 1h}}
aggregate: {{{how}}}
limits: {{series: {limit}, beyond: other}}
"""
TWO_STEPS = "over_time: increase, over_space: sum"
CASES: dict[str, tuple[str, Mapping[str, str]]] = {
    "a group": ("served", {"series": "s77", "granularity": "1m"}),
    "100 rows": ("served", {"granularity": "1m"}),
    "10,000 rows": ("served", {"granularity": "1m", "limit": "10000"}),
    "100 rows, p99": ("spread", {"granularity": "1m"}),
    "100 rows at the limit": ("limited", {"granularity": "1m"}),
}


def plan(groups: int) -> Plan:
    texts = [
        DEFINITION.format(name="served", how=TWO_STEPS, limit=10 * groups),
        DEFINITION.format(name="spread", how="over_points: p99", limit=10 * groups),
        DEFINITION.format(name="limited", how=TWO_STEPS, limit=groups // 2),
    ]
    files = [SourceFile(f"{at}.yaml", text.encode()) for at, text in enumerate(texts)]
    return compile_plan(check_files(files).definitions)


def request(first: int, count: int, at: int) -> bytes:
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name, metric.unit = "requests", "1"
    metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 1
    for number in range(first, first + count):
        point = metric.sum.data_points.add(time_unix_nano=at, as_double=number / 7)
        point.attributes.add(key="series").value.string_value = f"s{number}"
    return message.SerializeToString()


def filled(groups: int, points: int, plan: Plan) -> tuple[PreaggregateProcessor, int]:
    """A source with so many points in open panes, and how many records that took."""
    config = PreaggregateConfig(
        deployed=Deployment(plan), sources=1, shard_partitions=1, key=bytes(16)
    )
    source = PreaggregateProcessor(config, "telemetry.raw", 0)
    rounds = max(1, points // groups)
    offset = 0
    for turn in range(rounds):
        at = BASE + 1 + 24 * SECOND * turn // rounds
        headers = (("encoding", b"otlp"), ("tenant", b"t"), ("received", b"%d" % at))
        for first in range(0, groups, A_REQUEST):
            body = request(first, min(A_REQUEST, groups - first), at)
            source.process([InputRecord(offset, 0, None, body, headers)])
            offset += 1
    return source, offset


def main() -> None:
    told = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    told.add_argument("--groups", type=int, default=100_000)
    told.add_argument("--points", type=int, default=1_000_000)
    told.add_argument("--runs", type=int, default=7)
    given = told.parse_args()
    made = plan(given.groups)
    source, offset = filled(given.groups, given.points, made)
    reducer = RollupProcessor(0)
    for each in source.outputs():
        if each.topic == "telemetry.partials":
            reducer.process([InputRecord(0, 0, None, each.value)])
    print(f"{given.groups:,} groups, {given.points:,} points in open panes")
    print(f"{'':24}{'source ms':>10}{'answer ms':>10}{'kB':>8}{'rows':>7}")
    for name, (metric, asked_for) in CASES.items():
        definition = next(each for each in made.definitions if each.name == metric)
        asking = parse(definition, asked_for)
        thread, together, size, rows = [], [], 0, 0
        for _ in range(given.runs):
            began = time.thread_time()
            question, replies, size = ask(source, offset, reducer, asking.question, made)
            thread.append(time.thread_time() - began)
            began = time.thread_time()
            rows = len(answer(question, asking.limit, {}, replies)["rows"])
            together.append(time.thread_time() - began)
        times = (statistics.median(each) * 1e3 for each in (thread, together))
        print(f"{name:24}" + "".join(f"{ms:10.1f}" for ms in times) + f"{size / 1e3:8.0f}{rows:7}")


def ask(
    source: PreaggregateProcessor, at: int, reducer: RollupProcessor, asked_for: MetricQuestion,
    made: Plan,
) -> tuple[MetricQuestion, Replies, int]:  # fmt: skip
    """What both say, and the bytes of the source's reply; asked twice where a limit wants it."""
    while True:
        question = asked(asked_for)
        reduced, part = reducer.query(question), source.query(question)
        replies = Replies.of(
            {TaskId("preaggregate", "telemetry.raw", 0): Reply(part, at, at)},
            {TaskId("rollup", "telemetry.partials", 0): Reply(reduced, 1, 1)},
        )
        if asked_for.whole or not may_overflow(replies, shares(made, asked_for.metric)):
            return asked_for, replies, len(part.body)
        asked_for = msgspec.structs.replace(asked_for, whole=True)


if __name__ == "__main__":
    main()
