"""What the steps of a task keep, and what a later version of the topology may go on with.

Steps are matched by name. Of a step whose words are the same the state continues; one of another
meaning under the same name is refused, for what is stored cannot be read as that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.errors import Fatal


@dataclass(frozen=True, slots=True)
class Kept:
    """The steps of one sub-topology that keep something.

    `version`: of the whole topology, as its author counts. `stores`: step -> what it keeps, in
    words. `plan`: all of it in one line, as states before there were versions name it.
    """

    version: int
    stores: Mapping[str, str]
    plan: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """What becomes of stores: by name, sorted; `refused` with the reason."""

    continues: tuple[str, ...]
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    refused: Mapping[str, str]


def continuation(old: Mapping[str, str], new: Mapping[str, str]) -> Continuation:
    """What becomes of the stores of an old version in a new one."""
    both = sorted(set(old) & set(new))
    return Continuation(
        continues=tuple(name for name in both if old[name] == new[name]),
        begins=tuple(sorted(set(new) - set(old))),
        ends=tuple(sorted(set(old) - set(new))),
        refused={
            name: f"it keeps {old[name]!r} and would have to keep {new[name]!r}; give the changed "
            "one another name (name=...): the old one ends, and it begins anew beside it"
            for name in both
            if old[name] != new[name]
        },
    )


def taken_over(old: Mapping[str, str], version: int, kept: Kept, whose: str) -> Continuation:
    """What becomes of the stores that this version of the topology left.

    Raises:
        Fatal: They are not ours to go on with; it says why, and what to do.
    """
    change = continuation(old, kept.stores)
    if old == kept.stores:
        return change
    if version > kept.version:
        why = f"version {version} has taken over and this is version {kept.version}"
        raise Fatal(f"{whose}: {why}", "Start this worker with the newer version")
    if change.refused:
        said = "; ".join(f"{name}: {reason}" for name, reason in change.refused.items())
        raise Fatal(f"{whose}: {said}", "See `tidemill topology diff` before")
    if version == kept.version:
        names = ", ".join((*change.begins, *change.ends))
        advice = "Give the changed topology a higher version: StreamsBuilder(..., version=...)"
        raise Fatal(f"{whose}: it differs in {names}", advice)
    return change
