"""Random traffic, definitions and keys of the raw topic: what they cost, estimated and measured."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.planner.costs import Costs, Key
from streams.batch import decode_table
from tidemill.trial import Trial
from topologies.edge.cut import partition_of
from topologies.observe.observer import Observer

SECOND = 10**9
BASE = 1_700_000_000 * SECOND
RESOURCE = ("cluster", "host", "region", "zone")
POINT = ("device", "mode")
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_WAYS = (("avg", "avg"), ("max", "max"), ("sum", "sum"), ("last", "count"), ("avg", "max"))
_REACH = ("1m", "2m", "1h")
_SIZES = (["10s", "1m"], ["10s"], ["30s", "1m"], ["1m"])


@dataclass(frozen=True, slots=True)
class World:
    """Traffic (time, resource, request), in order of time; its definitions, key and partitions."""

    plan: Plan
    requests: list[tuple[int, dict[str, str], bytes]]
    key: Key
    partitions: int
    seconds: int


def world(seed: int, scale: float = 1.0) -> World:
    """A random one; scale: how much traffic there is of it."""
    chance = random.Random(seed)
    seconds = 300
    resources = _resources(chance, scale)
    names = [f"m{n}" for n in range(chance.randint(1, 3))]
    devices, modes = chance.randint(1, 6), chance.randint(1, 4)
    interval = chance.choice((5, 10, 10, 30))
    requests = [
        (BASE + at * SECOND, resource, _request(chance, resource, names, devices, modes, at))
        for at in range(1, seconds)
        for number, resource in enumerate(resources)
        if (at + number) % interval == 0  # agents do not all send at once
    ]
    key: Key = "resource"
    if chance.random() < 0.7:
        key = tuple(sorted(chance.sample(RESOURCE, chance.randint(0, 3))))
    plan = compile_plan(definitions(chance, names, chance.randint(1, 6)))
    return World(plan, requests, key, chance.choice((1, 2, 4, 8)), seconds)


def _resources(chance: random.Random, scale: float) -> list[dict[str, str]]:
    clusters, hosts = chance.randint(1, 6), chance.randint(2, max(3, round(30 * scale)))
    regions, zones = chance.randint(1, 3), chance.randint(1, 4)
    return [
        {
            "cluster": f"c{host % clusters}",
            "host": f"h{host}",
            "region": f"r{host % clusters % regions}",
            "zone": f"z{host * 7 // 3 % zones}",
        }
        for host in range(hosts)
    ]


def definitions(chance: random.Random, metrics: list[str], many: int) -> list[ResolvedDefinition]:
    """So many random definitions of these metrics, resolved."""
    texts: list[str] = []
    for number in range(many):
        over_time, over_space = chance.choice(_WAYS)
        keep = sorted(chance.sample((*RESOURCE, *POINT), chance.randint(0, 4)))
        sizes, reach = ", ".join(chance.choice(_SIZES)), chance.choice(_REACH)
        where = "{mode: [m0, m1]}" if chance.random() < 0.3 else "{}"
        texts.append(
            f"""apiVersion: tidemill/v1
kind: Metric
name: d{number}
description: One of many
owner: nobody
source: {{metric: {chance.choice(metrics)}, unit: "1", where: {where}}}
space: {{keep: [{", ".join(keep)}]}}
time: {{granularities: [{sizes}], grace: 2s, corrections: {reach}}}
aggregate: {{over_time: {over_time}, over_space: {over_space}}}
"""
        )
    report = check_files([SourceFile("random.yaml", "---\n".join(texts).encode())])
    assert not report.errors, report.text()
    return list(report.definitions)


def _request(
    chance: random.Random,
    resource: dict[str, str],
    names: list[str],
    devices: int,
    modes: int,
    at: int,
) -> bytes:
    request = ExportMetricsServiceRequest()
    block = request.resource_metrics.add()
    for name, text in resource.items():
        block.resource.attributes.add(key=name).value.string_value = text
    scope = block.scope_metrics.add()
    for name in names:
        metric = scope.metrics.add(name=name, unit="1")
        for device in range(devices):
            for mode in range(modes):
                point = metric.gauge.data_points.add(
                    time_unix_nano=BASE + at * SECOND, as_double=chance.randint(0, 1000) / 4
                )
                point.attributes.add(key="device").value.string_value = f"d{device}"
                point.attributes.add(key="mode").value.string_value = f"m{mode}"
    return request.SerializeToString()


def costs(given: World) -> Costs:
    """What the planner knows of a world."""
    observer = Observer()
    for _, _, request in given.requests:
        observer.feed([request], "t", None)
    return Costs(given.plan, observer.statistics(False), given.partitions)


@dataclass(frozen=True, slots=True)
class Run:
    """What the product did: rows between the stages and out of them, CPU seconds; bytes of the
    state that it had saved when the last windows had sealed, by changelog."""

    rekeyed: int
    out: int
    cpu: float
    kept: dict[str, int]


def run(given: World) -> Run:
    """Put the traffic through the product's topology, in this process."""
    trial = Trial(given.plan.definitions, given.partitions)
    for at, resource, request in given.requests:
        trial.give(_partition(given, resource), request, "t", at)
    began = time.process_time()
    trial.run()
    cpu = time.process_time() - began
    assert not trial.dead_letters()
    kept = trial.saved(BASE + (given.seconds + 65) * SECOND)
    trial.close(BASE + given.seconds * SECOND)
    trial.run()
    rekeyed = sum(decode_table(value).rows for value in trial.values("telemetry.partials"))
    return Run(rekeyed, sum(1 for _ in trial.rows()), cpu, kept)


def _partition(given: World, resource: dict[str, str]) -> int:
    names = RESOURCE if given.key == "resource" else given.key
    chosen = repr(["t", *((name, resource[name]) for name in names)])
    key = hashlib.blake2b(chosen.encode(), digest_size=16).digest()
    return partition_of(key, given.partitions)
