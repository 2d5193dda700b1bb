"""The page of a derived definition."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.derived.checking import DerivedEntry
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.derived.words import meaning
from metric_registry.granularities import text_of
from metric_registry.pages.catalogue import NOBODY, Catalogue, derived_page_of, owner_page, page_of
from metric_registry.pages.definition import tests_of
from metric_registry.pages.markup import Child, Markup, code, el, link, page, section, table
from metric_registry.pages.queries import Query, identifier, literal
from metric_registry.pages.words import listed
from metric_registry.show import show_derived


def derived_page(known: Catalogue, entry: DerivedEntry) -> str:
    """All that is known of it."""
    one, path = entry.resolved, derived_page_of(entry)
    owner = entry.model.owner or NOBODY
    facts = [
        ["owner", link(owner, owner_page(owner), path)],
        ["derived", f"{one.formula}, in {one.unit}"],
        ["version", code(one.version)],
        ["written in", code(f"{entry.file}:{entry.line}")],
    ]
    rows = [el("tr", el("th", name, scope="row"), el("td", value)) for name, value in facts]
    fields = [
        [code(each.field), each.value, code(each.origin) if each.place else each.origin]
        for each in show_derived(entry).values
    ]
    return page(
        path,
        one.name,
        el("h1", one.name),
        el("p", entry.model.description or "It has no description."),
        el("table", el("tbody", rows)),
        section("What it means", el("ul", [el("li", said) for said in meaning(one)])),
        section("From its inputs to a view", _lineage(known, one, path)),
        section("Ask for it", *_asking(one)),
        section("Fields, and where they are written", table(["field", "value", "written in"],
                                                            fields)),
        section("Tests", tests_of(known, one.name)),
    )  # fmt: skip


def _lineage(known: Catalogue, one: ResolvedDerived, path: str) -> Markup:
    pages = {entry.resolved.name: page_of(entry) for entry in known.entries}
    inputs = [
        el(
            "li",
            link(code(given.name), pages[given.name], path),
            f", in {given.unit}",
            ", added up over what it keeps beside" if given.summed else "",
        )
        for given in one.inputs
    ]
    steps: list[tuple[str, Child]] = [
        ("Inputs", el("ul", inputs)),
        ("Groups", listed(list(one.group_by))),
        ("Windows", ", ".join(map(text_of, one.granularities))),
        ("Computed", one.formula),
        ("View", code(f"tidemill.{identifier(one.name)}")),
    ]
    return el("ol", [el("li", el("strong", name), what) for name, what in steps], class_="flow")


def derived_queries(one: ResolvedDerived, database: str = "tidemill") -> Iterator[Query]:
    """Questions that the view answers, as SQL."""
    view, size = f"{database}.{identifier(one.name)}", text_of(one.granularities[0])
    yield Query(
        f"The newest windows of {size}",
        f"SELECT window_end, labels, value, unit, inputs\nFROM {view}\n"
        f"WHERE granularity = {literal(size)} AND window_end > now() - INTERVAL 1 DAY\n"
        "ORDER BY window_end DESC, toString(labels)\nLIMIT 20",
    )


def _asking(one: ResolvedDerived) -> Iterator[Child]:
    yield el("p", "In the store, where it is a view; say of which time, or all of it is computed:")
    for query in derived_queries(one):
        yield el("h3", query.title)
        yield el("pre", code(query.sql))
    yield el("p", "On the command line: ", code(f"tidemill query {one.name}"))
