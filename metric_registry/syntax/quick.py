"""The part of YAML that definitions are written in, read fast; everything else is declined.

Reads block mappings and sequences, flow ones on one line, plain and simply quoted scalars on one
line, and comments. Declining is always safe, because `full` reads the document then; accepting
must mean the very tree that `full` gives, and a property test holds the two side by side.
"""

from __future__ import annotations

import re

from metric_registry.syntax.nodes import Mapping, Node, Scalar, Sequence

MAX_DEPTH = 20
LONGEST_KEY = 200
"""YAML allows 1,024 characters (1.2.2, 7.4.2), and nobody's definitions have such keys."""

_UNUSUAL = re.compile(r"[^\n\x20-\x7e\u00a1-\u1fff\u2010-\u2027\u2030-\ud7ff]")
_START = re.compile(r"---( +#.*| *)")
_SHORT = f"{{0,{LONGEST_KEY}}}"
_KEY = re.compile(rf"""([A-Za-z0-9_][A-Za-z0-9_./-]{_SHORT})|"([^"\\]{_SHORT})"|'([^']{_SHORT})'""")
_QUOTED = re.compile(r"""("[^"\\]*"|'[^']*'(?!'))""")
_PLAIN = re.compile(r"[A-Za-z0-9_./+$(<=^;\u00a1-\ud7ff][^\n]*|-[A-Za-z0-9_.][^\n]*")
_FLOW_PLAIN = re.compile(
    r"(?:[A-Za-z0-9_./+$(]|-[A-Za-z0-9_.])[A-Za-z0-9_./+$()<=^;%~ \u00a1-\ud7ff-]*"
)
_END = re.compile(r" *( #.*)?")


class _Declined(Exception):
    """This is not the style that is read here."""


def parse(chunk: str, first_line: int) -> Node | None:
    """The tree of one document, or None to let `full` read it."""
    if _UNUSUAL.search(chunk):
        return None
    try:
        return _Reader(chunk, first_line).document()
    except _Declined:
        return None


class _Reader:
    def __init__(self, chunk: str, first_line: int) -> None:
        self._lines: list[tuple[int, int, str]] = []
        """(line number, indentation, the line) without blank lines and comments."""
        for number, line in enumerate(chunk.split("\n"), first_line):
            content = line.lstrip(" ")
            if content and content[0] != "#":
                self._lines.append((number, len(line) - len(content), line))
        self._next = 0

    def document(self) -> Node:
        if self._lines and self._lines[0][2].startswith("---"):
            if not _START.fullmatch(self._lines[0][2]):
                raise _Declined
            self._next = 1
        if self._next == len(self._lines):
            raise _Declined
        root = self._block(self._lines[self._next][1], 0)
        if self._next != len(self._lines):
            raise _Declined
        return root

    def _block(self, indent: int, depth: int) -> Node:
        """The mapping or sequence whose entries begin at column `indent`."""
        if depth > MAX_DEPTH:
            raise _Declined
        number, _, line = self._lines[self._next]
        if line.startswith(("...", "---")):
            raise _Declined
        if self._is_item(line, indent):
            return self._block_sequence(number, indent, depth)
        return self._block_mapping(number, indent, depth)

    @staticmethod
    def _is_item(line: str, at: int) -> bool:
        return line[at : at + 1] == "-" and line[at + 1 : at + 2] in ("", " ")

    def _indentation(self) -> int:
        """The indentation of the next line, -1 at the end."""
        return self._lines[self._next][1] if self._next < len(self._lines) else -1

    def _block_mapping(self, first: int, indent: int, depth: int) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        while self._indentation() == indent:
            number, _, line = self._lines[self._next]
            match = _KEY.match(line, indent)
            if match is None or line[match.end() : match.end() + 1] != ":":
                raise _Declined
            if line[match.end() + 1 : match.end() + 2] not in ("", " "):
                raise _Declined
            key = self._scalar_of(match, number, match.start(1) >= 0)
            if key.text in entries:
                raise _Declined
            entries[key.text] = (key, self._value(key, match.end() + 1, indent, depth))
        if self._indentation() > indent or not entries:
            raise _Declined
        return Mapping(entries, first, indent + 1)

    @staticmethod
    def _scalar_of(match: re.Match[str], number: int, plain: bool) -> Scalar:
        text = match.group() if plain else match.group()[1:-1]
        return Scalar(text, plain, number, match.start() + 1, match.end() - match.start())

    def _value(self, key: Scalar, at: int, indent: int, depth: int) -> Node:
        """What stands after `key:`, on its line or in the lines below."""
        number, _, line = self._lines[self._next]
        if _END.fullmatch(line, at):
            self._next += 1
            below = self._indentation()
            if below > indent:
                return self._block(below, depth + 1)
            if below == indent and self._is_item(self._lines[self._next][2], below):
                return self._block(below, depth + 1)
            return Scalar("", True, key.line, key.column, key.length)
        return self._inline(number, line, at, indent)

    def _block_sequence(self, first: int, indent: int, depth: int) -> Sequence:
        items: list[Node] = []
        while self._indentation() == indent:
            number, _, line = self._lines[self._next]
            if not self._is_item(line, indent):
                break
            at = indent + 1
            while line[at : at + 1] == " ":
                at += 1
            if line[at : at + 1] in ("", "#"):
                raise _Declined
            if self._is_item(line, at) or self._is_entry(line, at):
                self._lines[self._next] = (number, at, " " * at + line[at:])
                items.append(self._block(at, depth + 1))
            else:
                items.append(self._inline(number, line, at, indent))
        if self._indentation() > indent:
            raise _Declined
        return Sequence(tuple(items), first, indent + 1)

    @staticmethod
    def _is_entry(line: str, at: int) -> bool:
        match = _KEY.match(line, at)
        return match is not None and line[match.end() : match.end() + 1] == ":"

    def _inline(self, number: int, line: str, at: int, indent: int) -> Node:
        """A value on the rest of a line; it must end there."""
        while line[at : at + 1] == " ":
            at += 1
        if line[at] in "{[":
            node, end = _Flow(line, number).node(at, 0)
        elif quoted := _QUOTED.match(line, at):
            node, end = self._scalar_of(quoted, number, False), quoted.end()
        else:
            node, end = self._plain(line, number, at)
        if not _END.fullmatch(line, end):
            raise _Declined
        self._next += 1
        if self._indentation() > indent:
            raise _Declined
        return node

    @staticmethod
    def _plain(line: str, number: int, at: int) -> tuple[Scalar, int]:
        match = _PLAIN.match(line, at)
        if match is None:
            raise _Declined
        text = match.group().split(" #", 1)[0].rstrip(" ")
        if ": " in text or text.endswith(":"):
            raise _Declined
        return Scalar(text, True, number, at + 1, len(text)), at + len(text)


class _Flow:
    """`{a: b, c: [d, e]}` on one line."""

    def __init__(self, line: str, number: int) -> None:
        self._line = line
        self._number = number

    def _skip(self, at: int) -> int:
        while self._line[at : at + 1] == " ":
            at += 1
        return at

    def node(self, at: int, depth: int) -> tuple[Node, int]:
        """The node that begins at `at`, and where it ends."""
        opening = self._line[at : at + 1]
        if depth > MAX_DEPTH or not opening:
            raise _Declined
        if opening == "{":
            return self._mapping(at, depth)
        if opening == "[":
            return self._sequence(at, depth)
        return self._scalar(at)

    def _scalar(self, at: int) -> tuple[Scalar, int]:
        match = _QUOTED.match(self._line, at)
        if match is not None:
            text = match.group()[1:-1]
            return Scalar(text, False, self._number, at + 1, len(text) + 2), match.end()
        match = _FLOW_PLAIN.match(self._line, at)
        if match is None:
            raise _Declined
        text = match.group().rstrip(" ")
        return Scalar(text, True, self._number, at + 1, len(text)), at + len(text)

    def _sequence(self, at: int, depth: int) -> tuple[Sequence, int]:
        items: list[Node] = []
        end = self._skip(at + 1)
        if self._line[end : end + 1] == "]":
            return Sequence((), self._number, at + 1), end + 1
        while True:
            node, end = self.node(end, depth + 1)
            items.append(node)
            end = self._skip(end)
            if self._line[end : end + 1] == "]":
                return Sequence(tuple(items), self._number, at + 1), end + 1
            if self._line[end : end + 2] != ", ":
                raise _Declined
            end = self._skip(end + 1)

    def _mapping(self, at: int, depth: int) -> tuple[Mapping, int]:
        entries: dict[str, tuple[Scalar, Node]] = {}
        end = self._skip(at + 1)
        if self._line[end : end + 1] == "}":
            return Mapping({}, self._number, at + 1), end + 1
        while True:
            key, end = self._scalar(end)
            if self._line[end : end + 2] != ": " or key.text in entries or not key.text:
                raise _Declined
            if key.length > LONGEST_KEY:
                raise _Declined
            value, end = self.node(self._skip(end + 1), depth + 1)
            entries[key.text] = (key, value)
            end = self._skip(end)
            if self._line[end : end + 1] == "}":
                return Mapping(entries, self._number, at + 1), end + 1
            if self._line[end : end + 2] != ", ":
                raise _Declined
            end = self._skip(end + 1)
