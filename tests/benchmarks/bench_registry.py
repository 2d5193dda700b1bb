"""CPU seconds in which a thousand definitions are checked, compiled to one plan and planned.

    python tests/benchmarks/bench_registry.py --runs 5

Beside it, as a measure of the machine: the same files parsed by `json` as if they were JSON, which
is the least that reading them could cost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.explain import explain
from metric_registry.load import SourceFile
from metric_registry.planner.statistics import (
    RESOURCE,
    AttributeCount,
    Measured,
    MetricCount,
    Statistics,
)

DEFINITION = """\
apiVersion: tidemill/v1
kind: Metric
name: kafka.fetch.requests.{n}
description: Fetch requests served, by cluster and region
owner: team-brokers
source:
  any_of: [{{metric: io.confluent.kafka.server/request_count}}, {{metric: kafka.request.count}}]
  where: {{type: Fetch{n}}}
  unit: "{{request}}"
space: {{keep: [tenant, cluster_id, region]}}
time: {{granularities: [10s, 1m, 1h, 1d], grace: 15s, corrections: 24h}}
aggregate: {{over_time: increase, over_space: sum}}
publish: {{final: true, upsert: false, keep: {{10s: 2d, 1m: 14d, 1h: 400d, 1d: 5y}}}}
limits: {{series: 100000, beyond: other}}
service_level: {{freshness: 30s, completeness: 99.9%}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--definitions", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    texts = [DEFINITION.format(n=n) for n in range(given.definitions)]
    files = [SourceFile(f"{n:05}.yaml", text.encode()) for n, text in enumerate(texts)]
    values = [json.dumps({"definition": text.split("\n")}) for text in texts]

    def planned() -> None:
        report = check_files(files)
        assert not report.findings, report.text()
        compile_plan(report.definitions)

    plan = compile_plan(check_files(files).definitions)
    traffic = _traffic(given.definitions)

    def estimated() -> None:
        explain(plan, "resource", traffic, 64).text()

    def parsed() -> None:
        for value in values:
            json.loads(value)

    for name, what in (
        ("check and compile", planned),
        ("cost and cheapest key", estimated),
        ("json.loads", parsed),
    ):
        seconds = [_cpu(what) for _ in range(given.runs)]
        low, high = min(seconds), max(seconds)
        middle = statistics.median(seconds)
        print(f"{name:<22} {middle:8.3f} s of CPU ({low:.3f} to {high:.3f}), {given.runs} runs")


def _traffic(definitions: int) -> Statistics:
    """A hundred clusters in five regions, which fetch by as many types as there are definitions."""
    sizes = {"tenant": 20, "cluster_id": 100, "region": 5, "host.name": 2000, RESOURCE: 2000}
    streams = 2000 * definitions
    pairs = [
        (one, other, max(sizes[one], sizes[other]))
        for one, other in itertools.combinations(sorted(sizes), 2)
    ]
    pairs += [(*sorted((name, "type")), sizes[name] * definitions) for name in sizes]
    attributes = {
        name: AttributeCount(distinct=size, streams=streams, resource=True)
        for name, size in sizes.items()
    }
    attributes["type"] = AttributeCount(distinct=definitions, streams=streams)
    count = MetricCount(
        streams=streams,
        points_per_second=streams / 10,
        interval_ns=10 * 10**9,
        attributes=attributes,
        pairs=tuple(sorted(pairs)),
    )
    measured = Measured(
        since="", seconds=600.0, requests=120_000, points=60 * streams, streams=streams,
        bytes_per_point=160.0,
    )  # fmt: skip
    return Statistics(measured, {"kafka.request.count": count})


def _cpu(what: Callable[[], None]) -> float:
    began = time.process_time()
    what()
    return time.process_time() - began


if __name__ == "__main__":
    main()
