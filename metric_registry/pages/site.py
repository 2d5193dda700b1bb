"""All pages of a catalogue: a function of what it is made of, the same bytes each time (C)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from metric_registry.check import Entry
from metric_registry.derived.checking import DerivedEntry
from metric_registry.durations import render
from metric_registry.errors import count
from metric_registry.explain import reads
from metric_registry.granularities import text_of
from metric_registry.pages.catalogue import (
    NOBODY,
    Catalogue,
    derived_page_of,
    owner_page,
    page_of,
    source_page,
)
from metric_registry.pages.definition import definition_page
from metric_registry.pages.derived import derived_page
from metric_registry.pages.markup import Child, Markup, code, el, link, page, section, table

_INDEX = "index.html"


def site(known: Catalogue) -> dict[str, bytes]:
    """Pages by their paths, as UTF-8."""
    pages = {_INDEX: _index(known)}
    pages |= {page_of(entry): definition_page(known, entry) for entry in known.entries}
    pages |= {derived_page_of(entry): derived_page(known, entry) for entry in known.derived}
    for source, readers in known.by_source.items():
        pages[source_page(source)] = _source(source, readers)
    for owner, owned in known.by_owner.items():
        path = owner_page(owner)
        head = el("h1", owner)
        derived = known.derived_by(owner)
        said = el("p", f"Answers for {count(len(owned) + len(derived), 'definition')}.")
        pages[path] = page(path, owner, head, said, _listing(owned, path, derived))
    return {path: pages[path].encode() for path in sorted(pages)}


def _index(known: Catalogue) -> str:
    sources = len(known.by_source)
    total = f"{count(len(known.entries), 'definition')} of {count(sources, 'source')}"
    total += f", {len(known.derived)} derived" if known.derived else ""
    search = el(
        "p",
        el("label", "Search: names, descriptions, owners, sources", for_="search"),
        el("input", id="search", type="search", autocomplete="off"),
        el("span", id="shown", class_="soft", aria_live="polite"),
        hidden="hidden",
    )
    owned = {name: [*mine, *known.derived_by(name)] for name, mine in known.by_owner.items()}
    return page(
        _INDEX,
        "Metrics",
        el("h1", "Metrics"),
        el("p", f"{total}, as their definitions say.", class_="soft"),
        search,
        el("div", _listing(known.entries, _INDEX, known.derived), id="definitions"),
        section("By owner", _counted(owned, owner_page)),
        section("By source", _counted(known.by_source, source_page)),
        section("By folder", *_folders(known.by_folder)),
    )


def _counted(groups: Mapping[str, Sequence[object]], path: Callable[[str], str]) -> Markup:
    found = [el("li", link(name, path(name), _INDEX), f" ({len(groups[name])})") for name in groups]
    return el("ul", found)


def _folders(groups: Mapping[str, list[Entry]]) -> Iterable[Child]:
    for folder, entries in groups.items():
        names = [
            el("li", link(each.resolved.name, page_of(each), _INDEX), " ", code(each.file))
            for each in entries
        ]
        summary = el("summary", code(folder), f" ({len(entries)})")
        yield el("details", summary, el("ul", names))


def _source(source: str, readers: list[Entry]) -> str:
    path = source_page(source)
    what = "A pattern of metric names." if "*" in source else "A metric, as it is sent."
    units = sorted({each.resolved.source_unit for each in readers})
    body: list[Child] = [
        el("h1", source),
        el("p", f"{what} Read by {count(len(readers), 'definition')}, in {' or '.join(units)}."),
    ]
    return page(path, source, *body, _listing(readers, path))


def _listing(entries: list[Entry], path: str, derived: Sequence[DerivedEntry] = ()) -> Markup:
    rows: list[Sequence[Child]] = [
        [
            link(entry.resolved.name, page_of(entry), path),
            entry.model.description or "",
            link(entry.model.owner or NOBODY, owner_page(entry.model.owner or NOBODY), path),
            reads(entry.resolved),
            ", ".join(text_of(size) for size in entry.resolved.granularities),
            entry.resolved.unit,
            _freshness(entry),
        ]
        for entry in entries
    ]
    rows += [
        [
            link(entry.resolved.name, derived_page_of(entry), path),
            entry.model.description or "",
            link(entry.model.owner or NOBODY, owner_page(entry.model.owner or NOBODY), path),
            f"derived: {entry.resolved.formula}",
            ", ".join(text_of(size) for size in entry.resolved.granularities),
            entry.resolved.unit,
            "",
        ]
        for entry in derived
    ]
    head = ["name", "meaning", "owner", "reads", "windows", "unit", "freshness"]
    return table(head, rows)


def _freshness(entry: Entry) -> str:
    promised = entry.model.service_level.freshness
    return "" if promised is None else render(promised)
