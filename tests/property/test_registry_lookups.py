"""What is looked up is what Python's own CSV has in the row; versions follow what is used of it."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import derived, levels

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from metric_registry.plan import Plan, ResolvedDefinition

TEXTS = ["a", "A", "b", "é", "x,y", 'x"y', "x\ny", "a-1", "b-2", "c ", "0", "😀"]
KEYS = [text for text in TEXTS if text == text.strip()]
CELLS = ["", *TEXTS, "gold"]
COLUMNS = ["tier", "owner", "größe"]
Rows = list[dict[str, str]]


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=len(KEYS)))
    return [{"id": key} | {one: draw(st.sampled_from(CELLS)) for one in COLUMNS} for key in keys]


@st.composite
def files(draw: st.DrawFn, rows: Rows) -> bytes:
    """The table in one of the ways that programs write it, columns and rows in any order."""
    names = draw(st.permutations(["id", *COLUMNS]))
    text = io.StringIO()
    writer = csv.DictWriter(
        text,
        names,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    writer.writeheader()
    writer.writerows(draw(st.permutations(rows)))
    said = text.getvalue() + draw(st.sampled_from(["", "\n", "\n\n"]))
    return said.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


steps = st.fixed_dictionaries(
    {"from": st.lists(st.sampled_from(["p", "q"]), min_size=1, max_size=2, unique=True)},
    optional={
        "lower": st.just(True),
        "capture": st.sampled_from(["^([a-zA-Z])", "[0-9]"]),
        "default": st.sampled_from(["none", "gold"]),
    },
)


def definition(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": "m",
        "description": "d",
        "owner": "o",
        "source": {"metric": "load", "unit": "1", "attributes": attributes},
        "space": {"keep": sorted(attributes)},
        "time": {"granularities": ["10s"]},
        "aggregate": {"over_time": "avg", "over_space": "avg"},
    } | fields


def resolved(data: bytes, *docs: dict[str, Any], name: str = "hosts") -> list[ResolvedDefinition]:
    lookup = {"apiVersion": "tidemill/v1", "kind": "Lookup", "name": name, "key": "id"}
    text = "\n---\n".join(map(json.dumps, [{**lookup, "file": "t.csv"}, *docs]))
    report = check_files([SourceFile("d.yaml", text.encode()), SourceFile("t.csv", data)])
    assert not report.errors, report.text()
    return list(report.definitions)


@given(st.data(), tables(), steps, st.sampled_from(COLUMNS))
@settings(max_examples=200, deadline=None)
def test_an_attribute_is_what_stands_in_the_row(
    data: st.DataObject, rows: Rows, made: dict[str, Any], column: str
) -> None:
    doc = definition({column: {**made, "lookup": "hosts"}})
    other = definition({"x": {**made, "lookup": "hosts", "column": column}}, name="n")
    found, again = resolved(data.draw(files(rows)), doc, other)
    assert found.attributes[0].table == again.attributes[0].table
    wanted = {**made, "lookup": {"key": "id", "column": column, "rows": rows}}
    for p in (None, *TEXTS):
        for q in (None, "a", "zz"):
            stream = {name: text for name, text in (("p", p), ("q", q)) if text is not None}
            assert found.attributes[0].of(stream.get) == derived.value(wanted, stream.get)


@given(st.data(), tables(), tables(), st.sampled_from(COLUMNS))
@settings(max_examples=100, deadline=None)
def test_a_version_follows_the_columns_that_are_used(
    data: st.DataObject, rows: Rows, others: Rows, column: str
) -> None:
    doc = definition({"x": {"from": "p", "lookup": "hosts", "column": column}})
    used = [{row["id"]: row[column] for row in each if row[column]} for each in (rows, others)]
    (one,) = resolved(data.draw(files(rows)), doc)
    (again,) = resolved(data.draw(files(rows)), doc)
    (other,) = resolved(data.draw(files(others)), doc)
    assert one == again
    assert compile_plan([one]).to_json() == compile_plan([again]).to_json()
    assert (one.version == other.version) == (used[0] == used[1])
    renamed = definition({"x": {"from": "p", "lookup": "machines", "column": column}})
    (called,) = resolved(data.draw(files(rows)), renamed, name="machines")
    assert called.version == one.version


@given(st.data(), tables())
@settings(max_examples=60, deadline=None)
def test_a_plan_holds_each_table_once_and_is_read_as_it_was_written(
    data: st.DataObject, rows: Rows
) -> None:
    looked = {name: {"from": "p", "lookup": "hosts"} for name in COLUMNS}
    docs = [
        definition(looked, name=f"n{number}", limits={"series": 9 + number}) for number in range(5)
    ]
    plan = compile_plan(resolved(data.draw(files(rows)), *docs))
    stored = json.loads(plan.to_json())
    used = {
        json.dumps({row["id"]: row[one] for row in rows if row[one]}, sort_keys=True)
        for one in COLUMNS
    }
    assert sorted(used) == sorted(
        json.dumps(each, sort_keys=True) for each in stored["tables"].values()
    )
    read = Plan.from_json(plan.to_json())
    assert read == plan
    assert read.to_json() == plan.to_json()
    for was, now in zip(plan.definitions, read.definitions, strict=True):
        for old, new in zip(was.attributes, now.attributes, strict=True):
            assert [new.of({"p": text}.get) for text in TEXTS] == [
                old.of({"p": text}.get) for text in TEXTS
            ]


@given(tables(), st.sampled_from(COLUMNS))
@settings(max_examples=30, deadline=None)
def test_levels_may_be_looked_up(rows: Rows, column: str) -> None:
    assume(rows)
    looked = {"place": {"from": "p", "lookup": "hosts", "column": column}}
    space = {"space": {"keep": [], "hierarchy": ["p", "place", "all"]}}
    doc = definition(looked, **space)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", *COLUMNS])
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    found = resolved(data, doc)
    assert found == resolved(data, *levels.apart(doc))
    assert [len(one.attributes) for one in found] == [1, 1, 0]
