"""Packs of definitions, run by the product's topology over what real software sent: the rows are
those that the oracle computes, which shares no code with the product.

The oracle is given what Prometheus' own parser and protobuf read. Where samples are from, and under
which licence: `tests/data/README.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle import definitions, log, oracle, windows
from oracle.arithmetic import bits
from oracle.histograms import Histogram, of_json
from prometheus_client.parser import text_string_to_metric_families

from metric_registry.check import check
from tidemill.packs import packs
from tidemill.traffic.prometheus import requests_of
from tidemill.trial import Trial
from topologies.host.record import read_requests

DATA = Path(__file__).parents[1] / "data"
SECOND = 10**9
START = 1_800_000_000 * SECOND
SCRAPES = 20 * SECOND
LATER = 10 * 86_400 * SECOND
ORDERS = [f"java/orders{which}.otlp.zst" for which in ("", "-delta", "-exponential")]
BROKER = ["kafka/jmx_exporter-1.txt", "kafka/jmx_exporter-2.txt"]
GROUPS = ["kafka/kafka_exporter-1.txt", "kafka/kafka_exporter-2.txt"]
SAMPLES = {
    "gpu": ["dcgm/t4.txt", "dcgm/l4.txt", "dcgm/l40s.txt"],
    "http_rpc": ORDERS,
    "jvm": [ORDERS[0], "kafka/broker.otlp.zst", *BROKER],
    "kafka_broker": ["kafka/broker.otlp.zst", *BROKER, *GROUPS],
    "kafka_client": [*ORDERS[:2], *GROUPS],
    "kubernetes": [
        "kubernetes/cadvisor.txt",
        "kubernetes/cadvisor_root-1.txt",
        "kubernetes/cadvisor_root-2.txt",
        "kubernetes/kubeletstats.otlp.zst",
    ],
    "node_exporter": [
        "node_exporter/e2e-output.txt",
        "node_exporter/scrape-1.txt",
        "node_exporter/scrape-2.txt",
    ],
}
NO_ROWS = {
    "gpu": {"gpu.xid"},  # no longer among what dcgm-exporter sends unless told
    "http_rpc": {
        # The Java agent sends these in seconds, with the bounds of milliseconds.
        "calls.client.duration.buckets",
        "calls.server.duration.buckets",
        "calls.server.errors",  # none failed but by the caller's fault
        "web.server.active",  # the JDK's HTTP server does not tell
    },
    "jvm": set[str](),
    "kafka_broker": set[str](),
    "kafka_client": set[str](),
    "kubernetes": set[str](),
    "node_exporter": {"node.units.failed"},  # no systemd there
}
Sent = tuple[int, bytes]
"""When it was received, and the request."""
Row = tuple[str, windows.Size, int, tuple[tuple[str, str], ...]]


def sent(names: list[str]) -> tuple[list[Sent], list[Sent]]:
    """What the product is given and what the oracle is, in order of time.

    A scrape `...-2.txt` is the second one; one without a number is there three times in a minute.
    """
    product: list[Sent] = []
    plain: list[Sent] = []
    for name in names:
        path = DATA / name
        if name.endswith(".txt"):
            number = path.stem.rpartition("-")[2]
            for time in [int(number)] if number.isdigit() else [1, 2, 3]:
                now, text = START + time * SCRAPES, path.read_text()
                product += [(now, one) for one in requests_of(text, now)]
                plain.append((now, parsed(text, now)))
        else:
            found = [(newest(one), one) for one in read_requests(path)]
            product += found
            plain += found
    product.sort(key=lambda each: each[0])
    plain.sort(key=lambda each: each[0])
    return product, plain


def parsed(text: str, now: int) -> bytes:
    """The numbers of a scrape, by the rules of OpenTelemetry's compatibility with Prometheus."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    written = {line.split("{")[0].split()[0] for line in lines}
    for family in text_string_to_metric_families(text):
        if family.type in ("histogram", "summary"):
            continue
        for sample in family.samples:
            name = sample.name if sample.name in written else family.name  # not its `_total`
            metric = metrics.add(name=name, unit=family.unit)
            if family.type == "counter":
                metric.sum.aggregation_temporality = 2
                metric.sum.is_monotonic = True
            points = metric.sum if family.type == "counter" else metric.gauge
            stamp = now if sample.timestamp is None else round(sample.timestamp * 1000) * 10**6
            point = points.data_points.add(time_unix_nano=stamp, as_double=sample.value)
            for key, value in sample.labels.items():
                point.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


def points_of(request: ExportMetricsServiceRequest) -> Iterator[Any]:
    for each in request.resource_metrics:
        for scope in each.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                yield from getattr(metric, kind).data_points if kind else ()


def newest(raw: bytes) -> int:
    return max(p.time_unix_nano for p in points_of(ExportMetricsServiceRequest.FromString(raw)))


def made(path: Path, requests: list[Sent]) -> dict[Row, int | Histogram]:
    """The latest rows of the product: the bits of a number, or a histogram."""
    report = check([path])
    assert report.findings == (), report.text()
    trial = Trial(report.definitions, 1)
    for time, request in requests:
        trial.give(0, request, "t", time)
    trial.mark(requests[-1][0] + LATER)
    trial.run()
    assert not trial.dead_letters()
    found: dict[Row, int | Histogram] = {}
    for name, row in trial.rows():
        labels = {key: value for key, value in row.labels.items() if key != "tenant"}
        size = windows.parse(row.granularity, "UTC")
        key = (name, size, row.end, tuple(sorted(labels.items())))
        assert key not in found, f"{key} was corrected: nothing came late"
        found[key] = bits(row.value) if row.histogram is None else of_json(dict(row.histogram))
    return found


def demanded(path: Path, requests: list[Sent]) -> dict[Row, int | Histogram]:
    """The latest rows of the oracle."""
    records = [
        log.Record(
            at,
            {"encoding": b"otlp", "tenant": b"t", "received": str(time).encode()},
            request,
        )
        for at, (time, request) in enumerate(requests)
    ]
    end = json.dumps({"time": requests[-1][0] + LATER}).encode()
    records.append(log.Record(len(records), {"control": b"idle"}, end))
    defined = definitions.load(path.parent)
    wanted = {each["name"] for each in yaml.safe_load_all(path.read_text())}
    partitions = log.read({("telemetry.raw", 0): records})
    result = oracle.compute(partitions, [one for one in defined if one.name in wanted])
    found: dict[Row, int | Histogram] = {}
    for key, cell in result.latest.items():
        labels = tuple(pair for pair in key.labels if pair[0] != "tenant")
        value = cell.value if isinstance(cell.value, Histogram) else bits(cell.value)
        found[key.definition, key.size, key.window_end, labels] = value
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_pack_makes_of_real_samples_the_rows_that_the_oracle_computes(name: str) -> None:
    path = packs()[name]
    product, plain = sent(SAMPLES[name])
    found, expected = made(path, product), demanded(path, plain)
    assert found.keys() == expected.keys()
    assert {key: found[key] for key in expected if found[key] != expected[key]} == {}
    every = {one.name for one in check([path]).definitions}
    assert every - {row[0] for row in found} == NO_ROWS[name]
    assert len(found) > 2 * len(every)


def test_every_pack_has_samples() -> None:
    assert set(SAMPLES) == set(packs()) - {"host", "cloudwatch"}
