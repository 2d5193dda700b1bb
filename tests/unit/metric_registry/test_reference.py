"""docs/definition-reference.md is what the models and the catalogue give, and is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from metric_registry.cases import models as cases
from metric_registry.catalogue import CATALOGUE
from metric_registry.check import check_files
from metric_registry.derived.schema import schema
from metric_registry.load import SourceFile
from metric_registry.plan import SEMANTIC_FIELDS
from metric_registry.reference import VERSIONED, reference, slug

PAGE = Path(__file__).resolve().parents[3] / "docs" / "definition-reference.md"
DEFINITION: dict[str, Any] = {
    "apiVersion": "tidemill/v1",
    "kind": "Metric",
    "name": "served.requests",
    "description": "Requests served",
    "owner": "team",
    "source": {"metric": "requests", "unit": "s"},
    "space": {"keep": ["region"]},
    "time": {"granularities": ["10s", "1d"]},
    "aggregate": {"over_time": "sum", "over_space": "sum"},
}
CHANGED: dict[str, dict[str, Any]] = {
    "": {"name": "other.requests", "description": "Others", "owner": "nobody", "unit": "ms",
         "environments": {"dev": {"owner": "somebody"}}},
    "source": {"metric": "others", "match": "request*", "any_of": [{"metric": "a"}],
               "attributes": {"region": "zone"}, "where": {"type": "Fetch"}, "unit": "min",
               "instrument": "histogram"},
    "space": {"keep": ["zone"], "hierarchy": ["zone", "all"]},
    "time": {"granularities": ["1m", "1d"], "zone": "Europe/Berlin", "grace": "3s",
             "corrections": "3h"},
    "aggregate": {"over_time": "max", "over_space": "max", "over_points": "stddev"},
    "publish": {"final": False, "upsert": True, "temporality": "cumulative", "late": "carry",
                "expire_after": 9, "keep": {"10s": "9d"}},
    "limits": {"series": 7},
    "service_level": {"freshness": "5m", "completeness": "99%"},
}  # fmt: skip
"""Another value of every field that has one."""
ONLY_ONE = {"apiVersion", "kind", "limits.beyond"}
ELSEWHERE = {"include", "extends"}
"""What they bring are fields that somebody else writes."""


def version(definition: dict[str, Any]) -> str:
    text = json.dumps(definition)
    report = check_files([SourceFile("d.yaml", text.encode())])
    assert not report.errors, report.text()
    return report.definitions[0].version


def changed(section: str, field: str) -> dict[str, Any]:
    value = CHANGED[section][field]
    if not section:
        return DEFINITION | {field: value}
    part = dict(DEFINITION.get(section, {}))
    if field in ("match", "any_of"):
        del part["metric"]
    if field == "over_points":
        part = {}
    made = DEFINITION | {section: part | {field: value}}
    if field == "instrument":
        made["aggregate"] = {"over_points": "avg"}
    return made


def tables() -> dict[str, list[list[str]]]:
    """The rows of each section's table, of definitions."""
    page = reference().partition("## Defaults")[0]
    found: dict[str, list[list[str]]] = {}
    section = ""
    for line in page.split("\n"):
        if line.startswith("### "):
            section = line.removeprefix("### ").strip("`")
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(section, []).append(cells)
    return found


def test_the_page_is_what_the_models_give() -> None:
    assert PAGE.read_text() == reference(), "make reference"


def marked() -> dict[tuple[str, str], bool]:
    return {
        (section, row[0].strip("`")): row[3] == "●"
        for section, rows in tables().items()
        if section in CHANGED
        for row in rows
        if "section](" not in row[1] or row[1].startswith(("list", "map"))
    }


def test_every_field_of_a_definition_has_another_value_here() -> None:
    named = {f"{section}.{field}".removeprefix(".") for section, field in marked()}
    here = {f"{s}.{field}".removeprefix(".") for s, fields in CHANGED.items() for field in fields}
    assert named - ONLY_ONE - ELSEWHERE == here


@pytest.mark.parametrize(
    ("section", "field"), [(s, field) for s, fields in CHANGED.items() for field in fields]
)
def test_a_field_is_marked_if_its_change_makes_another_version(section: str, field: str) -> None:
    base = changed(section, field)
    if field == "instrument":
        base["source"] = DEFINITION["source"]
        assert (version(base) != version(changed(section, field))) == marked()[section, field]
        return
    assert (version(DEFINITION) != version(base)) == marked()[section, field]


def test_what_makes_a_version_is_what_plans_hash() -> None:
    assert set(VERSIONED) == {*SEMANTIC_FIELDS, "zone_rules"}


def test_every_field_that_editors_are_told_of_is_there() -> None:
    page = reference()
    for found in (schema(), cases.schema()):
        sections = [found, found.get("else", {}), *found["$defs"].values()]
        names = {name for each in sections for name in each.get("properties", {})}
        assert len(names) > 20
        for name in names:
            assert f"\n| `{name}` |" in page, name


def test_every_code_is_there_with_its_example() -> None:
    page = reference()
    for code, entry in CATALOGUE.items():
        assert f"\n#### {code}: {entry.title}\n" in page
        assert entry.example in page
        assert entry.fix in page


def test_its_links_lead_somewhere() -> None:
    page = PAGE.read_text()
    headings = [slug(line.lstrip("# ")) for line in page.split("\n") if line.startswith("#")]
    assert len(headings) == len(set(headings)), "GitHub would number them"
    for target in re.findall(r"\]\(([^)]+)\)", page):
        if target.startswith("#"):
            assert target.removeprefix("#") in headings, target
        else:
            assert (PAGE.parent / target).exists(), target
