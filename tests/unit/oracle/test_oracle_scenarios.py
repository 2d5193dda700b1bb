"""The oracle says what a person computed by hand: tests/oracle/scenarios, and the page of rules."""

from dataclasses import asdict

import pytest
from oracle import log, scenario
from oracle.definitions import SECOND
from oracle.oracle import Key, Result, compute

WRITTEN = scenario.written()


def row(word: str, key: Key, value: float, counts: str = "") -> str:
    units = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")]
    seconds = key.size // SECOND
    size = next(f"{seconds // unit}{name}" for unit, name in units if seconds % unit == 0)
    labels = " ".join(f"{k}={v}" for k, v in key.labels if (k, v) != ("tenant", "t"))
    end = (key.window_end - scenario.EPOCH) // SECOND
    return f"{word} {key.definition} {size} @{end} {labels} = {value!r}{counts}"


def published(result: Result) -> list[str]:
    lines = [row("first", k, c.value) for k, cells in result.first.items() for c in cells.values()]
    for key, cell in result.latest.items():
        lines.append(row("latest", key, cell.value, f" ({cell.points} points, {cell.late} late)"))
    return sorted(lines)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_oracle_publishes_exactly_what_the_scenario_says(name: str) -> None:
    told = scenario.loads(WRITTEN[name], name)
    result = compute(log.read(told.log), told.definitions)
    rows = [line for line in told.expected if not line.startswith("tally")]
    assert published(result) == sorted(rows)
    for line in (line for line in told.expected if line.startswith("tally")):
        _, name, *counts = line.split()
        found = asdict(result.tallies[name])
        assert {k: found[k] for k in (c.split("=")[0] for c in counts)} == {
            k: int(v) for k, v in (c.split("=") for c in counts)
        }
