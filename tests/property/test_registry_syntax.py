"""The quick YAML reader against the full one: what it accepts, it reads as the full one does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metric_registry.syntax import full, parse, quick
from metric_registry.syntax.nodes import Node, to_data

DEFINITIONS = Path(__file__).parents[2] / "metric_registry" / "definitions"
CHUNKS = [
    chunk
    for path in sorted(DEFINITIONS.glob("*.yaml"))
    for chunk in path.read_text().split("---\n")
]
PIECES = [
    *(": ", " #", "#", "- ", "-", "{", "}", "[", "]", ", ", ",", "\n", "\n  ", "\n    ", "\n- "),
    *('"', "'", "a", "b: c", "key", "10s", "99.9%", "|", ">", "&x ", "*x", "!t ", "? ", "%", "@"),
    *("...", "---", "\t", "é", "—", "~", "null", "1", "\\", "`", "=", "<<: ", ":", " ", "  ", "''"),
]


def agree(chunk: str) -> None:
    mine = quick.parse(chunk, 1)
    if mine is None:
        return
    theirs, problems = full.parse(chunk, 1)
    assert (mine, problems) == (theirs, ())


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=1500, deadline=None)
@example("a:\n- b\n-c: d")
@example("a: b\n c: d")
@example("a: {" + "k" * 1100 + ": 1}")
@example("---#]null\n- b: c")
@example("- a: b\n  c: d\n- - e\n  - f")
def test_the_quick_reader_agrees_on_fragments(chunk: str) -> None:
    agree(chunk)


@given(
    st.sampled_from(CHUNKS),
    st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 3), st.sampled_from(PIECES)), max_size=2
    ),
)
@settings(max_examples=400, deadline=None)
def test_the_quick_reader_agrees_on_definitions_with_mistakes(
    chunk: str, edits: list[tuple[int, int, str]]
) -> None:
    for at, removed, added in edits:
        at %= len(chunk)
        chunk = chunk[:at] + added + chunk[at + removed :]
    agree(chunk)


plain = st.text("abcXYZ019_.é", min_size=1, max_size=8)
scalars = st.one_of(
    plain,
    plain.map(lambda text: f'"{text}: {text}"'),
    plain.map(lambda text: f"'{text} # {text}'"),
    st.sampled_from(["1", "-2.5", "true", "10s", "99.9%", "~"]),
)


def flow(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(children, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.dictionaries(plain, children, max_size=3).map(
            lambda entries: "{" + ", ".join(f"{k}: {v}" for k, v in entries.items()) + "}"
        ),
    )


flows = st.recursive(scalars, flow, max_leaves=6)
tree = st.recursive(
    flows.map(lambda text: [text]),
    lambda children: st.one_of(
        st.lists(children, min_size=1, max_size=3),
        st.dictionaries(plain, children, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def write(value: object, indent: int) -> list[str]:
    """Lines of block style; a list of one text is a value that fits on a line."""
    pad = " " * indent
    if isinstance(value, dict):
        lines: list[str] = []
        for key, child in value.items():
            lines += entry(f"{pad}{key}:", child, indent)
        return lines
    assert isinstance(value, list)
    lines = []
    for child in value:
        lines += entry(f"{pad}-", child, indent)
    return lines


def entry(head: str, child: object, indent: int) -> list[str]:
    if isinstance(child, list) and len(child) == 1 and isinstance(child[0], str):
        return [f"{head} {child[0]}  # why", ""]
    return [head, *write(child, indent + 2)]


@given(st.dictionaries(plain, tree, min_size=1, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_quick_reader_agrees_on_block_style(value: dict[str, object], marked: bool) -> None:
    agree("\n".join([*(["---"] if marked else []), *write(value, 0)]) + "\n")


@pytest.mark.parametrize("path", sorted(DEFINITIONS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_starter_definitions_are_read_by_the_quick_reader(path: Path) -> None:
    for chunk in path.read_text().split("---\n"):
        assert quick.parse(chunk, 1) is not None
        agree(chunk)


def data(text: str) -> list[object]:
    roots: list[Node | None] = [document.root for document in parse(text)]
    return [None if root is None else to_data(root) for root in roots]


@given(st.lists(st.dictionaries(plain, flows, min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_documents_are_read_one_by_one_as_together(documents: list[dict[str, str]]) -> None:
    texts = ["".join(f"{k}: {v}\n" for k, v in document.items()) for document in documents]
    assert data("---\n".join(texts)) == [one for text in texts for one in data(text)]
