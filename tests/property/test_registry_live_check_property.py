"""Traffic that is made to satisfy definitions contradicts none of them."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import Entry, check_files
from metric_registry.load import SourceFile
from tidemill.live_check import live_check
from tidemill.preview import Given

SECOND = 10**9
START = 1_800_000_000 * SECOND
UNITS = {"s": "ms", "By": "KiBy", "1": "1"}


def definition(rng: random.Random, number: int) -> dict[str, Any]:
    """A definition whose claims are few enough to be kept."""
    kind = rng.choice(["counter", "delta", "gauge"])
    unit = rng.choice(sorted(UNITS))
    names = [f"m{number}.{part}" for part in rng.sample(["a", "b", "c"], rng.choice([1, 1, 2]))]
    values = rng.sample(["x", "y", "z"], rng.choice([1, 2, 3]))
    keep = rng.sample(["mode", "host.name", "made", "tenant"], rng.randrange(4))
    source: dict[str, Any] = {"unit": unit}
    if len(names) == 1 and rng.random() < 0.3:
        source["match"] = f"m{number}.*"
    else:
        source["any_of"] = [{"metric": name} for name in names]
    if rng.random() < 0.5:
        source["where"] = {"mode": values}
    if "made" in keep:
        source["attributes"] = {"made": {"from": ["zone"], "default": "none"}}
    over_time = {"counter": "increase", "delta": rng.choice(["increase", "sum"]),
                 "gauge": rng.choice(["avg", "max", "last"])}[kind]  # fmt: skip
    return {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": f"rollup{number}",
        "description": "Made up",
        "owner": "me",
        "source": source,
        "space": {"keep": keep},
        "time": {"granularities": ["10s", "1m"], "grace": f"{rng.choice([3, 20])}s"},
        "aggregate": {"over_time": over_time, "over_space": "sum"},
        "limits": {"series": 40},
        "service_level": {"freshness": "40s", "completeness": "100%"},
        "_sent": (kind, names, values),
    }


def requests_of(rng: random.Random, definitions: list[dict[str, Any]]) -> list[Given]:
    """What satisfies them: every name by one host or more, every value, a sample every window."""
    hosts = [f"h{number}" for number in range(rng.choice([2, 3, 5]))]
    found: list[Given] = []
    step = rng.choice([2, 5, 10])
    for second in range(step, 181, step):
        for at, host in enumerate(hosts):
            request = ExportMetricsServiceRequest()
            block = request.resource_metrics.add()
            for name, text in (("host.name", host), ("zone", "eu")):
                block.resource.attributes.add(key=name).value.string_value = text
            metrics = block.scope_metrics.add().metrics
            for one in definitions:
                kind, names, values = one["_sent"]
                metric = metrics.add(name=names[at % len(names)], unit=one["source"]["unit"])
                data: Any = metric.gauge
                if kind != "gauge":
                    data = metric.sum
                    data.is_monotonic = True
                    data.aggregation_temporality = 2 if kind == "counter" else 1
                for mode in values:
                    point = data.data_points.add(
                        time_unix_nano=START + second * SECOND, as_int=second
                    )
                    if kind != "gauge":
                        point.start_time_unix_nano = START
                    point.attributes.add(key="mode").value.string_value = mode
            partition = f"telemetry.raw/{at % 2}"
            came = START + second * SECOND + rng.randrange(2 * SECOND)
            found.append(Given(partition, "t", came, request.SerializeToString()))
    return sorted(found, key=lambda each: (each.partition, each.received))


def checked(definitions: list[dict[str, Any]]) -> tuple[Entry, ...]:
    files = [
        SourceFile(
            f"{one['name']}.yaml",
            json.dumps({k: v for k, v in one.items() if k != "_sent"}).encode(),
        )
        for one in definitions
    ]
    report = check_files(files)
    assert not report.errors, report.text()
    return report.entries


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_traffic_that_satisfies_definitions_has_no_finding(seed: int, many: int) -> None:
    rng = random.Random(seed)
    definitions = [definition(rng, number) for number in range(many)]
    notes: list[str] = []
    report = live_check(checked(definitions), requests_of(rng, definitions), notes)
    assert report.findings == (), report.text()
    assert notes == []
    assert report.looked.received
    assert all(one.facts.counted and one.facts.waited for one in report.of)
