"""Definitions as a catalogue: who reads what, who owns it, where it stands, what is related (C)."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metric_registry.cases.reading import Case
from metric_registry.check import Entry
from metric_registry.compile import compile_plan
from metric_registry.derive import NamePattern
from metric_registry.derived.checking import DerivedEntry
from metric_registry.explain import Explained, explain
from metric_registry.pages.markup import path_of

NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class LiveSize:
    """What the store holds of windows of one size; times as text, seconds."""

    granularity: str
    newest: str
    """The end of the newest window."""
    series: int
    """Groups of the last hour."""
    usual: int | None
    """Half of the last hour's windows were in the table so soon after their end."""
    longest: int | None


@dataclass(frozen=True, slots=True)
class Live:
    """What a running stack's store and log said, and when."""

    asked: str
    of: Mapping[str, Sequence[LiveSize]]
    """By the definition's name."""
    readers: Mapping[str, Sequence[str]] | None = None
    """The consumer groups that read a topic, by its name; None: the log was not asked."""


@dataclass(slots=True)
class Catalogue:
    """Everything that pages are made of. Each list is in order of names."""

    entries: list[Entry]
    by_source: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    """By a metric's name or a pattern: those that read it, also by a pattern that it fits."""
    by_owner: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    by_folder: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    explained: dict[str, Explained] = field(default_factory=dict[str, Explained])
    cases: dict[str, list[Case]] = field(default_factory=dict[str, list[Case]])
    live: Live | None = None
    derived: list[DerivedEntry] = field(default_factory=list["DerivedEntry"])
    """In order of names, as `entries`."""

    def derived_of(self, name: str) -> list[DerivedEntry]:
        """Those that are derived from a definition."""
        return [
            entry
            for entry in self.derived
            if any(given.name == name for given in entry.resolved.inputs)
        ]

    def derived_by(self, owner: str) -> list[DerivedEntry]:
        """Those that somebody answers for."""
        return [entry for entry in self.derived if (entry.model.owner or NOBODY) == owner]

    def related(self, entry: Entry) -> list[Entry]:
        """Other definitions that read something that it reads."""
        one = entry.resolved
        found = {
            other.resolved.name: other
            for source in (*one.sources, *one.patterns)
            for other in self.by_source[source]
            if other is not entry
        }
        return [found[name] for name in sorted(found)]


def catalogue(
    entries: Sequence[Entry],
    cases: Sequence[Case] = (),
    live: Live | None = None,
    derived: Sequence[DerivedEntry] = (),
) -> Catalogue:
    """The catalogue of definitions that were checked, with their tests."""
    ordered = sorted(entries, key=lambda entry: entry.resolved.name)
    made = Catalogue(ordered, live=live)
    made.derived = sorted(derived, key=lambda entry: entry.resolved.name)
    for each in made.derived:
        made.by_owner.setdefault(each.model.owner or NOBODY, [])
    plan = compile_plan([entry.resolved for entry in ordered])
    made.explained = {one.name: one for one in explain(plan).definitions}
    readers: dict[str, list[Entry]] = {}
    matching: list[tuple[NamePattern, Entry]] = []
    for entry in ordered:
        one = entry.resolved
        for source in (*one.sources, *one.patterns):
            readers.setdefault(source, []).append(entry)
        matching += [(NamePattern.of(pattern), entry) for pattern in one.patterns]
        made.by_owner.setdefault(entry.model.owner or NOBODY, []).append(entry)
        made.by_folder.setdefault(os.path.dirname(entry.file) or ".", []).append(entry)
    named = {source for entry in ordered for source in entry.resolved.sources}
    for source in sorted(readers):
        known = {entry.resolved.name: entry for entry in readers[source]}
        if source in named:
            fit = (entry for pattern, entry in matching if pattern.matches(source))
            known.update((entry.resolved.name, entry) for entry in fit)
        made.by_source[source] = [known[name] for name in sorted(known)]
    for case in cases:
        made.cases.setdefault(case.document.metric, []).append(case)
    made.by_owner = dict(sorted(made.by_owner.items()))
    made.by_folder = dict(sorted(made.by_folder.items()))
    return made


def page_of(entry: Entry) -> str:
    """The path of a definition's page."""
    return path_of("definitions", entry.resolved.name)


def derived_page_of(entry: DerivedEntry) -> str:
    """The path of a derived definition's page."""
    return path_of("definitions", entry.resolved.name)


def source_page(source: str) -> str:
    """The path of the page of a metric that is read, or of a pattern."""
    return path_of("sources", source)


def owner_page(owner: str) -> str:
    """The path of an owner's page."""
    return path_of("owners", owner)
