"""The oracle says what a person computed by hand: tests/oracle/scenarios, and the page of rules."""

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from oracle import final, log, scenario
from oracle.arithmetic import of_bits
from oracle.definitions import SECOND
from oracle.final import Series
from oracle.histograms import Histogram, Shown, text
from oracle.oracle import FinalPoint, Key, Result, compute
from oracle.windows import start_of, text_of

WRITTEN = scenario.written()


def row(word: str, key: Key, shown: Shown, counts: str = "") -> str:
    size = text_of(key.size)
    labels = " ".join(f"{k}={v}" for k, v in key.labels if (k, v) != ("tenant", "t"))
    end = (key.window_end - scenario.EPOCH) // SECOND
    value = text(shown) if isinstance(shown, Histogram) else repr(shown)
    return f"{word} {key.definition} {size} @{end} {labels} = {value}{counts}"


def published(result: Result) -> list[str]:
    lines = [row("first", k, c.value) for k, cells in result.first.items() for c in cells.values()]
    for key, cell in result.latest.items():
        lines.append(row("latest", key, cell.value, f" ({cell.points} points, {cell.late} late)"))
    return sorted(lines)


def final_points(points: dict[Series, list[FinalPoint]]) -> list[str]:
    lines: list[str] = []
    for series, of_series in points.items():
        for point in of_series:
            key = Key(series.definition, series.size, point.time, series.labels)
            since = (point.start - scenario.EPOCH) // SECOND
            rest = "" if point.start == start_of(point.time, series.size) else f" since {since}"
            if series.domain != log.LIVE:
                rest += f" of {series.domain.removeprefix('telemetry.')}"
            value = point.bits
            if not isinstance(value, Histogram):
                value = math.nan if value is None else of_bits(value)
            line = row("final", key, value, rest)
            lines.append(line.replace("= nan", "= none") if point.bits is None else line)
    return sorted(lines)


def test_every_scenario_has_a_number_of_its_own() -> None:
    names = [path.stem for path in (Path(scenario.__file__).parent / "scenarios").glob("*")]
    numbers = Counter(name.split("-")[0] for name in names)
    shared = sorted(name for name in names if numbers[name.split("-")[0]] > 1)
    assert not shared, f"next free number: {max(map(int, numbers)) + 1}"


@pytest.mark.parametrize("name", WRITTEN)
def test_the_oracle_publishes_exactly_what_the_scenario_says(name: str) -> None:
    told = scenario.loads(WRITTEN[name], name)
    partitions = log.read(told.log)
    result = compute(partitions, told.definitions)
    rows = [line for line in told.expected if line.startswith(("first", "latest"))]
    assert published(result) == sorted(rows)
    points = [line for line in told.expected if line.startswith("final")]
    if points:
        assert final_points(final.compute(partitions, told.definitions, result)) == sorted(points)
    for line in (line for line in told.expected if line.startswith("tally")):
        _, name, *counts = line.split()
        found = asdict(result.tallies[name])
        assert {k: found[k] for k in (c.split("=")[0] for c in counts)} == {
            k: int(v) for k, v in (c.split("=") for c in counts)
        }
