"""Drafts of a real scrape, run by the product's topology: each makes rows, and the right ones.

The scrape is read by Prometheus' own parser, and rolled up by fractions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.drafts.drafting import draft
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from streams.batch import decode_table
from streams.topology.testing import TopologyTestDriver
from tidemill.product import product
from tidemill.settings import Settings
from tidemill.traffic.files import Files
from tidemill.traffic.prometheus import requests_of
from topologies.deployment import Deployment
from topologies.edge.cut import cut

SECOND = 10**9
START = 1_800_000_000 * SECOND
TEXT = (Path(__file__).parents[1] / "data/node_exporter/e2e-output.txt").read_text()
SAMPLES = 20 * SECOND
Key = tuple[tuple[str, str], ...]


def drafted() -> list[ResolvedDefinition]:
    files = Files()
    files.read(Path(__file__).parents[1] / "data/node_exporter/e2e-output.txt")
    text = draft(files.observer.seen()).text("me")
    report = check_files([SourceFile("drafts.yaml", text.encode())])
    assert not report.errors
    return list(report.definitions)


def rows(definitions: list[ResolvedDefinition]) -> dict[tuple[str, Key], list[float]]:
    """What the product makes of the scrape at three times within a minute, as 1-minute rows."""
    settings = Settings(raw_partitions=1, shard_partitions=1, key="00" * 16, idle_after_ms=1 << 40)
    plan = product(settings, Deployment(compile_plan(definitions)))
    driver = TopologyTestDriver(plan, {"telemetry.raw": 1})
    for number in range(1, 4):
        now = START + number * SAMPLES - 1
        for request in requests_of(TEXT, now):
            cutting = cut(
                request, tenant="t", topic="telemetry.raw", partitions=1, received_ns=now,
                limit=1 << 30,
            )  # fmt: skip
            for record in cutting.records:
                driver.pipe_record(
                    "telemetry.raw", record.value, key=record.key, partition=0,
                    headers=record.headers,
                )  # fmt: skip
    mark = json.dumps({"time": START + 86_400 * SECOND}).encode()
    driver.pipe_record("telemetry.raw", mark, partition=0, headers=(("control", b"idle"),))
    driver.run()
    assert not driver.dead_letters()
    found: dict[tuple[str, Key], list[float]] = defaultdict(list)
    for record in driver.read_records("telemetry.rollups"):
        table = decode_table(record.value or b"")
        names = [str(one["name"]) for one in table.meta["definitions"]]
        sizes = [str(one["granularity"]) for one in table.meta["granularities"]]
        columns = [table.array(name).tolist() for name in ("definition", "granularity", "value")]
        for (at, size, value), labels in zip(
            zip(*columns, strict=True), table.strings("labels"), strict=True
        ):
            if sizes[size] == "1m":
                group = {k: v for k, v in json.loads(labels).items() if k != "tenant"}
                found[names[at], tuple(sorted(group.items()))].append(value)
    return found


def plain(definitions: list[ResolvedDefinition]) -> dict[tuple[str, Key], Fraction]:
    """By hand: the same scrape three times, so means, last ones and extremes are the samples, and
    nothing is added to a counter."""
    samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families(TEXT):
        for sample in family.samples:
            samples[sample.name].append((sample.labels, float(sample.value)))
    expected: dict[tuple[str, Key], Fraction] = {}
    for one in definitions:
        groups: dict[Key, list[Fraction]] = defaultdict(list)
        (source,) = one.sources
        for labels, value in samples[source]:
            key = tuple(sorted((name, labels[name]) for name in one.keep if name in labels))
            if value == value and abs(value) != float("inf"):
                groups[key].append(Fraction(value))
        for key, values in groups.items():
            expected[one.name, key] = _rolled_up(one, values)
    return expected


def _rolled_up(one: ResolvedDefinition, values: list[Fraction]) -> Fraction:
    if one.over_time == "increase":
        return Fraction(0)
    how: dict[str, Any] = {
        "sum": sum(values),
        "avg": sum(values) / len(values),
        "max": max(values),
        "count": Fraction(len(values)),
    }
    return Fraction(how[str(one.over_space)])


@pytest.mark.timeout(300)
def test_every_draft_of_a_real_scrape_makes_the_rows_that_plain_arithmetic_does() -> None:
    definitions = drafted()
    found, expected = rows(definitions), plain(definitions)
    assert {name for name, _ in found} == {name for name, _ in expected}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == [float(value)], key
