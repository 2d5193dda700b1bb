"""Candidates, compared in a real store: held against plain Python over the same rows."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import clickhouse_connect
import pytest

from metric_registry.check import check_files
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from tidemill.embedded_store.testing import StoreProcess
from topologies.candidates import candidate
from topologies.sink.comparing import Compared, compare, way_of
from topologies.sink.schema import Schema, migrations, preparation

BASE = 1_700_000_000
COLUMNS = (
    "rollup", "version", "unit", "tenant", "resolution", "window_end", "group", "labels", "value",
    "points", "late", "revision", "is_deleted", "source_partition", "source_offset", "hop", "zone",
)  # fmt: skip
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: busy
description: One
owner: tests
unit: {unit}
source: {{metric: load, unit: s}}
space: {{keep: [{keep}]}}
time: {{granularities: [10s, 1m], grace: 2s, corrections: 1h}}
aggregate: {{{how}}}
"""
Rows = dict[tuple[int, str, tuple[tuple[str, str], ...]], tuple[float, int]]
"""(end, tenant, labels) -> (value, points)"""


def definition(keep: str, how: str = "over_time: sum, over_space: sum", unit: str = "s") -> Any:
    text = DEFINITION.format(keep=keep, how=how, unit=unit)
    report = check_files([SourceFile("d.yaml", text.encode())])
    assert not report.errors, report.text()
    return report.definitions[0]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with StoreProcess(tmp_path_factory.mktemp("store") / "data") as process:
        yield clickhouse_connect.get_client(
            host="127.0.0.1", port=process.port, autogenerate_session_id=False
        )


def schema_of(client: Any, name: str) -> Schema:
    schema = Schema(database=name)
    for statement in preparation(schema):
        client.command(statement)
    for _, statements in migrations(schema):
        for statement in statements:
            client.command(statement)
    return schema


def stored(client: Any, schema: Schema, one: ResolvedDefinition, rows: Rows, rng: Any) -> None:
    """Put rows into the table, each behind an older revision, and some that are deleted again."""
    table: list[tuple[Any, ...]] = []
    for number, ((end, tenant, labels), (value, points)) in enumerate(rows.items()):
        time = datetime.fromtimestamp(end, UTC)
        key = (one.name, one.version, one.unit, tenant, 10, time, number, dict(labels))
        if rng.random() < 0.3:
            table.append((*key, value + 1, points + 1, 0, 1, 0, 0, 0, 0, ""))
        table.append((*key, value, points, 0, 2, 0, 0, 0, 0, ""))
        if rng.random() < 0.1:
            gone = (*key[:6], number + 10**6, dict(labels) | {"gone": "1"})
            table.append((*gone, value, points, 0, 1, 0, 0, 0, 0, ""))
            table.append((*gone, value, points, 0, 2, 1, 0, 0, 0, ""))
    rng.shuffle(table)
    for part in range(3):  # what comes in one insert is merged by it
        if table[part::3]:
            client.insert(schema.rollups, table[part::3], column_names=COLUMNS)


def random_rows(rng: random.Random, keep: tuple[str, ...], windows: int) -> Rows:
    rows: Rows = {}
    for _ in range(rng.randrange(1, 60)):
        end = BASE + 10 * rng.randrange(windows)
        chosen = {name: rng.choice("ab'") for name in keep if rng.random() < 0.9}
        tenant = rng.choice(("t", "u"))
        value = rng.choice([0.0, -1.5, 1e300, math.nan, rng.random(), float(rng.randrange(9))])
        labels = tuple(sorted((chosen | {"tenant": tenant}).items()))
        rows[end, tenant, labels] = (value, rng.randrange(1, 50))
    return rows


def expected(old: Rows, new: Rows, extra: set[str], how: str, until: int) -> dict[str, Any]:
    """What a comparison must say, in plain Python; NaN equals NaN."""

    def folded(rows: Rows) -> dict[Any, tuple[float, int]]:
        found: dict[Any, list[tuple[float, int]]] = defaultdict(list)
        last = min(max(end for end, _, _ in each) for each in (old, new))
        for (end, tenant, labels), told in rows.items():
            if BASE <= end <= min(last, until):
                kept = tuple(pair for pair in labels if pair[0] not in extra)
                found[end, tenant, kept].append(told)
        return {
            key: (taken([v for v, _ in every], how), sum(p for _, p in every))
            for key, every in found.items()
        }

    here, there = folded(old), folded(new)
    shared = here.keys() & there.keys()
    apart = {key: relative(here[key][0], there[key][0]) for key in shared}
    limit = 1e-9 if extra else 0
    differ = {key: value for key, value in apart.items() if value > limit}
    return {
        "windows": len({key[0] for key in here.keys() | there.keys()}),
        "rows": (len(here), len(there)),
        "both": len(shared),
        "differ": len(differ),
        "largest": max(differ.values(), default=0),
        "points": tuple(sum(p for _, p in each.values()) for each in (here, there)),
    }


def taken(values: list[float], how: str) -> float:
    if how == "max":
        real = [value for value in values if not math.isnan(value)]
        return max(real, default=math.nan)
    if any(math.isnan(value) for value in values):
        return math.nan
    return float(sum(map(Fraction, values)))


def relative(old: float, new: float) -> float:
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0
    if math.isnan(old) or math.isnan(new):
        return math.inf
    return abs(new - old) / max(abs(old), abs(new))


def told(found: Compared) -> dict[str, Any]:
    names = ("windows", "rows", "both", "differ", "largest", "points")
    return {name: getattr(found, name) for name in names}


@pytest.mark.parametrize("seed", range(30))
def test_a_comparison_is_what_plain_python_says_of_the_rows(client: Any, seed: int) -> None:
    rng = random.Random(seed)
    how = rng.choice(["sum", "max"])
    keeps = rng.choice([("a, b", "a, b"), ("a, b", "a"), ("b", "a, b"), ("a", "b")])
    old, new = (definition(keep, f"over_time: {how}, over_space: {how}") for keep in keeps)
    new = candidate(new)
    extra = {*old.keep} ^ {*new.keep}
    before = random_rows(rng, old.keep, 6)
    after = random_rows(rng, new.keep, 6)
    for key in rng.sample(sorted(before), len(before) // 2):
        if not extra and rng.random() < 0.8:
            after[key] = before[key]
    schema = schema_of(client, f"compared_{seed}")
    stored(client, schema, old, before, rng)
    stored(client, schema, new, after, rng)
    until = BASE + 10 * rng.randrange(7)
    between = (BASE * 10**9, until * 10**9)
    found = compare(client, old, new, 10, between, examples=1000, schema=schema)
    wanted = expected(before, after, extra, how, until)
    largest, close = wanted.pop("largest"), told(found)
    assert close.pop("largest") == pytest.approx(largest, rel=1e-9)
    assert close == wanted
    alone = sum(rows - wanted["both"] for rows in wanted["rows"])
    assert len(found.examples) == wanted["differ"] + alone or found.same
    assert found.same == (not wanted["differ"] and not alone and len({*wanted["points"]}) == 1)


def test_values_in_other_units_are_converted(client: Any) -> None:
    schema = schema_of(client, "units")
    old, new = definition("a"), candidate(definition("a", unit="ms"))
    labels = (("a", "x"), ("tenant", "t"))
    rng = random.Random(1)
    for one, first in ((old, 0.1), (new, 100.0)):
        rows: Rows = {(BASE, "t", labels): (first, 3), (BASE + 10, "t", labels): (2.0, 1)}
        stored(client, schema, one, rows, rng)
    between = (BASE * 10**9, (BASE + 100) * 10**9)
    found = compare(client, old, new, 10, between, examples=5, schema=schema)
    assert (found.both, found.differ) == (2, 1)
    (example,) = found.examples
    assert (example.old, example.new) == (2000.0, 2.0)
    assert example.window_end == datetime.fromtimestamp(BASE, UTC) + timedelta(seconds=10)


def test_nothing_is_compared_before_both_have_rows(client: Any) -> None:
    schema = schema_of(client, "early")
    old, new = definition("a"), candidate(definition("b"))
    labels = (("a", "x"), ("tenant", "t"))
    stored(client, schema, old, {(BASE, "t", labels): (0.1, 3)}, random.Random(1))
    found = compare(client, old, new, 10, (BASE * 10**9, (BASE + 100) * 10**9), schema=schema)
    assert (found.windows, found.first, found.same) == (0, None, True)


def test_histograms_are_compared_whole(client: Any) -> None:
    schema = schema_of(client, "histograms")
    how = "over_points: {explicit_histogram: [1, 2]}"
    old, new = definition("a", how), candidate(definition("a", how, unit="s"))
    columns = (*COLUMNS, "histogram", "count", "sum", "explicit_bounds", "bucket_counts")
    labels = {"a": "x", "tenant": "t"}
    for one, counts in ((old, [1, 2, 3]), (new, [1, 3, 2])):
        rows: list[tuple[Any, ...]] = []
        for number, shape in enumerate(([1, 2, 3], counts)):
            time = datetime.fromtimestamp(BASE + 10 * number, UTC)
            key = (one.name, one.version, "s", "t", 10, time, 1, labels, math.nan)
            rows.append((*key, 6, 0, 1, 0, 0, 0, 0, "", "explicit", 6, 9.0, [1.0, 2.0], shape))
        client.insert(schema.rollups, rows, column_names=columns)
    between = (BASE * 10**9, (BASE + 100) * 10**9)
    found = compare(client, old, new, 10, between, examples=5, schema=schema)
    assert (found.both, found.differ, len(found.examples)) == (2, 1, 1)


AVG, MAX = "over_time: avg, over_space: avg", "over_time: max, over_space: max"
SHAPE = "over_points: exponential_histogram"
PEAKS = "over_time: max, over_space: sum"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (("a, b", AVG), ("a", AVG), "do not add up over `b`"),
        (("a, b", PEAKS), ("a", MAX), "do not add up over `b`"),
        (("a", "over_points: p99"), ("a", SHAPE), "the other histograms"),
        (("a, b", SHAPE), ("a", SHAPE), "histograms are not added up here over `b`"),
    ],
)
def test_what_cannot_be_compared_is_said(old: tuple[str, str], new: tuple[str, str], said: str):
    assert said in way_of(definition(*old), definition(*new)).values
