"""All of YAML 1.2, read by ruamel.yaml's parser; slow, and exact about what is wrong and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from metric_registry.syntax.nodes import Mapping, Node, Problem, Scalar, Sequence

MAX_DEPTH = 50
MAX_NODES = 100_000
"""After aliases are followed: a small file can describe a tree that fills the memory."""

_SPELLED_OUT = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_OPENING = re.compile(r"""(?:[:\-,\[{] +)(["'])""")
_COMPLAINTS = (
    (
        "mapping values are not allowed",
        "a `: ` where a value goes on",
        "put quotes around a value that holds `: `",
    ),
    (
        "a flow sequence",
        "a list that is not closed, or lacks a comma",
        "write `[a, b]`",
    ),
    (
        "a flow mapping",
        "a mapping that is not closed, or lacks a comma",
        "write `{a: 1, b: 2}`",
    ),
    (
        "expected <block end>",
        "the indentation fits none of the lines above, or something stands after a value",
        "give the fields of a section the same indentation",
    ),
    (
        "could not find expected ':'",
        "a word without `: `",
        "write `field: value`",
    ),
    (
        "cannot start any token",
        "a character that no value begins with",
        "put quotes around the value",
    ),
)
"""What ruamel.yaml says, in part; what that means; what to do."""
_INDENTED_BY_TAB = re.compile(r"^ *\t", re.MULTILINE)


def parse(chunk: str, first_line: int) -> tuple[Node | None, tuple[Problem, ...]]:
    """The tree of one document, or None and what is wrong; a tree can have problems as well.

    `first_line` is the number that the chunk's first line has in its file.
    """
    builder = _Builder(first_line)
    try:
        root = builder.build(_events(chunk))
    except _Stop as stop:
        return None, (*builder.problems, stop.problem)
    except RecursionError:
        return None, (_too_deep(first_line, 1),)
    except YAMLError as error:
        return None, (_syntax_problem(error, chunk, first_line),)
    return root, tuple(builder.problems)


class _Stop(Exception):
    """Ends the walk; carries what is wrong."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _events(chunk: str) -> Iterator[Any]:
    """ruamel.yaml's events; the one place that touches its untyped interface."""
    return cast(Iterator[Any], YAML(typ="safe", pure=True).parse(chunk))  # pyright: ignore[reportUnknownMemberType]


class _Builder:
    """Builds the tree from events; anchors are resolved, repeated keys reported."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = 0
        self.problems: list[Problem] = []

    def build(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and (event.version or event.tags):
                raise self._stop(event, "a directive is not used here", "remove the `%` line")
            if kind in ("StreamStartEvent", "StreamEndEvent", "DocumentStartEvent"):
                continue
            if kind == "DocumentEndEvent":
                continue
            if root is not None:
                raise self._stop(event, "a second document without `---`", "put `---` before it")
            root, _ = self._node(event, events, 0)
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> tuple[Node, int]:
        """The node that begins with `event`, and how many nodes it holds with aliases followed."""
        kind = type(event).__name__
        line, column = self._position(event)
        if depth > MAX_DEPTH:
            raise _Stop(_too_deep(line, column))
        if kind == "AliasEvent":
            node, size = self._alias(event)
        else:
            self._refuse_tag(event)
            if kind == "ScalarEvent":
                node, size = self._scalar(event, line, column), 1
            elif kind == "SequenceStartEvent":
                node, size = self._sequence(events, line, column, depth)
            else:
                node, size = self._mapping(events, line, column, depth)
            if event.anchor:
                self._anchors[str(event.anchor)] = (node, size)
        self._nodes += 1 if kind != "AliasEvent" else size
        if self._nodes > MAX_NODES:
            raise self._stop(event, f"more than {MAX_NODES} values", "use fewer aliases")
        return node, size

    def _alias(self, event: Any) -> tuple[Node, int]:
        found = self._anchors.get(str(event.anchor))
        if found is None:
            name = str(event.anchor)
            raise self._stop(event, f"no `&{name}` before `*{name}`", "define the anchor first")
        return found

    def _refuse_tag(self, event: Any) -> None:
        tag = None if event.tag is None else str(event.tag)
        if tag is not None and tag != "!" and tag not in _SPELLED_OUT:
            raise self._stop(event, f"the tag `{tag}` is not used here", "remove the tag")

    def _scalar(self, event: Any, line: int, column: int) -> Scalar:
        start, end = event.start_mark, event.end_mark
        plain = event.style is None and event.tag is None
        text = str(event.value)
        length = end.column - start.column if end.line == start.line else 1
        return Scalar(text, plain, line, column, max(1, length))

    def _sequence(
        self, events: Iterator[Any], line: int, column: int, depth: int
    ) -> tuple[Node, int]:
        items: list[Node] = []
        total = 1
        while type(event := next(events)).__name__ != "SequenceEndEvent":
            node, size = self._node(event, events, depth + 1)
            items.append(node)
            total += size
        return Sequence(tuple(items), line, column), total

    def _mapping(
        self, events: Iterator[Any], line: int, column: int, depth: int
    ) -> tuple[Node, int]:
        entries: dict[str, tuple[Scalar, Node]] = {}
        total = 1
        while type(event := next(events)).__name__ != "MappingEndEvent":
            key, _ = self._node(event, events, depth + 1)
            if not isinstance(key, Scalar):
                raise self._stop(event, "a key must be a word", "write `key: value`")
            value, size = self._node(next(events), events, depth + 1)
            total += size
            if key.text in entries:
                first = entries[key.text][0]
                self.problems.append(
                    Problem(
                        "TM007",
                        f"`{key.text}` stands twice, first on line {first.line}",
                        key.line,
                        key.column,
                        key.length,
                        "keep one of the two",
                    )
                )
            else:
                entries[key.text] = (key, under(key, value))
        return Mapping(entries, line, column), total

    def _position(self, event: Any) -> tuple[int, int]:
        mark = event.start_mark
        return self._first_line + int(mark.line), int(mark.column) + 1

    def _stop(self, event: Any, message: str, advice: str) -> _Stop:
        line, column = self._position(event)
        return _Stop(Problem("TM009", message, line, column, help=advice))


def under(key: Scalar, value: Node) -> Node:
    """The value of a key; one that was left out stands where its key stands."""
    if isinstance(value, Scalar) and value.plain and not value.text:
        return Scalar("", True, key.line, key.column, key.length)
    return value


def _too_deep(line: int, column: int) -> Problem:
    return Problem("TM009", f"nested more than {MAX_DEPTH} deep", line, column, help="flatten it")


def _syntax_problem(error: YAMLError, chunk: str, first_line: int) -> Problem:
    untyped = cast(Any, error)
    if isinstance(error, ReaderError):
        return _bad_character(chunk, int(untyped.position), first_line)
    if not isinstance(error, MarkedYAMLError):
        return Problem("TM005", str(error), first_line, 1)
    lines = chunk.split("\n")
    mark = untyped.problem_mark or untyped.context_mark
    line, column = min(int(mark.line), len(lines) - 1), int(mark.column)
    tab = _INDENTED_BY_TAB.search(chunk)
    if tab is not None and chunk.count("\n", 0, tab.end()) <= line:
        number = first_line + chunk.count("\n", 0, tab.end())
        at = tab.end() - (chunk.rfind("\n", 0, tab.end()) + 1)
        return Problem("TM006", "a tab in the indentation", number, at, help="indent with spaces")
    for number, text in enumerate(lines[: line + 1], first_line):
        if quote := _open_quote(text):
            message, advice = "the quote that opens here is not closed", "close the quote"
            return Problem("TM005", message, number, quote.start(1) + 1, help=advice)
    message, advice = _said(" ".join(filter(None, (untyped.context, untyped.problem))))
    return Problem("TM005", message, first_line + line, column + 1, help=advice)


def _open_quote(line: str) -> re.Match[str] | None:
    """A value's opening quote, where its line has no other that closes it."""
    match = _OPENING.search(line)
    if match is None or line.replace("\\" + match.group(1), "").count(match.group(1)) % 2 == 0:
        return None
    return match


def _said(said: str) -> tuple[str, str]:
    """The parser's complaint in words for people, and what to do."""
    for part, message, advice in _COMPLAINTS:
        if part in said:
            return message, advice
    return f"not YAML: {said}", "check indentation, quotes and brackets here and on the line before"


def _bad_character(chunk: str, position: int, first_line: int) -> Problem:
    before = chunk[:position]
    line, column = first_line + before.count("\n"), position - before.rfind("\n")
    message = f"the character U+{ord(chunk[position]):04X} is not allowed in YAML"
    return Problem("TM005", message, line, column, help="remove it, or write it as an escape")
