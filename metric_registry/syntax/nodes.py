"""A YAML document as a tree in which every node knows its line and column.

Lines and columns count from 1; columns count characters. `length` is how many characters of the
line a caret should underline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ScalarValue = str | int | float | bool | None
Data = ScalarValue | list["Data"] | dict[str, "Data"]
Path = tuple[str | int, ...]
"""Keys and list indexes from the document's root to a node."""

SHORT = ("from", "by")
"""Fields that may be left out with the mapping around them: `a: [b, c]` is `a: {from: [b, c]}`."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_OTHER_BASE = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, ScalarValue] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `text` is what was written, without quotes."""

    text: str
    plain: bool
    line: int
    column: int
    length: int

    @property
    def value(self) -> ScalarValue:
        """The value by YAML 1.2's core schema (10.3.2): only plain scalars are not strings."""
        return plain_value(self.text) if self.plain else self.text


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys are taken by their text, in the order written; of a repeated key the first stays."""

    entries: dict[str, tuple[Scalar, Node]]
    line: int
    column: int
    length: int = 1


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a document, at a place that is known."""

    code: str
    message: str
    line: int
    column: int
    length: int = 1
    help: str = ""


def plain_value(text: str) -> ScalarValue:
    """What a scalar without quotes means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and any(c.isdigit() for c in text) and len(text) <= 100:
        return float(text)
    return text


def to_data(node: Node) -> Data:
    """The plain Python value of a node."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [to_data(item) for item in node.items]
    return {key: to_data(value) for key, (_, value) in node.entries.items()}


def get(root: Node, path: Path) -> Node | None:
    """The node at `path`, or None."""
    node: Node | None = root
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str):
            _, node = node.entries.get(step, (None, None))
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def place(root: Node, path: Path, *, on_key: bool = False) -> Node:
    """What to point at for `path`, or for the deepest node on the way to it: the value if it is a
    scalar, else the key it stands under.
    """
    node: Node = root
    key: Scalar | None = None
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
            key, node = node.entries[step]
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            key = None
        elif step in SHORT and not isinstance(node, Mapping):
            continue
        else:
            break
    if key is not None and (on_key or not isinstance(node, Scalar)):
        return key
    return node
