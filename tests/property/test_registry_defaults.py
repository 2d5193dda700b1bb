"""What definitions take from defaults, against plain dictionaries laid over one another."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import inheritance

from metric_registry.check import check_files
from metric_registry.load import SourceFile
from metric_registry.models import MetricDefinition
from metric_registry.rules import Settings

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # to shrink a world takes minutes
FOLDERS = ["a", "a/b", "c"]
NAMED = ["base", "counters", "gauges"]
DURATION = st.sampled_from(["1s", "2s", "15s", "20s"])
LONG = st.sampled_from(["1h", "2h", "24h"])
KEEP = st.dictionaries(st.sampled_from(["1m", "60s", "1h"]), st.sampled_from(["9d", "30d"]))


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def one_spelling(keep: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in keep.items() if not (k == "60s" and "1m" in keep)}


PUBLISH = some(final=st.booleans(), upsert=st.booleans(), keep=KEEP.map(one_spelling))
LIMITS = some(series=st.integers(1, 5))
MADE = st.sampled_from(
    ["y", ["y", "v"], {"from": "w", "lower": True}, {"from": "z", "default": ""}]
)
ATTRIBUTES = st.dictionaries(st.sampled_from("xyz"), MADE, max_size=2)
WHERE = st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["1", "p", ["p", "q"]]), max_size=2)
OVERRIDE = some(
    owner=st.sampled_from(["dev", "ops"]),
    time=some(grace=DURATION, corrections=LONG),
    publish=PUBLISH,
    limits=LIMITS,
)
AGGREGATE = st.sampled_from(
    [{"over_points": "p99"}, {"over_time": "avg", "over_space": "sum"}, {"over_time": "increase"}]
)
NAMES = st.sampled_from(
    [
        {}, {"metric": "m"}, {"match": "m*"}, {"any_of": [{"match": "*o"}, {"metric": "m"}]},
        {"metric": "n"}, {"any_of": [{"metric": "m"}, {"metric": "o"}]},
    ]
)  # fmt: skip


@st.composite
def layer(draw: st.DrawFn) -> dict[str, Any]:
    fields = draw(
        some(
            owner=st.sampled_from(["team-a", "team-b"]),
            unit=st.sampled_from(["s", "ms"]),
            space=some(keep=st.lists(st.sampled_from("xyz"), unique=True)).filter(bool),
            time=some(
                granularities=st.sampled_from([["1m"], ["10s", "1m"], ["1m", "1h"]]),
                grace=DURATION, corrections=LONG, zone=st.sampled_from(["UTC", "Europe/Berlin"]),
            ),
            aggregate=AGGREGATE, publish=PUBLISH, limits=LIMITS,
            environments=st.dictionaries(st.sampled_from(["dev", "prod"]), OVERRIDE),
        )
    )  # fmt: skip
    source = draw(NAMES) | draw(
        some(unit=st.sampled_from(["s", "min"]), where=WHERE, attributes=ATTRIBUTES)
    )
    return fields | ({"source": source} if source else {})


def without_keep(fields: dict[str, Any]) -> dict[str, Any]:
    """A definition's own, which speaks of no windows that it may not compute."""
    said: dict[str, Any] = dict(fields)
    if "publish" in said:
        said["publish"] = {k: v for k, v in said["publish"].items() if k != "keep"}
    if "environments" in said:
        inner = said["environments"].items()
        said["environments"] = {name: without_keep(each) for name, each in inner}
    return said


COMPLETE = {"source": {"metric": "p", "unit": "s"}, "space": {"keep": []}} | {
    "time": {"granularities": ["1m"]}, "aggregate": {"over_time": "sum", "over_space": "sum"}
}  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """Documents by path."""
    files: dict[str, list[dict[str, Any]]] = {}
    head = {"apiVersion": "tidemill/v1"}
    outermost = {k: v for k, v in draw(layer()).items() if k not in COMPLETE}
    of_both = {"dev": {}, "prod": {}} | outermost.get("environments", {})
    files["_defaults.yaml"] = [
        head | {"kind": "Defaults"} | COMPLETE | outermost | {"environments": of_both}
    ]
    for folder in draw(st.lists(st.sampled_from(FOLDERS), unique=True)):
        path = str(PurePosixPath(folder) / "_defaults.yaml")
        extends = draw(some(extends=st.sampled_from(NAMED)))
        files[path] = [head | {"kind": "Defaults"} | draw(layer()) | extends]
    for number, name in enumerate(NAMED):
        extends = {"extends": draw(st.lists(st.sampled_from(NAMED[: max(1, number)]), unique=True))}
        document = head | {"kind": "Defaults", "name": name} | draw(layer())
        files[f"{draw(st.sampled_from(['', 'c/', 'z/']))}{name}.yaml"] = [
            document | (extends if number else {})
        ]
    for number in range(draw(st.integers(1, 3))):
        folder = draw(st.sampled_from([*FOLDERS, "a/b/c", "d"]))
        base: dict[str, Any] = {"kind": "Metric", "name": f"n{number}", "description": "d"}
        extends = draw(some(extends=st.lists(st.sampled_from(NAMED), unique=True)))
        files[str(PurePosixPath(folder) / f"n{number}.yaml")] = [
            head | base | without_keep(draw(layer())) | extends
        ]
    return files


def checked(files: dict[str, list[dict[str, Any]]], environment: str = "", backwards: bool = False):
    given = [
        SourceFile(path, "\n---\n".join(json.dumps(doc) for doc in documents).encode())
        for path, documents in files.items()
    ]
    return check_files(given[::-1] if backwards else given, Settings(environment=environment))


@given(worlds(), st.sampled_from(["", "dev", "prod"]), st.booleans())
@settings(max_examples=80, deadline=None, phases=PHASES)
def test_definitions_are_what_plain_dictionaries_laid_over_one_another_are(
    files: dict[str, list[dict[str, Any]]], environment: str, backwards: bool
) -> None:
    docs = [(PurePosixPath(path).parent, doc) for path, every in files.items() for doc in every]
    plain = {
        f"{doc['name']}.yaml": [without_strangers(doc)]
        for doc in inheritance.whole(docs, environment)
    }
    report, expected = checked(files, environment, backwards), checked(plain)
    assert report.errors == (), report.text()
    assert expected.errors == (), expected.text()
    found = {entry.resolved.name: (entry.resolved, entry.model.owner) for entry in report.entries}
    assert found == {one.resolved.name: (one.resolved, one.model.owner) for one in expected.entries}


def without_strangers(doc: dict[str, Any]) -> dict[str, Any]:
    """A flat definition; of windows that it does not compute defaults may speak, it may not."""
    keep = doc.get("publish", {}).get("keep", {})
    mine = {k: v for k, v in keep.items() if k in doc["time"]["granularities"]}
    return {**doc, "publish": {**doc.get("publish", {}), "keep": mine}}


@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None, phases=PHASES)
def test_findings_and_versions_do_not_depend_on_the_order_of_files(
    files: dict[str, list[dict[str, Any]]], random: Any
) -> None:
    one = checked(files, "dev")
    order = list(files.items())
    random.shuffle(order)
    other = checked(dict(order), "dev")
    assert one.text() == other.text()
    assert one.definitions == other.definitions


def changed(files: dict[str, list[dict[str, Any]]], path: str, name: str, said: Any) -> bool:
    """Whether a definition is another where a file says something else of an environment."""
    other = {**files, path: [copy.deepcopy(doc) for doc in files[path]]}
    other[path][0]["environments"][name] = said
    before, after = (
        inheritance.whole([(PurePosixPath(at).parent, doc) for at, (doc,) in each.items()], name)
        for each in (files, other)
    )
    return [MetricDefinition.model_validate(doc) for doc in before] != [
        MetricDefinition.model_validate(doc) for doc in after
    ]


@given(worlds())
@settings(max_examples=80, deadline=None, phases=PHASES)
def test_an_environment_that_is_said_to_change_nothing_changes_nothing(
    files: dict[str, list[dict[str, Any]]],
) -> None:
    told = {
        (finding.file, finding.source[finding.column :][: finding.length - 2])
        for finding in checked(files).findings
        if finding.code == "TM515"
    }
    speak = [
        (path, name)
        for path, (doc,) in files.items()
        for name, said in doc.get("environments", {}).items()
        if said
    ]
    assert told <= set(speak)
    for path, name in speak:
        changes = changed(files, path, name, {})
        if (path, name) in told:
            event("changes nothing")
            assert not changes
        elif [each for _, each in speak].count(name) == 1:
            event("alone")  # so what it says counts, if anybody takes it
            assert changes or not changed(files, path, name, {"owner": "nobody else"})
