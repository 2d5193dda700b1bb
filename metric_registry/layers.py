"""Documents laid over one another: what a definition says, over what defaults say.

Trees in, one tree out, in which every node still knows where it was written. Sections, conditions
and retentions are laid over each other field by field; a list, and how a definition aggregates, is
one thing and taken whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic_core import PydanticCustomError

from metric_registry.models import NAMES_OF_A_SOURCE
from metric_registry.syntax.nodes import SHORT, Mapping, Node, Path, Scalar, place
from metric_registry.syntax.nodes import Sequence as NodeList
from metric_registry.values import granularity

OWN_FIELDS = frozenset(
    ("apiVersion", "kind", "name", "description", "include", "extends", "environments")
)
"""Fields that nobody takes over: a document's own."""
_BY_FIELD: frozenset[Path] = frozenset(
    {
        (),
        ("source",),
        ("source", "where"),
        ("source", "attributes"),
        ("space",),
        ("time",),
        ("publish",),
    }
    | {("publish", "keep"), ("limits",), ("service_level",)}
)


@dataclass(frozen=True, slots=True)
class Way:
    """How a field came into a definition in which it does not stand."""

    file: str
    text: str
    """`the defaults of teams/`, `extends: brokers`."""
    own: bool = False
    """Whether the definition's own document says it, of an environment."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One layer: fields, and the way that they come; no way: the definition's own."""

    root: Mapping
    way: Way | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """A definition with all that it takes over.

    ways: By the identity of a key's node, the way that the entry came; entries of sections that
    are not there came as their section did.
    """

    root: Mapping
    own: Mapping
    ways: dict[int, Way | None] = field(default_factory=dict[int, Way | None])

    def locate(self, path: Path, *, on_key: bool = False) -> tuple[Node, Way | None]:
        """What to point at for a path, as `nodes.place` says, and the way that it came.

        What is missing is missing in the definition itself.
        """
        if not self.ways:
            return place(self.root, path, on_key=on_key), None
        node: Node = self.root
        key: Scalar | None = None
        way: Way | None = None
        for step in path:
            if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
                key, node = node.entries[step]
                way = self.ways.get(id(key), way)
            elif isinstance(node, NodeList) and isinstance(step, int) and step < len(node.items):
                node, key = node.items[step], None
            elif step in SHORT and not isinstance(node, Mapping):
                continue
            else:
                return place(self.own, path, on_key=on_key), None
        if key is not None and (on_key or not isinstance(node, Scalar)):
            return key, way
        return node, way

    def says(self, path: Path) -> bool:
        """Whether the definition itself says what stands at a path."""
        way = self.locate(path, on_key=True)[1]
        return way is None or way.own


def merged(sheets: Sequence[Sheet], own: Mapping) -> Merged:
    """The sheets over one another, the last one uppermost; `own` is one of them."""
    if len(sheets) == 1:
        return Merged(own, own)
    result = Merged(own, own)
    entries: dict[str, tuple[Scalar, Node]] = {}
    for sheet in sheets:
        taken = sheet.root.entries
        if sheet.root is not own:
            taken = {name: entry for name, entry in taken.items() if name not in OWN_FIELDS}
        over = Mapping(taken, sheet.root.line, sheet.root.column)
        under = Mapping(entries, own.line, own.column)
        entries = _laid(under, over, (), sheet.way, result.ways).entries
    return Merged(Mapping(entries, own.line, own.column, own.length), own, result.ways)


def _laid(
    under: Mapping, over: Mapping, path: Path, way: Way | None, ways: dict[int, Way | None]
) -> Mapping:
    entries = dict(under.entries)
    if path == ("source",) and not over.entries.keys().isdisjoint(NAMES_OF_A_SOURCE):
        entries = {k: v for k, v in entries.items() if k not in NAMES_OF_A_SOURCE}
    for name, (key, value) in over.entries.items():
        deeper = (*path, name)
        was = _taken_by(under.entries, name) if path == ("publish", "keep") else name
        before = under.entries.get(was)
        entries.pop(was, None)
        if deeper in _BY_FIELD and isinstance(value, Mapping):
            below = before[1] if before else None
            if not isinstance(below, Mapping):
                below = Mapping({}, value.line, value.column)
            value = _laid(below, value, deeper, way, ways)
        ways[id(key)] = way
        entries[name] = (key, value)
    return Mapping(entries, over.line, over.column, over.length)


def _taken_by(entries: dict[str, tuple[Scalar, Node]], name: str) -> str:
    """The entry of the same window size, perhaps in other words: 60s is 1m."""
    if name in entries:
        return name
    size = _size(name)
    return next((other for other in entries if size is not None and _size(other) == size), name)


def _size(text: str) -> object:
    try:
        return granularity(text)
    except PydanticCustomError:
        return None
