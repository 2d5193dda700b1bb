"""Which definitions differ between two sets, and what that does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.differences.derived import DerivedChange, derived_changes
from metric_registry.differences.fields import FieldChange, field_changes
from metric_registry.differences.history import Backfill, BaseLines, backfills, base_lines
from metric_registry.differences.numbers import Numbers, groups_of_streams
from metric_registry.differences.outcomes import Outcome, outcomes
from metric_registry.plan import ResolvedDefinition, version_of

Kind = Literal["new", "gone", "renamed", "changed", "published"]
"""changed: it has another version. published: it has the same one, and is published otherwise."""
Verdict = Literal["compatible", "numbers", "breaking"]
"""For who reads by name, granularity and labels. compatible: finds the same rows and points.
numbers: finds them with other numbers. breaking: something ends, or looks otherwise."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a definition.

    Attributes:
        before, after: Its versions; empty where there is none.
        was: The name that it had, if it is renamed.
        fields: What differs; nothing of those that come or go.
        outcomes: Of its granularities, finer ones first.
        groups: Whether the same streams fall into the same groups; empty where one side is none.
        base_lines: What its first increases begin with.
        backfills: Of granularities whose past is not there, or would have other numbers.
    """

    name: str
    kind: Kind
    before: str
    after: str
    was: str
    fields: tuple[FieldChange, ...]
    outcomes: tuple[Outcome, ...]
    groups: Numbers
    base_lines: BaseLines
    backfills: tuple[Backfill, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst that any of it is."""
        if self.kind in ("gone", "renamed") or any(one.breaks for one in self.outcomes):
            return "breaking"
        differ = any("may differ" in (one.numbers, one.points) for one in self.outcomes)
        return "numbers" if differ else "compatible"


@dataclass(frozen=True, slots=True)
class Kept:
    """How many days the store keeps rows of windows of so many seconds, of all definitions."""

    resolution: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs between two sets of definitions.

    Attributes:
        changes: In order of name.
        same: How many definitions do not differ.
        kept: What of the store's retention differs, which is one for all definitions.
        derived: What becomes of derived definitions, in order of name.
    """

    changes: tuple[Change, ...]
    same: int
    kept: tuple[Kept, ...] = ()
    derived: tuple[DerivedChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.derived)


def differences(
    before: Iterable[ResolvedDefinition],
    after: Iterable[ResolvedDefinition],
    *,
    log_seconds: int | None = None,
    retention: Sequence[Mapping[int, int]] = (),
    derived: tuple[Iterable[ResolvedDerived], Iterable[ResolvedDerived]] = ((), ()),
) -> Differences:
    """What differs, by name. A definition that goes while one of the same meaning comes under
    another name is renamed.

    Args:
        log_seconds: How long raw points are kept; None: unknown.
        retention: Resolution in seconds -> days that the store keeps its rows, before and after;
            empty: unknown, as other definitions have a say in it.
        derived: What is derived from them, before and after.
    """
    old = {one.name: one for one in before}
    new = {one.name: one for one in after}
    renamed = dict(_renamed(old, new))
    found: list[Change] = []
    same = 0
    for name in sorted(old.keys() | new.keys()):
        if name in renamed.values():
            continue
        was, now = old.get(renamed.get(name, name)), new.get(name)
        if was == now:
            same += 1
        else:
            found.append(_change(was, now, list(old.values()), log_seconds))
    changes, unchanged = derived_changes(*derived)
    kept = tuple(_kept(*retention)) if retention else ()
    return Differences(tuple(found), same + unchanged, kept, changes)


def _renamed(
    old: Mapping[str, ResolvedDefinition], new: Mapping[str, ResolvedDefinition]
) -> Iterator[tuple[str, str]]:
    """(new name, old name), where nothing else of the meaning differs; each once."""
    gone: dict[str, list[str]] = {}
    for name in sorted(old.keys() - new.keys()):
        gone.setdefault(_meaning(old[name]), []).append(name)
    for name in sorted(new.keys() - old.keys()):
        if same := gone.get(_meaning(new[name])):
            yield name, same.pop(0)


def _meaning(one: ResolvedDefinition) -> str:
    """The version that it would have whatever its name."""
    values = {each.name: getattr(one, each.name) for each in fields(one)}
    return version_of(values | {"name": ""})


def _change(
    was: ResolvedDefinition | None,
    now: ResolvedDefinition | None,
    old: list[ResolvedDefinition],
    log_seconds: int | None,
) -> Change:
    there = was if now is None else now
    assert there is not None
    found = outcomes(was, now)
    anew = now is not None and (was is None or was.version != now.version)
    old_name = "" if was is None or was.name == there.name else was.name
    past = backfills(now, found, log_seconds) if now is not None and not old_name else ()
    return Change(
        name=there.name,
        kind=_kind(was, now),
        before="" if was is None else was.version,
        after="" if now is None else now.version,
        was=old_name,
        fields=() if was is None or now is None else tuple(field_changes(was, now)),
        outcomes=found,
        groups="" if was is None or now is None else groups_of_streams(was, now),
        base_lines=base_lines(old, now) if anew and now is not None else "not needed",
        backfills=past,
    )


def _kind(was: ResolvedDefinition | None, now: ResolvedDefinition | None) -> Kind:
    if was is None:
        return "new"
    if now is None:
        return "gone"
    if was.name != now.name:
        return "renamed"
    return "published" if was.version == now.version else "changed"


def _kept(before: Mapping[int, int], after: Mapping[int, int]) -> Iterator[Kept]:
    """Where there are rows, and something else says how long they stay."""
    for resolution in sorted(before) if after else ():
        then, now = before[resolution], _days(after, resolution)
        if then != now:
            yield Kept(resolution, then, now)


def _days(retention: Mapping[int, int], resolution: int) -> int:
    """As the store finds them: of the next longer windows, or of the longest."""
    longer = [each for each in sorted(retention) if resolution <= each]
    return retention[longer[0] if longer else max(retention)]
