"""What a definition says with all that it takes over, and where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from metric_registry.check import Entry
from metric_registry.derived.checking import DerivedEntry
from metric_registry.derived.words import fields
from metric_registry.durations import render, render_seconds
from metric_registry.explain import made_of
from metric_registry.granularities import DAY, text_of
from metric_registry.hierarchy import HIERARCHY
from metric_registry.plan import ResolvedDefinition
from metric_registry.syntax.nodes import Path, get, place
from metric_registry.values import granularity

BY_DEFAULT = "by default"


@dataclass(frozen=True, slots=True)
class Value:
    """A resolved field.

    place: FILE:LINE where it is written, empty if nobody says it; way: how it came from there,
    empty if the definition says it itself.
    """

    field: str
    value: str
    place: str
    way: str

    @property
    def origin(self) -> str:
        return ", ".join(filter(None, (self.place, self.way))) or BY_DEFAULT


@dataclass(frozen=True, slots=True)
class Shown:
    """A definition, field by field."""

    name: str
    version: str
    values: tuple[Value, ...]

    def text(self) -> str:
        """For people."""
        first = max(len(one.field) for one in self.values)
        second = min(40, max(len(one.value) for one in self.values))
        return "\n".join(
            [
                f"{self.name} {self.version}",
                *(
                    f"  {one.field:<{first}}  {one.value:<{second}}  {one.origin}"
                    for one in self.values
                ),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def show(entry: Entry) -> Shown:
    """Every field of a definition that was checked, resolved."""
    values = tuple(_value(entry, path, text) for path, text in _fields(entry))
    return Shown(entry.resolved.name, entry.resolved.version, values)


def show_derived(entry: DerivedEntry) -> Shown:
    """Every field of a derived definition, and the versions of what it is derived from."""
    values: list[Value] = []
    for path, text in fields(entry):
        said = get(entry.written.root, path) is not None
        where = f"{entry.file}:{place(entry.written.root, path).line}" if said else ""
        way = _INPUTS if not said and path in _FOLLOWS else ""
        way = "by the folder's defaults" if not said and path == ("owner",) else way
        values.append(Value(_dotted(path), text, where, way))
    one = entry.resolved
    values.append(Value("windows", _list(tuple(map(text_of, one.granularities))), "", _INPUTS))
    values += [Value(f"version of {each.name}", each.version, "", _INPUTS) for each in one.inputs]
    return Shown(one.name, one.version, tuple(values))


_INPUTS = "from the inputs"
_FOLLOWS = (("unit",), ("space", "keep"))


def _value(entry: Entry, path: Path, text: str) -> Value:
    if get(entry.merged.root, path) is None:
        return Value(_dotted(path), text, "", "")
    node, way = entry.merged.locate(path)
    place = f"{entry.file if way is None else way.file}:{node.line}"
    return Value(_dotted(path), text, place, "" if way is None else way.text)


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _fields(entry: Entry) -> Iterator[tuple[Path, str]]:
    model, one = entry.model, entry.resolved
    yield ("owner",), model.owner or "nobody"
    if model.source.metric is not None:
        yield ("source", "metric"), model.source.metric
    elif model.source.match is not None:
        yield ("source", "match"), model.source.match
    else:
        yield ("source", "any_of"), _list((*one.sources, *one.patterns))
    for made in one.attributes:
        yield ("source", "attributes", made.name), made_of(made)
    for attribute, values in one.where:
        yield ("source", "where", attribute), _list(values)
    yield ("source", "unit"), one.source_unit
    if one.source_instrument:
        yield ("source", "instrument"), one.source_instrument
    yield ("unit",), one.unit
    yield ("space", "keep"), _list(one.keep)
    if entry.rung is not None:
        yield HIERARCHY, entry.rung.text()
    yield from _time(one)
    if one.over_points:
        yield ("aggregate", "over_points"), one.over_points
    else:
        yield ("aggregate", "over_time"), one.over_time
        yield ("aggregate", "over_space"), one.over_space
    yield from _publication(entry)
    yield ("limits", "series"), f"{one.series_limit:,}"
    yield ("limits", "beyond"), one.beyond
    level = model.service_level
    if level.freshness is not None:
        yield ("service_level", "freshness"), render(level.freshness)
    if level.completeness is not None:
        yield ("service_level", "completeness"), f"{level.completeness * 100:g}%"


def _time(one: ResolvedDefinition) -> Iterator[tuple[Path, str]]:
    yield ("time", "granularities"), _list(tuple(map(text_of, one.granularities)))
    yield ("time", "zone"), one.zone
    yield ("time", "grace"), render(one.grace_ns)
    yield ("time", "corrections"), render(one.corrections_ns)


def _publication(entry: Entry) -> Iterator[tuple[Path, str]]:
    one = entry.resolved
    yield ("publish", "final"), json.dumps(one.publish_final)
    yield ("publish", "upsert"), json.dumps(one.publish_upsert)
    yield ("publish", "temporality"), one.publish_temporality
    yield ("publish", "late"), one.publish_late
    windows = ", ".join(f"{n} of {text_of(g)}" for g, n in one.publish_expire_after)
    yield ("publish", "expire_after"), windows
    stated = get(entry.merged.root, ("publish", "keep"))
    spelled = {granularity(name): name for name in getattr(stated, "entries", {})}
    for g, seconds in one.retention:  # a day of a zone is written as any day
        name = spelled.get(DAY if g == "1d" else g, text_of(g))
        yield ("publish", "keep", name), render_seconds(seconds)


def _list(values: tuple[str, ...]) -> str:
    return f"[{', '.join(values)}]"
