"""What differs of derived definitions, which are views: nothing of the past stays as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.granularities import text_of


@dataclass(frozen=True, slots=True)
class DerivedChange:
    """What becomes of a derived definition.

    Attributes:
        before, after: Its versions; empty where there is none.
        fields: (what, before, after) of what differs.
        inputs: Names of its inputs that have another version.
        breaks: Whether who reads it finds something no more, or otherwise.
    """

    name: str
    before: str
    after: str
    fields: tuple[tuple[str, str, str], ...]
    inputs: tuple[str, ...]
    breaks: bool

    @property
    def verdict(self) -> Literal["compatible", "numbers", "breaking"]:
        """As `compare.Change.verdict`."""
        if self.breaks:
            return "breaking"
        return "numbers" if self.before else "compatible"


def derived_changes(
    before: Iterable[ResolvedDerived], after: Iterable[ResolvedDerived]
) -> tuple[tuple[DerivedChange, ...], int]:
    """What differs, in order of name; and how many do not differ."""
    old, new = ({one.name: one for one in side} for side in (before, after))
    names = sorted(old.keys() | new.keys())
    differing = [name for name in names if old.get(name) != new.get(name)]
    found = tuple(_change(name, old.get(name), new.get(name)) for name in differing)
    return found, len(names) - len(differing)


def _change(name: str, was: ResolvedDerived | None, now: ResolvedDerived | None) -> DerivedChange:
    if was is None or now is None:
        one = was or now
        assert one is not None
        version = one.version
        return DerivedChange(name, *((version, "") if was else ("", version)), (), (), now is None)
    fields = tuple(_fields(was, now))
    versions = {each.name: each.version for each in was.inputs}
    inputs = tuple(
        each.name
        for each in now.inputs
        if each.name in versions and versions[each.name] != each.version
    )
    breaks = bool(
        was.unit != now.unit
        or set(was.keep) != set(now.keep)
        or set(was.granularities) - set(now.granularities)
        or was.zone_rules != now.zone_rules
    )
    return DerivedChange(name, was.version, now.version, fields, inputs, breaks)


def _fields(was: ResolvedDerived, now: ResolvedDerived) -> Iterator[tuple[str, str, str]]:
    for field, before, after in (
        ("derive", was.formula, now.formula),
        ("absent", was.absent, now.absent),
        ("unit", was.unit, now.unit),
        ("space.keep", _list(was.keep), _list(now.keep)),
        ("windows", _sizes(was), _sizes(now)),
    ):
        if before != after:
            yield field, before, after


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"


def _sizes(one: ResolvedDerived) -> str:
    zone = f" of {one.zone}" if one.zone_rules else ""
    return _list([text_of(size) for size in one.granularities]) + zone


def told(one: DerivedChange) -> Iterator[str]:
    """For people."""
    verdicts = {"compatible": "compatible", "numbers": "same rows, other numbers",
                "breaking": "breaks readers"}  # fmt: skip
    head = f"version {one.after} in place of {one.before}"
    if not one.before or not one.after:
        head = f"new, version {one.after}" if one.after else f"goes, version {one.before}"
    yield f"{one.name}, derived: {head} ({verdicts[one.verdict]})"
    for field, before, after in one.fields:
        yield f"  {field}: {before} -> {after}"
    if one.inputs:
        listed = ", ".join(f"`{name}`" for name in one.inputs)
        yield f"  inputs: {listed} changes, as is told of it"
    if not one.after:
        yield "  view: it is taken away, and asking for it fails"
    elif not one.before:
        yield "  view: it is there at once, of all rows that its inputs have"
    elif one.fields:
        yield "  view: it computes all rows by the new one at once, also of the past"
    else:
        yield "  view: rows follow those of the inputs; of earlier windows `version` is empty"
    yield "  topics: nothing, as before"
