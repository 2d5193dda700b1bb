"""Views of derived definitions give what plain Python makes of the same rows, and no others."""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import clickhouse_connect
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.derived_rows import (
    OVERFLOW,
    Derivation,
    Input,
    Key,
    Row,
    derived,
    interpolated,
    latest,
)

from metric_registry.cases.reading import read_cases
from metric_registry.check import Report, check_files
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.granularities import text_of
from metric_registry.load import SourceFile
from metric_registry.rules import Settings
from streams.aggregates import Points
from streams.aggregates.exponential import ExponentialHistogram
from tidemill.case_runs import published, trial_of
from tidemill.embedded_store.testing import StoreProcess
from topologies.sink.derived import derived_view, select_of
from topologies.sink.schema import Schema
from topologies.sink.store import Kept, Store, StoreAddress
from topologies.sink.stored import FIELDS, stored

SCHEMA = Schema()
NOW = int(time.time())
BASE = NOW - 7_200 - NOW % 3_600
BOUNDS = (0.1, 0.5, 1.0, 5.0)
SHAPES = {
    "errors": {"unit": "{request}", "keep": ["route"]},
    "requests": {"unit": "{request}", "keep": ["route", "status"]},
    "in": {"unit": "By", "keep": ["route"]},
    "out": {"unit": "KiBy", "keep": ["route"]},
    "all": {"unit": "{request}", "keep": []},
}


def checked(*derivations: dict[str, Any]) -> Report:
    """Definitions that are derived from, and those of `derivations` by their names."""
    documents: list[dict[str, Any]] = [
        {
            "apiVersion": "tidemill/v1", "kind": "Metric", "name": name, "description": "d",
            "owner": "o", "source": {"metric": f"of.{name}", "unit": shape["unit"]},
            "space": {"keep": shape["keep"]}, "time": {"granularities": ["10s", "1h"]},
            "aggregate": {"over_time": "increase"},
        }
        for name, shape in SHAPES.items()
    ]  # fmt: skip
    for name, how in (
        ("latency", {"explicit_histogram": list(BOUNDS)}),
        ("sketch", "exponential_histogram"),
    ):
        documents.append(
            documents[0]
            | {"name": name, "source": {"metric": f"of.{name}", "unit": "ms"}}
            | {"aggregate": {"over_points": how}}
        )
    head = {"apiVersion": "tidemill/v1", "kind": "Derived", "description": "d", "owner": "o"}
    documents += [head | each for each in derivations]
    text = "\n---\n".join(map(json.dumps, documents))
    report = check_files([SourceFile("d.yaml", text.encode())])
    assert not report.findings, report.text()
    return report


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path_factory.mktemp("store") / "data") as process:
        made = Store(StoreAddress("127.0.0.1", process.port), SCHEMA)
        made.ensure_schema()
        made.close()
        yield process


@pytest.fixture(scope="module")
def client(store: StoreProcess) -> Any:
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=store.port, autogenerate_session_id=False
    )


def insert(client: Any, rows: Sequence[Row]) -> None:
    columns = [
        "rollup", "version", "unit", "tenant", "resolution", "window_end", "window_start", "labels",
        "group", "value", "revision", "is_deleted", "hop", "zone", "recorded_at", "histogram",
        "count", "sum", "min", "max", "explicit_bounds", "bucket_counts",
    ]  # fmt: skip
    data = [
        [
            row.rollup, row.version, row.unit, row.tenant, row.resolution, row.end * 1000,
            row.start * 1000, dict(row.labels), abs(hash(row.labels)), row.value, row.revision,
            int(row.deleted),
            row.hop, row.zone, row.came, row.kind, row.count, row.sum, row.least, row.most,
            list(row.bounds), list(row.buckets),
        ]
        for row in rows
    ]  # fmt: skip
    client.insert(SCHEMA.rollups, data, column_names=columns)


def fresh(client: Any, one: ResolvedDerived, since: dict[str, int] | None = None) -> None:
    client.command(f"TRUNCATE TABLE {SCHEMA.rollups}")
    client.command(derived_view(SCHEMA, one.name, select_of(one, SCHEMA, since)))


def shown(client: Any, name: str) -> dict[Key, float]:
    asked = (
        "SELECT tenant, resolution, hop, zone, toUnixTimestamp(window_end), labels, value "
        f"FROM tidemill.`{name}`"
    )
    rows = client.query(asked).result_rows
    found = {
        (tenant, size, hop, zone, end, tuple(sorted(labels.items()))): value
        for tenant, size, hop, zone, end, labels, value in rows
    }
    assert len(found) == len(rows), "no row stands twice"
    return found


def near(found: float, exact: Fraction, ulps: int = 3) -> bool:
    return abs(Fraction(found) - exact) <= ulps * Fraction(math.ulp(float(exact)))


def some_rows(rng: random.Random, versions: dict[str, str]) -> list[Row]:
    """Revisions of rows: tenants, windows, versions, groups, overflow, units and numbers differ."""
    rows: list[Row] = []
    made: set[tuple[Any, ...]] = set()
    for _ in range(rng.randint(1, 300)):
        name = rng.choice(list(SHAPES))
        keep = SHAPES[name]["keep"]
        labels = {"tenant": rng.choice("ab")}
        labels |= {key: rng.choice("xyz") for key in keep if rng.random() < 0.9}
        if keep and rng.random() < 0.01:
            labels = {"tenant": labels["tenant"], OVERFLOW: "true"}
        window = rng.randint(1, 3)
        size, hop, zone = rng.choice([(10, 0, "")] * 5 + [(10, 5, ""), (86400, 0, "UTC")])
        # a window is one version's; of the first one another was in force
        version = versions[name] if window > 1 or rng.random() < 0.01 else "before"
        start = BASE + 10 * window
        row = Row(
            rollup=name, version=version, tenant=labels["tenant"], resolution=size, hop=hop,
            unit=SHAPES[name]["unit"] if rng.random() < 0.99 else "h", zone=zone,
            start=start, end=start + size, labels=tuple(sorted(labels.items())),
        )  # fmt: skip
        key = (name, version, size, hop, zone, window, row.labels)
        if key in made:
            continue
        made.add(key)
        for revision in range(1, rng.choice([2, 2, 3, 4])):
            value = rng.choice([0.0, 1.0, 3.0, 0.1, float(rng.randint(0, 10**6)), 1e-300, 2.0**60])
            value = rng.choice([math.inf, math.nan]) if rng.random() < 0.01 else value
            rows.append(
                Row(**{
                    **{name: getattr(row, name) for name in Row.__dataclass_fields__},
                    "revision": revision, "value": value, "deleted": rng.random() < 0.1,
                    "came": rng.choice([NOW - 1_000, NOW - 1_000, NOW + 9_000]),
                })
            )  # fmt: skip
    rng.shuffle(rows)
    return rows


CASES: list[tuple[dict[str, Any], Derivation]] = [
    (
        {"derive": {"ratio": {"of": "errors", "by": "requests"}}, "unit": "%"},
        Derivation(
            "ratio",
            (Input("errors", "{request}", Fraction(100)),
             Input("requests", "{request}", summed=True)),
            ("route",),
        ),
    ),
    (
        {"derive": {"ratio": {"of": "errors", "by": "requests", "absent": "zero"}}},
        Derivation(
            "ratio",
            (Input("errors", "{request}", since=BASE + 20),
             Input("requests", "{request}", summed=True)),
            ("route",),
            "zero",
        ),
    ),
    (
        {"derive": {"ratio": {"of": "in", "by": "out", "absent": "zero"}}, "unit": "1"},
        Derivation(
            "ratio", (Input("in", "By", Fraction(1, 1024)), Input("out", "KiBy")), ("route",),
            "zero",
        ),
    ),
    (
        {"derive": {"ratio": {"of": "errors", "by": "all", "absent": "zero"}}},
        Derivation(
            "ratio", (Input("errors", "{request}", summed=True), Input("all", "{request}")), (),
            "zero",
        ),
    ),
    (
        {"derive": {"sum": {"of": ["in", "out"], "absent": "zero"}}, "unit": "kBy"},
        Derivation(
            "sum",
            (Input("in", "By", Fraction(1, 1000)), Input("out", "KiBy", Fraction(128, 125))),
            ("route",),
            "zero",
        ),
    ),
    (
        {"derive": {"difference": {"of": "requests", "less": "errors"}}},
        Derivation(
            "difference",
            (Input("requests", "{request}", summed=True), Input("errors", "{request}")),
            ("route",),
        ),
    ),
    (
        {"derive": {"difference": {"of": "requests", "less": ["errors", "all"], "absent": "zero"}},
         "space": {"keep": []}},
        Derivation(
            "difference",
            (Input("requests", "{request}", summed=True),
             Input("errors", "{request}", summed=True), Input("all", "{request}")),
            (),
            "zero",
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), CASES, ids=lambda one: str(one)[:60])
def test_a_view_has_the_rows_that_plain_python_makes_of_the_table(
    client: Any, written: dict[str, Any], meant: Derivation
) -> None:
    report = checked({"name": "x", **written})
    (one,) = report.derived
    versions = {each.name: each.version for each in report.definitions}
    since = {given.name: given.since * 10**9 for given in meant.inputs if given.since is not None}
    fresh(client, one, since)
    rng, total = random.Random(repr(meant)), 0
    for _ in range(12):
        client.command(f"TRUNCATE TABLE {SCHEMA.rollups}")
        rows = some_rows(rng, versions)
        insert(client, rows)
        expected = derived(rows, meant, int(time.time()))
        found = shown(client, "x")
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            scale = max((abs(Fraction(row.value)) for row in rows if math.isfinite(row.value)),
                        default=Fraction(0))  # fmt: skip
            rounding = 0 if meant.how == "ratio" else scale * 3 / 2**50
            assert near(found[key], value) or abs(Fraction(found[key]) - value) <= rounding, key
        total += len(expected)
    assert total > 60, "there is something to compare"


def test_a_ratio_of_whole_numbers_is_rounded_once(client: Any) -> None:
    report = checked(
        {"name": "x", "unit": "%", "derive": {"ratio": {"of": "errors", "by": "requests"}}}
    )
    (one,) = report.derived
    fresh(client, one)
    rng = random.Random(1)
    rows: list[Row] = []
    numbers = [(rng.randint(0, 10**9), rng.randint(1, 10**9)) for _ in range(200)]
    for at, (of, by) in enumerate(numbers):
        for name, value in (("errors", of), ("requests", by)):
            end = BASE + 10 * at
            rows.append(Row(name, "v", "{request}", "a", 10, end, (("tenant", "a"),), float(value),
                            came=NOW, start=end - 10))  # fmt: skip
    insert(client, rows)
    found = shown(client, "x")
    for at, (of, by) in enumerate(numbers):
        key = ("a", 10, 0, "", BASE + 10 * at, (("tenant", "a"),))
        assert found[key] == float(Fraction(100 * of, by))


def histograms(rng: random.Random) -> list[Row]:
    rows: list[Row] = []
    for at in range(60):
        buckets = [rng.choice([0, 0, 1, 2, 50, 10**6]) for _ in range(5)]
        known = rng.random() < 0.7 and sum(buckets)
        least, most = (math.nan, math.nan)
        if known:
            first = next(i for i, n in enumerate(buckets) if n)
            last = max(i for i, n in enumerate(buckets) if n)
            least = (-1.0, *BOUNDS)[first] + 0.05
            most = max(least, (*BOUNDS, 9.0)[last] - 0.01)
        end = BASE + 10 * (at % 9)
        labels = {"tenant": rng.choice("ab"), "route": f"r{at}"}
        if rng.random() < 0.1:
            labels = {"tenant": labels["tenant"], OVERFLOW: "true", "tidemill.shard": str(at)}
        bounds = BOUNDS if rng.random() < 0.9 else (0.2, 0.5, 2.0, 3.0)
        rows.append(
            Row("latency", "vw"[at % 9 > 4], "ms" if rng.random() < 0.95 else "s",
                labels["tenant"], 10, end, tuple(sorted(labels.items())), came=NOW,
                revision=rng.randint(1, 2), deleted=rng.random() < 0.05, start=end - 10,
                kind="explicit", count=sum(buckets),
                sum=rng.choice([0.0, 12.5, math.nan, float(sum(buckets)) / 3]), least=least,
                most=most, bounds=bounds, buckets=tuple(buckets))
        )  # fmt: skip
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_means_and_shares_of_histograms(client: Any, seed: int) -> None:
    for how, parameter, factor in (
        ("mean", 0.0, Fraction(1, 1000)),
        ("share", 0.5, Fraction(100)),
        ("share", 5.0, Fraction(100)),
    ):
        stated = {"of": "latency"} | ({"at_most": parameter} if how == "share" else {})
        unit = "%" if how == "share" else "s"
        (one,) = checked({"name": "x", "unit": unit, "derive": {how: stated}}).derived
        fresh(client, one)
        rows = histograms(random.Random(seed))
        insert(client, rows)
        meant = Derivation(how, (Input("latency", "ms", factor),), ("route",), parameter=parameter)
        expected = derived(rows, meant, NOW)
        found = shown(client, "x")
        assert found.keys() == expected.keys()
        assert expected
        assert all(near(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_of_explicit_histograms(client: Any, q: float) -> None:
    """To the bit what `tidemill query --quantile` says, and Prometheus' rule in Fractions."""
    (one,) = checked({"name": "x", "derive": {"quantile": {"of": "latency", "q": q}}}).derived
    fresh(client, one)
    rows = histograms(random.Random(repr(q)))
    insert(client, rows)
    found, compared = shown(client, "x"), 0
    for key, row in kept(rows, "ms").items():
        same = quantile(row, q)
        assert found.pop(key, math.nan) == same or math.isnan(same)
        exact = interpolated(row, q)
        if exact is not None:
            assert abs(Fraction(same) - exact) <= Fraction(1, 10**12), row
            compared += 1
    assert found == {}
    assert compared > 20


def kept(rows: Sequence[Row], unit: str) -> dict[Key, Row]:
    return {
        (row.tenant, row.resolution, row.hop, row.zone, row.end, row.labels): row
        for row in latest(list(rows))
        if row.unit == unit
    }


def quantile(row: Row, q: float) -> float:
    """As `tidemill query` computes it of the stored histogram."""
    fields = dict.fromkeys(FIELDS, 0) | dict.fromkeys(
        ("positive_bucket_counts", "negative_bucket_counts"), ()
    )
    fields |= {"count": row.count, "sum": row.sum, "min": row.least, "max": row.most}
    fields |= {"explicit_bounds": row.bounds, "bucket_counts": row.buckets, "zero_threshold": 0.0}
    found = stored([row.kind, *(fields[name] for name in FIELDS)])
    assert found is not None
    return found.quantile(q)


WORLDS = [
    lambda rng, n: rng.lognormal(0, 3, n),
    lambda rng, n: rng.normal(0, 1, n),
    lambda rng, n: rng.choice([0.0, 1.0, -1.0, 1e300, -1e-300, 5e-324, 2.0, 0.75], n),
    lambda rng, n: rng.integers(-3, 4, n).astype(float),
    lambda rng, n: -rng.lognormal(5, 9, n),
]


def test_quantiles_of_exponential_histograms_are_those_of_over_points(client: Any) -> None:
    """To the bit, of histograms as the aggregate makes them of points."""
    names = ("count", "sum", "min", "max", "scale", "zero_count", "zero_threshold")
    columns = ["rollup", "version", "unit", "tenant", "resolution", "window_end", "labels", "group",
               "revision", "recorded_at", "histogram", *names, "positive_offset",
               "positive_bucket_counts", "negative_offset", "negative_bucket_counts"]  # fmt: skip
    rng = np.random.default_rng(7)
    rows: list[list[Any]] = []
    made: list[Any] = []
    for at in range(150):
        shape = ExponentialHistogram(max_size=int(rng.choice([4, 20, 160])),
                                     zero_threshold=float(rng.choice([0.0, 0.0, 0.5])))  # fmt: skip
        values = np.asarray(WORLDS[at % len(WORLDS)](rng, int(rng.choice([1, 2, 7, 300]))))
        state = shape.empty(1)
        shape.add(state, np.zeros(len(values), np.int64), Points.of_doubles(values))
        finished = shape.finish(state)
        made.append(finished)
        value = finished[0]
        rows.append(
            ["sketch", "v", "ms", "a", 10, (BASE + at) * 1000, {"tenant": "a"}, 1, 1, NOW,
             "exponential",
             value.count, value.sum, value.min, value.max, value.scale, value.zero_count,
             value.zero_threshold, value.positive_offset, list(value.positive_counts),
             value.negative_offset, list(value.negative_counts)]
        )  # fmt: skip
    for q in (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0):
        (one,) = checked({"name": "x", "derive": {"quantile": {"of": "sketch", "q": q}}}).derived
        fresh(client, one)
        client.insert(SCHEMA.rollups, rows, column_names=columns)
        asked = "SELECT toUnixTimestamp(window_end), value FROM tidemill.x"
        found = dict(client.query(asked).result_rows)
        expected = {BASE + at: float(each.quantile(q)[0]) for at, each in enumerate(made)}
        assert {at: value.hex() for at, value in found.items()} == {
            at: value.hex() for at, value in expected.items()
        }


def test_a_row_tells_what_it_was_computed_from(client: Any) -> None:
    report = checked({"name": "x", "derive": {"ratio": {"of": "in", "by": "out"}}})
    (one,) = report.derived
    versions = {each.name: each.version for each in report.definitions}
    fresh(client, one)
    labels = (("route", "r"), ("tenant", "a"))
    rows = [
        Row("in", versions["in"], "By", "a", 10, BASE, labels, 512.0, 3, came=NOW, start=BASE - 10),
        Row("out", versions["out"], "KiBy", "a", 10, BASE, labels, 1.0, came=NOW, start=BASE - 10),
        Row("in", "old", "By", "a", 10, BASE + 10, labels, 1.0, came=NOW, start=BASE),
        Row("out", versions["out"], "KiBy", "a", 10, BASE + 10, labels, 1.0, came=NOW, start=BASE),
    ]
    insert(client, rows)
    asked = "SELECT value, version, granularity, inputs, versions, revisions FROM tidemill.x"
    new, old = client.query(f"{asked} ORDER BY version DESC").result_rows
    assert new == (0.5, one.version, "10s", {"in": 512.0, "out": 1.0}, versions_of(versions),
                   {"in": 3, "out": 1})  # fmt: skip
    assert old[1] == ""
    assert old[4] == {"in": "old", "out": versions["out"]}


def versions_of(versions: dict[str, str]) -> dict[str, str]:
    return {name: versions[name] for name in ("in", "out")}


def test_a_question_about_some_windows_reads_no_others(client: Any) -> None:
    (one,) = checked(
        {"name": "x", "derive": {"ratio": {"of": "errors", "by": "requests", "absent": "zero"}}}
    ).derived
    fresh(client, one)
    insert(client, some_rows(random.Random(3), dict.fromkeys(SHAPES, "v")))
    plan = "\n".join(
        str(line)
        for (line,) in client.query(
            "EXPLAIN indexes = 1 SELECT * FROM tidemill.x WHERE resolution = 10 "
            f"AND window_end > fromUnixTimestamp({BASE}) AND tenant = 'a'"
        ).result_rows
    )
    _, key = plan.split("PrimaryKey")
    for column in ("rollup", "tenant", "resolution", "window_end"):
        assert column in key.split("Condition")[0], plan


@pytest.mark.parametrize("absent", ["none", "zero"])
def test_a_question_about_some_groups_has_their_rows_and_groups_no_others(
    client: Any, absent: str
) -> None:
    """But for what may be absent: whether it is depends on the other groups of a window."""
    report = checked(
        {"name": "x", "derive": {"ratio": {"of": "in", "by": "out", "absent": absent}}}
    )
    (one,) = report.derived
    fresh(client, one)
    insert(client, some_rows(random.Random(3), {each.name: "v" for each in report.definitions}))
    some = "SELECT labels, value FROM tidemill.x WHERE labels['route'] = 'y'"
    every = client.query("SELECT labels, value FROM tidemill.x").result_rows
    found = client.query(some).result_rows
    wanted = [row for row in every if row[0].get("route") == "y"]
    assert 0 < len(found) < len(every)
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))
    plan = [str(line) for (line,) in client.query(f"EXPLAIN actions = 1 {some}").result_rows]
    grouped = max(at for at, line in enumerate(plan) if "Aggregating" in line)
    asked = any("'route'" in line for line in plan[grouped:])
    assert asked == (absent == "none"), "\n".join(plan)


def test_views_come_and_go_with_their_definitions(store: StoreProcess, client: Any) -> None:
    (one,) = checked(
        {"name": "odd/name-with.all_", "derive": {"ratio": {"of": "in", "by": "out"}}}
    ).derived
    made = Store(StoreAddress("127.0.0.1", store.port), SCHEMA)
    names = "SELECT name FROM system.tables WHERE database = 'tidemill' AND engine = 'View'"

    def there() -> set[str]:
        return {name for (name,) in client.query(names).result_rows}

    days = SCHEMA.retention_days
    client.command("DROP VIEW IF EXISTS tidemill.x")
    made.keep(Kept(days, {"in": ""}, {one.name: select_of(one, SCHEMA)}))
    assert one.name in there()
    made.ensure_views({(one.name, ""), ("in", "")})
    assert "inputs" in str(client.query(f"DESCRIBE tidemill.`{one.name}`").result_rows)
    assert "in" in there()
    made.close()
    again = Store(StoreAddress("127.0.0.1", store.port), SCHEMA)
    again.keep(Kept(days, {"in": ""}))
    assert there() == {"rollups", "in"}
    again.close()


CASE = """
apiVersion: tidemill/v1
kind: Test
metric: {metric}
name: as the product makes them
streams:
  good: {{metric: of.requests, instrument: sum, temporality: delta, unit: "{{request}}", attributes: {{route: a, status: 200}}}}
  other: {{metric: of.requests, instrument: sum, temporality: delta, unit: "{{request}}", attributes: {{route: b, status: 200}}}}
  bad: {{metric: of.errors, instrument: sum, temporality: delta, unit: "{{request}}", attributes: {{route: a}}}}
  slow: {{metric: of.latency, unit: ms, attributes: {{route: a}}}}
  sketched: {{metric: of.sketch, unit: s, attributes: {{route: a}}}}
input:
  - send: {{good: {{1s: 40, 11s: 7}}, other: {{2s: 5}}, bad: {{3s: 3, 12s: 1}}, slow: {{1s: 0.3, 2s: 0.7, 14s: 9}}, sketched: {{1s: 2, 2s: 3, 3s: 70}}}}
  - watermark: 40s
  - send: {{bad: {{4s: 1}}, slow: {{5s: 0.05}}}}
expect:
  10s: []
"""  # noqa: E501  (streams, one a line)


@pytest.mark.parametrize(
    ("derive", "values"),
    [
        ({"ratio": {"of": "errors", "by": "requests"}}, {("a", 10): 0.1, ("a", 20): 1 / 7}),
        (
            {"ratio": {"of": "errors", "by": "requests", "absent": "zero"}},
            {("a", 10): 0.1, ("a", 20): 1 / 7, ("b", 10): 0.0},
        ),
        ({"share": {"of": "latency", "at_most": 0.5}}, {("a", 10): 2 / 3, ("a", 20): 0.0}),
        ({"quantile": {"of": "sketch", "q": 1.0}}, {("a", 10): 70_000.0}),
    ],
)
def test_a_test_and_the_view_say_the_same_of_what_the_product_makes(
    client: Any, derive: dict[str, Any], values: dict[tuple[str, int], float]
) -> None:
    """Of the same points: rows of a trial into the table, and what `registry test` computes."""
    report = checked({"name": "x", "derive": derive})
    (one,) = report.derived
    named = {each.name: each for each in (*report.definitions, *report.derived)}
    inputs = {given.name for given in one.inputs}
    text = CASE.format(metric="x")
    for line in text.splitlines():
        read_by = line.partition("of.")[2].partition(",")[0]
        if read_by and read_by not in inputs:
            text = text.replace(line, f"{line[:-1]}, ignored: true}}")
    read = read_cases([SourceFile("x.test.yaml", text.encode())], named, Settings())
    assert not read.findings, [each.render() for each in read.findings]
    (case,) = read.cases
    fresh(client, one)
    for name, found in trial_of(case).rows():
        held = found.histogram or {}
        sides = [held.get(sign, {}) for sign in ("positive", "negative")]
        row = {
            "rollup": name, "version": named[name].version, "unit": named[name].unit,
            "tenant": found.labels["tenant"],
            "resolution": 10 if found.granularity == "10s" else 3600,
            "window_end": found.end // 10**6, "labels": dict(sorted(found.labels.items())),
            "group": abs(hash(tuple(sorted(found.labels.items())))), "value": found.value,
            "revision": found.revision, "is_deleted": int(found.deleted), "recorded_at": NOW - 900,
            "histogram": {"latency": "explicit", "sketch": "exponential"}.get(name, ""),
            "count": held.get("count", 0), "sum": held.get("sum", math.nan),
            "min": held.get("min", math.nan), "max": held.get("max", math.nan),
            "explicit_bounds": held.get("explicit_bounds", []),
            "bucket_counts": held.get("bucket_counts", []), "scale": held.get("scale", 0),
            "zero_count": held.get("zero_count", 0),
            "zero_threshold": held.get("zero_threshold", 0.0),
            **{
                f"{sign}_{field}": side.get(field, [] if field == "bucket_counts" else 0)
                for sign, side in zip(("positive", "negative"), sides, strict=True)
                for field in ("offset", "bucket_counts")
            },
        }  # fmt: skip
        client.insert(SCHEMA.rollups, [list(row.values())], column_names=list(row))
    told = {
        (found.labels["route"], text_of(found.granularity), found.end // 10**9): found.value
        for found in published(case)[0]
    }
    seen = {
        (labels["route"], size, end): value
        for size, end, labels, value in client.query(
            "SELECT granularity, toUnixTimestamp(window_end), labels, value FROM tidemill.x"
        ).result_rows
    }
    assert told == seen
    start = case.document.start // 10**9
    assert {(r, end - start): v for (r, size, end), v in told.items() if size == "10s"} == values
