"""Levels: a definition with `space.hierarchy` is one definition a level, each a metric of its own.

Every level is computed from the streams themselves, not from the level below it, so it is what the
same definition with fewer attributes in `keep` would be, to the bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from metric_registry.models import MetricDefinition
from metric_registry.syntax.nodes import Path

ALL = "all"
"""As the last entry of a hierarchy: a level that keeps none of its attributes."""
HIERARCHY: Path = ("space", "hierarchy")


@dataclass(frozen=True, slots=True)
class Rung:
    """Which level of a hierarchy a definition is.

    by, names: Of all levels, the finest first: the attribute, or ALL, and the metric's name.
    index: Of this level. named: Whether the definition states its name. kept: How many attributes
    `space.keep` states.
    """

    by: tuple[str, ...]
    names: tuple[str, ...]
    index: int
    named: bool
    kept: int

    def written_at(self, path: Path) -> Path:
        """Where that is written which stands at a path of the level's definition."""
        if path == ("name",) and self.index:
            return (*HIERARCHY, self.index, *(("name",) if self.named else ("by",)))
        match path:
            case ("space", "keep", int() as at, *_) if at >= self.kept:
                return (*HIERARCHY, at - self.kept + self.index, "by")
            case _:
                return path

    def text(self) -> str:
        """`level region of cluster_id < region < all`."""
        return f"level {self.by[self.index]} of {' < '.join(self.by)}"


def levels(definition: MetricDefinition) -> list[tuple[Rung | None, MetricDefinition]]:
    """The definitions without hierarchies that a definition stands for, the finest first."""
    stated = definition.space.hierarchy
    if stated is None:
        return [(None, definition)]
    by = tuple(level.by for level in stated)
    names = tuple(
        level.name or level_name(definition.name, level.by) if at else definition.name
        for at, level in enumerate(stated)
    )
    found: list[tuple[Rung | None, MetricDefinition]] = []
    for at, level in enumerate(stated):
        keep = definition.space.keep
        rung = Rung(by, names, at, level.name is not None, len(keep))
        kept = [*keep, *(name for name in by[at:] if name != ALL)]
        space = definition.space.model_copy(update={"keep": kept, "hierarchy": None})
        change = {"name": names[at], "space": space, "description": definition.description}
        if definition.description and at:
            change["description"] = f"{definition.description} ({rung.text()})"
        found.append((rung, definition.model_copy(update=change)))
    return found


def level_name(name: str, by: str) -> str:
    """The name of a level's metric unless the definition states it."""
    return f"{name}.{ALL}" if by == ALL else f"{name}.by_{re.sub('[^A-Za-z0-9_]', '_', by)}"
