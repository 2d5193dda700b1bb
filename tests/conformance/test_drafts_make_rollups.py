"""Drafts of a real scrape, run by the product's topology: each makes rows, and the right ones.

The scrape is read by Prometheus' own parser, and rolled up by fractions.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from metric_registry.check import check_files
from metric_registry.drafts.drafting import draft
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from tidemill.traffic.prometheus import requests_of
from tidemill.trial import Trial
from topologies.observe.observer import Observer

SECOND = 10**9
START = 1_800_000_000 * SECOND
TEXT = (Path(__file__).parents[1] / "data/node_exporter/e2e-output.txt").read_text()
SAMPLES = 20 * SECOND
Key = tuple[tuple[str, str], ...]


def drafted() -> list[ResolvedDefinition]:
    observer = Observer()
    observer.feed([*requests_of(TEXT, START)], "t")
    text = draft(observer.seen()).text("me")
    report = check_files([SourceFile("drafts.yaml", text.encode())])
    assert not report.errors
    return list(report.definitions)


def rows(definitions: list[ResolvedDefinition]) -> dict[tuple[str, Key], list[float]]:
    """What the product makes of the scrape at three times within a minute, as 1-minute rows."""
    trial = Trial(definitions, 1)
    for number in range(1, 4):
        now = START + number * SAMPLES - 1
        for request in requests_of(TEXT, now):
            trial.give(0, request, "t", now)
    trial.close(now)
    trial.run()
    assert not trial.dead_letters()
    found: dict[tuple[str, Key], list[float]] = defaultdict(list)
    for name, row in trial.rows():
        if row.granularity == "1m":
            group = {k: v for k, v in row.labels.items() if k != "tenant"}
            found[name, tuple(sorted(group.items()))].append(row.value)
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
