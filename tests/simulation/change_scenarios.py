"""Thirty and some changes of definitions, as people make them. Beside each stands `other`, which
nobody touches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.plan import Plan
from tests.simulation.topology_world import table_files

Fields = Mapping[str, Any]
"""Sections of a definition that stand in place of the usual ones; None: there is no definition."""

BASE: Fields = {
    "description": "A number",
    "owner": "team",
    "source": {"metric": "requests", "unit": "{request}"},
    "space": {"keep": ["region", "host"]},
    "time": {"granularities": ["10s", "1m"], "grace": "2s", "corrections": "5m"},
    "aggregate": {"over_time": "increase", "over_space": "sum"},
    "publish": {"expire_after": 2},
}
OTHER: Fields = {
    **BASE,
    "source": {"metric": "load", "unit": "1"},
    "space": {"keep": ["region"]},
    "aggregate": {"over_time": "max", "over_space": "max"},
    "publish": {"expire_after": 2, "upsert": True},
}
GAUGE: Fields = {
    "source": {"metric": "load", "unit": "1"},
    "aggregate": {"over_time": "max", "over_space": "sum"},
}
JOBS: Fields = {
    "source": {"metric": "jobs", "unit": "{job}"},
    "aggregate": {"over_time": "sum", "over_space": "sum"},
}
TOOK: Fields = {
    "source": {"metric": "took", "unit": "ms"},
    "aggregate": {"over_time": "avg", "over_space": "max"},
}
LATENCY: Fields = {
    "source": {"metric": "latency", "unit": "ms", "instrument": "histogram"},
    "aggregate": {"over_points": {"explicit_histogram": [10, 50]}},
}


def fetch(*types: str) -> Fields:
    """Requests of these types."""
    where = {"where": {"type": list(types)}} if types else {}
    return {"source": {"metric": "requests", "unit": "{request}", **where}}


def sizes(*granularities: str, grace: str = "2s", corrections: str = "5m", **more: str) -> Fields:
    return {
        "time": {
            "granularities": list(granularities),
            "grace": grace,
            "corrections": corrections,
            **more,
        }
    }


def keep(*names: str) -> Fields:
    return {"space": {"keep": list(names)}}


def publish(**how: Any) -> Fields:
    return {"publish": {"expire_after": 2, **how}}


def tiers(**mapped: str) -> Fields:
    """By a tier that is made of the host."""
    made = {"tier": {"from": "host", "map": mapped, "default": "bronze"}}
    source = {"metric": "requests", "unit": "{request}", "attributes": made}
    return {"source": source, "space": {"keep": ["tier"]}}


def looked_up(column: str = "tier", **rows: str) -> Fields:
    """By a tier that the host is looked up for. rows: host -> tier/owner."""
    made = {"tier": {"from": "host", "lookup": "hosts", "column": column, "default": "bronze"}}
    source = {"metric": "requests", "unit": "{request}", "attributes": made}
    table = [
        {"host": host, "tier": row.split("/")[0], "owner": row.split("/")[1]}
        for host, row in rows.items()
    ]
    return {"source": source, "space": {"keep": ["tier"]}, "lookup": table}


@dataclass(frozen=True)
class Scenario:
    """A change.

    Attributes:
        before, after: Definitions by name, each as what is not as usual in it.
        verdicts: What is said of each that differs, by name.
        days: Whether it takes days.
    """

    name: str
    before: Mapping[str, Fields]
    after: Mapping[str, Fields]
    verdicts: Mapping[str, str] = field(default_factory=dict[str, str])
    days: bool = False

    @cached_property
    def plans(self) -> tuple[Plan, Plan]:
        return plan_of(self.before), plan_of(self.after)


def plan_of(definitions: Mapping[str, Fields]) -> Plan:
    """As they are checked and compiled from YAML, `other` among them."""
    every = {name: dict(fields) for name, fields in {"other": OTHER, **definitions}.items()}
    tables = [fields.pop("lookup") for fields in every.values() if "lookup" in fields]
    files = [file for rows in tables for file in table_files("hosts", "host", rows)]
    documents = [
        {"apiVersion": "tidemill/v1", "kind": "Metric", "name": name, **BASE, **fields}
        for name, fields in every.items()
    ]
    text = yaml.safe_dump_all(documents, sort_keys=False)
    report = check_files([SourceFile("d.yaml", text.encode()), *files])
    assert not report.errors, report.text()
    return compile_plan(report.definitions)


def one(name: str, before: Fields, after: Fields, verdict: str = "", **more: Any) -> Scenario:
    """A definition `m` changes; verdict: empty if nothing of it differs."""
    verdicts = {"m": verdict} if verdict else {}
    return Scenario(name, {"m": before}, {"m": after}, verdicts, **more)


SCENARIOS = (
    one("another owner and description", {}, {"owner": "sre", "description": "Another text"}),
    one("service levels, and names in another order", keep("host", "region"),
        {**keep("region", "host"), "service_level": {"freshness": "30s"}}),
    one("a label is dropped", {}, keep("region"), "breaking"),
    one("a label is kept", keep("region"), keep("region", "type"), "breaking"),
    one("a coarser granularity", {}, sizes("10s", "1m", "2m"), "compatible"),
    one("a finer granularity", sizes("10s", "1m", corrections="30s"),
        sizes("5s", "10s", "1m", corrections="30s"), "numbers"),
    one("a granularity goes", {}, sizes("10s"), "breaking"),
    one("the finest granularity goes", sizes("10s", "1m", corrections="40s"),
        sizes("1m", corrections="40s"), "breaking"),
    one("hopping windows come", {}, sizes("10s", "1m", "1m/10s"), "compatible"),
    one("grace", GAUGE, {**GAUGE, **sizes("10s", "1m", grace="8s")}, "numbers"),
    one("grace of a counter", {}, sizes("10s", "1m", grace="8s"), "numbers"),
    one("corrections", GAUGE, {**GAUGE, **sizes("10s", "1m", corrections="30s")}, "numbers"),
    one("another aggregate over time", GAUGE,
        {**GAUGE, "aggregate": {"over_time": "min", "over_space": "sum"}}, "numbers"),
    one("another aggregate over space", {**GAUGE, **keep("region")},
        {**GAUGE, **keep("region"), "aggregate": {"over_time": "max", "over_space": "max"}},
        "numbers"),
    one("a counter's increase becomes a rate", {},
        {"aggregate": {"over_time": "rate", "over_space": "sum"}}, "breaking"),
    one("a counter's last value becomes its increase",
        {"aggregate": {"over_time": "last", "over_space": "max"}}, {}, "breaking"),
    one("a quantile becomes another one", {**GAUGE, "aggregate": {"over_points": "p50"}},
        {**GAUGE, "aggregate": {"over_points": "p99"}}, "numbers"),
    one("a gauge becomes a histogram", GAUGE,
        {**GAUGE, "aggregate": {"over_points": {"explicit_histogram": [10, 50]}}}, "breaking"),
    one("a histogram gets another shape",
        {**GAUGE, "aggregate": {"over_points": {"explicit_histogram": [10, 50]}}},
        {**GAUGE, "aggregate": {"over_points": "exponential_histogram"}}, "breaking"),
    one("fewer streams of a counter", {}, fetch("Fetch"), "numbers"),
    one("more streams of a counter", fetch("Fetch"), fetch("Fetch", "Produce"), "numbers"),
    one("a second name of the source", fetch("Fetch"),
        {"source": {"any_of": [{"metric": "requests"}, {"metric": "requests.v2"}],
                    "unit": "{request}", "where": {"type": "Fetch"}}}, "numbers"),
    one("a pattern in place of a name", {},
        {"source": {"match": "requests*", "unit": "{request}"}}, "numbers"),
    one("another map", tiers(a="gold"), tiers(a="gold", b="silver"), "numbers"),
    one("a table with another row", looked_up(a="gold/x"), looked_up(a="gold/x", b="silver/y"),
        "numbers"),
    one("a table that says something else of a host", looked_up(a="gold/x", b="gold/x"),
        looked_up(a="silver/x", b="gold/y"), "numbers"),
    one("a table in another order, and another column of it", looked_up(a="gold/x", b="gold/y"),
        looked_up(b="gold/z", a="gold/x")),
    one("another column", looked_up(a="gold/x", b="iron/y"),
        looked_up("owner", a="gold/x", b="iron/y"), "numbers"),
    one("a map becomes a table of more", tiers(a="gold"), looked_up(a="gold/x", b="silver/x"),
        "numbers"),
    one("histogram points, fewer streams", LATENCY,
        {**LATENCY, "source": {**LATENCY["source"], "where": {"host": ["a", "c"]}}}, "numbers"),
    one("histogram points, longer grace", LATENCY,
        {**LATENCY, **sizes("10s", "1m", grace="8s")}, "numbers"),
    one("another unit", TOOK, {**TOOK, "unit": "s"}, "breaking"),
    one("another unit of what says none", {**TOOK, "unit": "ms"},
        {**TOOK, "unit": "ms", "source": {"metric": "took", "unit": "s"}}, "numbers"),
    one("a limit that is reached", GAUGE, {**GAUGE, "limits": {"series": 2}}, "numbers"),
    one("a limit that conditions keep free",
        {**JOBS, "source": {**JOBS["source"], "where": {"region": ["eu", "us"]}}, **keep("region")},
        {**JOBS, "source": {**JOBS["source"], "where": {"region": ["eu", "us"]}}, **keep("region"),
         "limits": {"series": 50}}, "compatible"),
    one("nothing on the final topic any more", {}, publish(final=False), "breaking"),
    one("on the final topic from now on", publish(final=False), {}, "compatible"),
    one("cumulative in place of delta", {}, publish(temporality="cumulative"), "breaking"),
    one("a cumulative series of fewer streams", publish(temporality="cumulative"),
        {**fetch("Fetch"), **publish(temporality="cumulative")}, "numbers"),
    one("a cumulative series survives longer", publish(temporality="cumulative"),
        publish(temporality="cumulative", expire_after=4), "numbers"),
    one("a series survives longer", JOBS, {**JOBS, **publish(expire_after=4)}, "compatible"),
    one("late amounts are carried", JOBS, {**JOBS, **publish(late="carry")}, "numbers"),
    one("late increases are carried", {}, publish(late="carry"), "breaking"),
    one("carried late amounts of fewer corrections", {**JOBS, **publish(late="carry")},
        {**JOBS, **sizes("10s", "1m", corrections="30s"), **publish(late="carry")}, "numbers"),
    one("upserts begin", {}, publish(upsert=True), "compatible"),
    one("upserts end", publish(upsert=True), {}, "breaking"),
    one("upserts of another version", {**GAUGE, **publish(upsert=True)},
        {**GAUGE, **keep("region"), **publish(upsert=True)}, "breaking"),
    one("rows are kept longer", publish(upsert=True),
        publish(upsert=True, keep={"10s": "5d"}), "compatible"),
    one("a label is dropped where nothing is on the final topic", publish(final=False),
        {**keep("region"), **publish(final=False)}, "breaking"),
    Scenario("another name", {"m": {}}, {"n": {}}, {"n": "breaking"}),
    Scenario("another name and another meaning", {"m": {}}, {"n": keep("region")},
             {"m": "breaking", "n": "compatible"}),
    Scenario("a definition comes", {}, {"m": {}}, {"m": "compatible"}),
    Scenario("a counter comes beside one of the same source", {"m": {}},
             {"m": {}, "n": {**keep("host"), **fetch("Fetch")}}, {"n": "compatible"}),
    Scenario("a definition goes", {"m": {}}, {}, {"m": "breaking"}),
    Scenario("one goes, one comes, one changes", {"m": GAUGE, "p": JOBS},
             {"m": {**GAUGE, **keep("region")}, "q": {}},
             {"m": "breaking", "p": "breaking", "q": "compatible"}),
    one("days of another zone", {**GAUGE, **sizes("1h", "1d", corrections="1d")},
        {**GAUGE, **sizes("1h", "1d", corrections="1d", zone="Europe/Berlin")}, "breaking",
        days=True),
)  # fmt: skip
