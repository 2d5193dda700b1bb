"""The tree of a regular expression, as far as `patterns` offers them."""

from __future__ import annotations

from dataclasses import dataclass

MOST_GROUPS = 9
_CLASSES = {"d": [("0", "9")], "s": [(" ", " "), ("\t", "\r")]}
_CLASSES["w"] = [("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")]
Ranges = tuple[tuple[str, str], ...]


class PatternError(ValueError):
    """A pattern that is none, or asks for what is not offered. `at`: the character, from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Chars:
    """One character: of one of the ranges, or of none."""

    ranges: Ranges
    negated: bool = False

    def has(self, char: str) -> bool:
        """Whether it is such a character."""
        return any(low <= char <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class Node:
    """kind: chars, begin, end, cat, alt, group (of one part) or repeat (of one part)."""

    kind: str
    parts: tuple[Node, ...] = ()
    chars: Chars | None = None
    low: int = 0
    high: int = 0
    """Of a repeat; -1 has no end. Of a group `low` is its number, 0: it captures nothing."""
    lazy: bool = False

    @property
    def can_be_empty(self) -> bool:
        """Whether it matches no text, too."""
        if self.kind == "chars":
            return False
        if self.kind in ("begin", "end"):
            return True
        if self.kind == "repeat":
            return self.low == 0 or self.parts[0].can_be_empty
        if self.kind == "alt":
            return any(part.can_be_empty for part in self.parts)
        return all(part.can_be_empty for part in self.parts)


class Parser:
    """Reads a pattern; `groups` says then how many it captures."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self.groups = 0

    def parse(self) -> Node:
        """The tree.

        Raises:
            PatternError: The text is no pattern, or asks for what is not offered.
        """
        node = self._alternatives(0)
        if self._at < len(self._pattern):
            raise PatternError("a `)` without its `(`", self._at)
        return node

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _alternatives(self, depth: int) -> Node:
        if depth > 20:
            raise PatternError("groups are nested more than 20 deep", self._at)
        found = [self._sequence(depth)]
        while self._take("|"):
            found.append(self._sequence(depth))
        return found[0] if len(found) == 1 else Node("alt", tuple(found))

    def _sequence(self, depth: int) -> Node:
        found: list[Node] = []
        while self._next() not in ("", "|", ")"):
            found.append(self._repeated(self._one(depth)))
        return Node("cat", tuple(found))

    def _one(self, depth: int) -> Node:
        at, char = self._at, self._next()
        if self._take("("):
            number = 0
            if not self._take("?:"):
                if self._next() == "?":
                    raise PatternError("`(?` begins what is not offered here", at)
                self.groups += 1
                number = self.groups
                if number > MOST_GROUPS:
                    raise PatternError(f"there are at most {MOST_GROUPS} groups", at)
            inner = self._alternatives(depth + 1)
            if not self._take(")"):
                raise PatternError("the `(` is not closed", at)
            return Node("group", (inner,), low=number)
        self._at += 1
        if char == "^":
            return Node("begin")
        if char == "$":
            return Node("end")
        if char == ".":
            return Node("chars", chars=Chars((("\n", "\n"),), True))
        if char == "[":
            return Node("chars", chars=self._set(at))
        if char == "\\":
            return Node("chars", chars=self._escaped(at))
        if char in "*+?{":
            raise PatternError(f"the `{char}` repeats nothing", at)
        return Node("chars", chars=Chars(((char, char),)))

    def _escaped(self, at: int) -> Chars:
        char = self._next()
        self._at += 1
        if char.lower() in _CLASSES and char:
            return Chars(tuple(_CLASSES[char.lower()]), char.isupper())
        if char == "" or (char.isalnum() and char.isascii()):
            raise PatternError(f"`\\{char}` is not offered here", at)
        return Chars(((char, char),))

    def _set(self, at: int) -> Chars:
        negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        while not self._take("]"):
            char = self._next()
            if not char:
                raise PatternError("the `[` is not closed", at)
            self._at += 1
            if char == "[":
                raise PatternError("a `[` inside `[...]` is written `\\[`", self._at - 1)
            if char == "\\":
                inner = self._escaped(self._at - 1)
                if inner.negated:
                    raise PatternError("an opposite inside `[...]` is not offered", self._at - 2)
                ranges += inner.ranges
                (first, last), *more = inner.ranges
                if more or first != last:
                    continue
                char = first
                ranges.pop()
            if self._next() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                high = self._next()
                self._at += 1
                if high == "\\":
                    high = next(low for low, _ in self._escaped(self._at - 1).ranges)
                if high < char:
                    raise PatternError(f"`{char}-{high}` runs backwards", self._at - 3)
                ranges.append((char, high))
            else:
                ranges.append((char, char))
        if not ranges:
            raise PatternError("`[]` matches nothing", at)
        return Chars(tuple(ranges), negated)

    def _repeated(self, node: Node) -> Node:
        at = self._at
        if self._take("*"):
            low, high = 0, -1
        elif self._take("+"):
            low, high = 1, -1
        elif self._take("?"):
            low, high = 0, 1
        elif self._next() == "{":
            low, high = self._counts(at)
        else:
            return node
        lazy = self._take("?")
        if self._next() in ("*", "+", "{"):
            raise PatternError("what repeats is not repeated again", self._at)
        if node.can_be_empty:
            raise PatternError("what can be empty is not repeated", at)
        return Node("repeat", (node,), low=low, high=high, lazy=lazy)

    def _counts(self, at: int) -> tuple[int, int]:
        close = self._pattern.find("}", at)
        low, comma, high = self._pattern[at + 1 : max(at + 1, close)].partition(",")
        texts = [low, high] if comma and high else [low]
        if close < 0 or not all(t.isascii() and t.isdecimal() and len(t) < 4 for t in texts):
            raise PatternError("counts are written `{3}`, `{2,5}` or `{2,}`", at)
        self._at = close + 1
        most = int(high) if high else -1 if comma else int(low)
        if 0 <= most < int(low):
            raise PatternError("the counts run backwards", at)
        return int(low), most
