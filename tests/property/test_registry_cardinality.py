"""What a definition can have at most is what all streams that there could be have."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import derived

from metric_registry.cardinality import groups_at_most
from metric_registry.models import MetricDefinition
from metric_registry.resolve import resolve

STREAMS = ["a", "b"]
MADE = ["x", "y", "a"]
TEXTS = ["p", "q", "P"]


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {
        "from": draw(st.lists(st.sampled_from(STREAMS), min_size=1, max_size=2, unique=True))
    }
    if draw(st.booleans()):
        made["map"] = draw(
            st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(["1", "2"]), min_size=1)
        )
    made |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "default": st.sampled_from(["1", "3"]),
                "lower": st.just(True),
                "capture": st.just("^(p|q)"),
            },
        )
    )
    return made


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    made = draw(st.dictionaries(st.sampled_from(MADE), steps(), max_size=2))
    names = [*STREAMS, "x", "y"]
    values = st.lists(st.sampled_from([*TEXTS, "1"]), min_size=1, max_size=3, unique=True)
    where = draw(st.dictionaries(st.sampled_from(names), values, max_size=3))
    keep = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    return {"keep": keep, "where": where, "attributes": made}


def groups(given: dict[str, Any], fresh: list[str]) -> set[tuple[str | None, ...]]:
    """Of every stream that has texts of the definition, or the fresh ones, or none."""
    texts: list[str | None] = [None, *TEXTS, "1", *fresh]
    found: set[tuple[str | None, ...]] = set()
    names = {*given["keep"], *given["where"]} - {*given["attributes"]}
    names |= {name for made in given["attributes"].values() for name in made["from"]}
    for values in itertools.product(texts, repeat=len(names)):
        raw = dict(zip(sorted(names), values, strict=True)).get

        def value(name: str, raw: Any = raw) -> str | None:
            made = given["attributes"].get(name)
            return raw(name) if made is None else derived.value(made, raw)

        if all(value(name) in listed for name, listed in given["where"].items()):
            found.add(tuple(value(name) for name in given["keep"]))
    return found


def at_most(given: dict[str, Any], distinct: dict[str, int] | None = None) -> int | None:
    document = {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": "m",
        "source": {"metric": "r", "unit": "By"}
        | {name: given[name] for name in ("where", "attributes") if given[name]},
        "space": {"keep": given["keep"]},
        "time": {"granularities": ["1m"]},
        "aggregate": {"over_time": "increase"},
    }
    one = resolve(MetricDefinition.model_validate(document))
    return groups_at_most(one.keep, dict(one.where), one.attributes, distinct or {})


def is_plain(made: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether an attribute is made of one, by a map or of what a condition lists."""
    source, *others = made["from"]
    listed = source in given["where"] and source not in given["attributes"]
    return not others and (listed or ("map" in made and not {"lower", "capture"} & {*made}))


@given(definitions())
@settings(max_examples=150, deadline=None)
def test_no_stream_makes_more_groups_than_are_said(given: dict[str, Any]) -> None:
    most = at_most(given)
    few, many = len(groups(given, ["z"])), len(groups(given, ["z", "pz", "qz"]))
    if most is None:
        event("not bounded")
        return
    event("bounded")
    assert few <= many <= most
    if all(is_plain(made, given) for made in given["attributes"].values()):
        event("to the group")
        assert few == many == most, "texts that nobody has thought of make no groups"


@given(definitions())
@settings(max_examples=150, deadline=None)
def test_what_is_said_to_have_no_bound_has_none(given: dict[str, Any]) -> None:
    """But for patterns, of which nobody says what they can write, and for attributes that are
    bounded by conditions on what is made of them, or on each other."""
    few = groups(given, ["z0"])
    patterns = any("capture" in made for made in given["attributes"].values())
    indirect = given["where"].keys() & given["attributes"].keys() or len(given["attributes"]) > 1
    if at_most(given) is None and few and not patterns and not indirect:
        event("no bound")
        assert len(groups(given, ["z0", "z1"])) > len(few)


@given(definitions(), st.dictionaries(st.sampled_from([*STREAMS, "x", "y"]), st.integers(1, 9)))
@settings(max_examples=150, deadline=None)
def test_what_somebody_has_counted_bounds_what_nothing_else_does(
    given: dict[str, Any], distinct: dict[str, int]
) -> None:
    most, counted = at_most(given), at_most(given, distinct)
    if most is not None:
        assert counted is not None
        assert counted <= most
    elif counted is not None:
        assert counted <= 9 ** len(given["keep"])
    if not given["attributes"] and not given["where"]:
        product = 1
        for name in given["keep"]:
            product *= distinct.get(name, 0)
        assert counted == (product or None)
