"""Patterns are matched as Python's `re` does, and in linear time where that takes for ever."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metric_registry.derive import NamePattern
from metric_registry.pattern_syntax import PatternError
from metric_registry.patterns import LONGEST_TEXT, compiled

ATOMS = ["a", "b", "-", ".", "[ab]", "[^a]", r"\d", r"\w", r"\S", "1", "[a-c1-]", r"\.", "é"]
ATOMS += [r"[\d_]", r"\W"]
REPEATS = ["*", "+", "?", "{2}", "{1,2}", "{0,3}", "{1,}"]


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        inner.map("({})".format),
        st.tuples(inner, st.sampled_from(REPEATS), st.sampled_from(["", "?"])).map(
            lambda each: f"(?:{each[0]}){each[1]}{each[2]}"
        ),
    )


patterns = st.tuples(
    st.sampled_from(["", "^"]),
    st.recursive(st.sampled_from(ATOMS), larger, max_leaves=8),
    st.sampled_from(["", "$"]),
).map("".join)


@given(patterns, st.lists(st.text("ab1-.cé_ ", max_size=10), max_size=5))
@settings(max_examples=400, deadline=None)
def test_a_pattern_finds_what_re_finds(pattern: str, texts: list[str]) -> None:
    with contextlib.suppress(PatternError):  # what can be empty is repeated
        matches_as_re(pattern, texts)


def matches_as_re(pattern: str, texts: list[str]) -> None:
    ours = compiled(pattern)
    theirs = re.compile(pattern.replace("$", r"\Z"), re.ASCII)
    for text in texts:
        match = theirs.search(text)
        assert ours.search(text) == (None if match is None else (match.group(0), *match.groups()))


def test_what_takes_a_backtracking_matcher_for_ever_takes_steps_by_length() -> None:
    pattern = compiled("^(a+)+$|(a|a)+b|(.*,){11}P")
    assert pattern.search("a" * (LONGEST_TEXT - 1) + "!") is None
    assert compiled("^(a+)+$").search("a" * LONGEST_TEXT) is not None
    assert compiled("a").search("a" * (LONGEST_TEXT + 1)) is None


@pytest.mark.parametrize(
    ("pattern", "at"),
    [
        ("a)", 1), ("(a", 0), ("a**", 2), ("*a", 0), ("(a*)*", 4), ("(?=a)", 0), (r"(a)\1", 3),
        ("[b-a]", 1), ("[]", 0), ("[a", 0), ("a{3,2}", 1), ("a{x}", 1), (r"a\b", 1), ("x" * 256, 0),
        ("((((((((((a))))))))))", 9), ("((a{100}){100}){9}", 0), ("a{1,2}{3}", 6), ("[[a]]", 1),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_told_with_its_place(pattern: str, at: int) -> None:
    with pytest.raises(PatternError) as raised:
        compiled(pattern)
    assert raised.value.at == at


@given(st.text("ab()[]{}|*+?^$.\\,-12:", max_size=14))
@settings(max_examples=300, deadline=None)
def test_anything_is_a_pattern_or_told_to_be_none(text: str) -> None:
    told = 0
    try:
        compiled(text).search("ab12")
    except PatternError as error:
        told = error.at
    assert 0 <= told <= len(text)


@given(st.text("ab.*", max_size=8), st.lists(st.text("ab.\n", max_size=9), max_size=6))
@settings(max_examples=1000, deadline=None)
def test_a_pattern_of_names_means_any_text_by_a_star(match: str, names: list[str]) -> None:
    reference = re.compile(".*".join(re.escape(part) for part in match.split("*")), re.DOTALL)
    for name in names:
        assert NamePattern.of(match).matches(name) == bool(reference.fullmatch(name))


def test_a_name_that_almost_matches_many_stars_is_looked_at_once() -> None:
    assert not NamePattern.of("*a" * 30 + "*b").matches("a" * 100_000)
