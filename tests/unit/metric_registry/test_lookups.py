"""Lookups on a real disk, what of them is refused, and how plans hold their tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metric_registry.check import Report, check, check_files
from metric_registry.compile import compile_plan
from metric_registry.differences.compare import differences
from metric_registry.differences.report import text
from metric_registry.load import SourceFile
from metric_registry.lookups import MOST_BYTES, MOST_KEYS
from metric_registry.plan import Plan, PlanError, ResolvedDefinition
from metric_registry.rules import Settings
from topologies.deployment import Deployment, changed
from topologies.epochs import ONE_EPOCH

SECOND = 10**9
LOOKUP = """apiVersion: tidemill/v1
kind: Lookup
name: clusters
file: clusters.csv
key: id
"""
DEFINITION = """apiVersion: tidemill/v1
kind: Metric
name: {name}
description: Load
owner: team
source:
  metric: load
  unit: "1"
  attributes:
    customer: {{from: cluster, lookup: clusters, default: unknown}}
    tier: {{from: cluster, lookup: clusters}}
space: {{keep: [customer, tier]}}
time: {{granularities: [10s], grace: 2s, corrections: 1h}}
aggregate: {{over_time: avg, over_space: avg}}
limits: {{series: {series}}}
"""
TABLE = "id,customer,tier,note\nc1,acme,gold,\nc2,globex,silver,big\n"


def given(table: str | bytes = TABLE, names: int = 1, settings: Settings | None = None) -> Report:
    data = table if isinstance(table, bytes) else table.encode()
    docs = [DEFINITION.format(name=f"m{n}", series=100_000 + n) for n in range(names)]
    files = [SourceFile("d.yaml", "---\n".join([LOOKUP, *docs]).encode())]
    return check_files([*files, SourceFile("clusters.csv", data)], settings or Settings())


def one(table: str = TABLE) -> ResolvedDefinition:
    report = given(table)
    assert not report.findings, report.text()
    return report.definitions[0]


def large(keys: int, text: str = "some customer") -> str:
    rows = (f"cluster-{n:06},{text} {n},tier {n % 3},\n" for n in range(keys))
    return "id,customer,tier,note\n" + "".join(rows)


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_misspelled_kind_is_one_finding_also_where_the_table_is_used() -> None:
    text = f"{LOOKUP.replace('Lookup', 'Lookups')}---\n{DEFINITION.format(name='m', series=9)}"
    files = [SourceFile("d.yaml", text.encode()), SourceFile("clusters.csv", TABLE.encode())]
    report = check_files(files)
    assert codes(report) == ["TM105"]
    assert report.findings[0].help == "write `Lookup`"
    assert report.definitions == ()


def test_a_table_stands_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "team").mkdir()
    (tmp_path / "shared" / "lookups.yaml").write_text(LOOKUP)
    (tmp_path / "shared" / "clusters.csv").write_text(TABLE)
    text = DEFINITION.format(name="m", series=9)
    (tmp_path / "team" / "m.yaml").write_text(f"{text}include: ../shared/lookups.yaml\n")
    for paths in ([tmp_path / "team" / "m.yaml"], [tmp_path / "team"], [tmp_path]):
        report = check(paths)
        assert not report.findings, report.text()
        assert [made.column for made in report.definitions[0].attributes] == [
            "clusters.customer", "clusters.tier"
        ]  # fmt: skip
    both = LOOKUP + "---\n" + LOOKUP.replace("name: clusters", "name: others")
    (tmp_path / "shared" / "lookups.yaml").write_text(both)
    assert codes(check([tmp_path])) == ["TM522"]
    assert codes(check([tmp_path / "team"])) == []


def test_a_table_is_found_by_each_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "clusters.csv").write_text(TABLE)
    (tmp_path / "a" / "d.yaml").write_text(LOOKUP + "---\n" + DEFINITION.format(name="m", series=9))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "clusters.csv").symlink_to(tmp_path / "a" / "clusters.csv")
    other = (LOOKUP + "---\n" + DEFINITION.format(name="n", series=8)).replace(
        "clusters\n", "same\n"
    )
    (tmp_path / "b" / "d.yaml").write_text(other.replace("lookup: clusters", "lookup: same"))
    report = check([tmp_path / "a", tmp_path / "b"])
    assert not report.findings, report.text()
    tables = {made.table for each in report.definitions for made in each.attributes}
    assert len(tables) == 2


def test_a_file_that_is_not_there_and_one_that_is_a_table_are_told(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(LOOKUP + "---\n" + DEFINITION.format(name="m", series=9))
    (finding,) = check([tmp_path]).findings
    assert (finding.code, finding.line) == ("TM001", 4)
    assert "clusters.csv`: No such file" in finding.message
    (tmp_path / "clusters.csv").write_text(TABLE)
    assert codes(check([tmp_path / "clusters.csv"])) == ["TM004"]
    assert "table" in check([tmp_path / "clusters.csv"]).findings[0].message


def test_a_table_that_is_too_large_or_no_text_is_refused_with_what_uses_it() -> None:
    report = given(TABLE.encode("utf-8") + b"c\xff,x,y,z\n")
    assert codes(report) == ["TM002"]
    assert "line 4 of `clusters.csv`" in report.findings[0].message
    assert report.definitions == ()
    assert codes(given(large(100), settings=Settings(largest_file=2_000))) == ["TM010"]
    assert codes(given(large(MOST_KEYS))) == []
    report = given(large(MOST_KEYS + 1))
    assert codes(report) == ["TM110"]
    assert report.definitions == ()


def test_columns_that_are_too_large_together_are_refused_and_those_of_nobody_count_not() -> None:
    long = "x" * 150
    table = "".join(f"{n:05},a,b,{long}\n" for n in range(MOST_KEYS))
    assert codes(given("id,customer,tier,note\n" + table)) == []
    table = "".join(f"{n:05},{long},b,\n" for n in range(MOST_KEYS))
    report = given("id,customer,tier,note\n" + table, names=3)
    assert codes(report) == ["TM411"]
    assert f"{MOST_BYTES:,}" in report.findings[0].help


def test_a_plan_of_many_definitions_is_not_larger_by_a_table_each() -> None:
    alone = len(compile_plan(given(large(10_000)).definitions).to_json())
    without = len(compile_plan(given("id,customer,tier,note\nc1,a,b,\n").definitions).to_json())
    many = len(compile_plan(given(large(10_000), names=60).definitions).to_json())
    assert many < alone + 60 * without


def test_a_table_that_is_damaged_or_lost_is_no_table() -> None:
    plan = compile_plan([one()])
    stored = json.loads(plan.to_json())
    digest = next(iter(stored["tables"]))
    other = {**stored, "tables": {**stored["tables"], digest: {"c1": "somebody"}}}
    lost = {**stored, "tables": {}}
    for damaged, said in ((other, "a table says digest"), (lost, "it lacks the table")):
        with pytest.raises(PlanError, match=said):
            Plan.from_json(json.dumps(damaged).encode())


def test_a_version_that_was_replaced_keeps_its_table() -> None:
    """In what tasks store, until its windows cannot change any more: they are its own."""
    before, after = one(), one(TABLE.replace("globex", "initech"))
    assert before.version != after.version
    said = [each.attributes[0].of({"cluster": "c2"}.get) for each in (before, after, before)]
    assert said == ["globex", "initech", "globex"]
    deployed = changed(
        Deployment(compile_plan([before])), compile_plan([after]), 100 * SECOND, ONE_EPOCH
    )
    read = Deployment.from_json(deployed.to_json())
    assert read == deployed
    found = {
        each.version: dict(each.attributes[0].table.entries)["c2"]
        for each in read.plan.definitions
        if each.attributes[0].table is not None
    }
    assert found == {before.version: "globex", after.version: "initech"}
    assert [each.version for each in read.begun(99 * SECOND)] == [before.version]
    assert [each.version for each in read.begun(100 * SECOND)] == [after.version]


def test_a_difference_says_which_keys_changed() -> None:
    after = TABLE.replace("gold", "iron") + "".join(f"n{n},hooli,gold,\n" for n in range(5))
    said = text(differences((one(),), (one(after),)))
    assert (
        "source.attributes.customer: clusters.customer, 2 keys -> clusters.customer, 7 keys" in said
    )
    assert "5 keys added (n0: hooli, n1: hooli, n2: hooli, ...): streams fall into" in said
    assert "1 key changed (c1: gold -> iron)" in said
    assert "globex" not in said
    gone = text(differences((one(),), (one(TABLE.replace("c2,", "c3,")),)))
    assert "1 key added (c3: globex), 1 key removed (c2: globex)" in gone


def test_what_nobody_takes_is_no_difference() -> None:
    other = TABLE.replace("big", "small").replace("id,customer", "id,customer")
    assert not differences((one(),), (one(other),))
    swapped = "note,tier,id,customer\nbig,silver,c2,globex\n,gold,c1,acme\n"
    assert not differences((one(),), (one(swapped),))
