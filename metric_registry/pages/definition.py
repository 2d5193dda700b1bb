"""The page of a definition."""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.check import Entry
from metric_registry.durations import render, render_seconds
from metric_registry.explain import made_of
from metric_registry.granularities import text_of
from metric_registry.hierarchy import Rung
from metric_registry.pages.catalogue import (
    NOBODY,
    Catalogue,
    Live,
    derived_page_of,
    owner_page,
    page_of,
    source_page,
)
from metric_registry.pages.markup import Child, Markup, code, el, link, page, section, table
from metric_registry.pages.queries import identifier, queries
from metric_registry.pages.words import listed, meaning
from metric_registry.plan import ResolvedDefinition
from metric_registry.show import show


def definition_page(known: Catalogue, entry: Entry) -> str:
    """All that is known of a definition."""
    one, path = entry.resolved, page_of(entry)
    owner = entry.model.owner or NOBODY
    facts = [
        ["owner", link(owner, owner_page(owner), path)],
        ["published as", f"{one.instrument.replace('_', ' ')}, in {one.unit}"],
        ["version", code(one.version)],
        ["written in", code(f"{entry.file}:{entry.line}")],
    ]
    rows = [el("tr", el("th", name, scope="row"), el("td", value)) for name, value in facts]
    return page(
        path,
        one.name,
        el("h1", one.name),
        el("p", entry.model.description or "It has no description."),
        el("table", el("tbody", rows)),
        section("What it means", el("ul", [el("li", said) for said in meaning(one)])),
        section("From source to table", _lineage(known, entry, path)),
        section("Windows", _windows(one)),
        section("Service level and limits", _promises(entry)),
        _live(known, one),
        section("Ask for it", *_asking(one)),
        section("Fields, and where they are written", _fields(entry)),
        section("Tests", tests_of(known, one.name)),
        section("Related", _related(known, entry, path)),
    )


def _lineage(known: Catalogue, entry: Entry, path: str) -> Markup:
    """Each step that a point goes through, from its name to a table."""
    one = entry.resolved
    steps: list[tuple[str, Child]] = []
    sources: list[Child] = []
    for source in (*one.sources, *one.patterns):
        sources += [" or " if sources else "", link(code(source), source_page(source), path)]
    what = one.source_instrument.replace("_", " ")
    steps.append(("Source", [*sources, f", {what} points" if what else ""]))
    if one.attributes:
        made = [el("li", *_in_code(made_of(each))) for each in one.attributes]
        steps.append(("Attributes made", el("ul", made)))
    if one.where:
        asked = [el("li", code(name), " is ", " or ".join(values)) for name, values in one.where]
        steps.append(("Filter", el("ul", asked)))
    if one.source_unit != one.read_unit:
        steps.append(("Unit", f"{one.source_unit} to {one.read_unit}"))
    groups: list[Child] = [listed(list(one.group_by))]
    if entry.rung is not None:
        groups += [": ", *_levels(known, entry.rung, path)]
    steps.append(("Groups", groups))
    steps.append(("Windows", ", ".join(text_of(size) for size in one.granularities)))
    explained = known.explained[one.name]
    passes = "in two passes, by way of partials" if explained.coherence == "partials" else (
        "in one pass"
    )  # fmt: skip
    steps.append(("Computed", f"{passes}: {explained.reason}"))
    topics = [name for name, on in (("metrics", one.publish_final), ("rollups", one.publish_upsert))
              if on]  # fmt: skip
    if topics:
        steps.append(("Topics", [[" and " if at else "", code(name)]
                                 for at, name in enumerate(topics)]))  # fmt: skip
    kept = ", ".join(f"{text_of(size)} for {render_seconds(n)}" for size, n in one.retention)
    steps.append(("Table", [code(f"tidemill.{identifier(one.name)}"), f", {kept}"]))
    return el("ol", [el("li", el("strong", name), what) for name, what in steps], class_="flow")


def _levels(known: Catalogue, rung: Rung, path: str) -> Iterator[Child]:
    """All levels of the hierarchy, each with its page, but for the one that is shown."""
    pages = {each.resolved.name: page_of(each) for each in known.entries}
    yield "one level of "
    for at, (by, name) in enumerate(zip(rung.by, rung.names, strict=True)):
        yield " < " if at else ""
        yield el("strong", by) if at == rung.index else link(by, pages[name], path)
    yield ", each computed from the streams themselves"


def _in_code(text: str) -> Iterator[Child]:
    """Words in which what stands in backquotes is a name."""
    for at, part in enumerate(text.split("`")):
        yield code(part) if at % 2 else part


def _windows(one: ResolvedDefinition) -> Markup:
    head = [
        "granularity",
        "sealed after its end",
        "corrected for",
        "rows kept",
        "series ends after",
    ]
    expire = dict(one.publish_expire_after)
    return table(
        head,
        [
            [
                code(text_of(size)),
                render(one.grace_ns),
                render(one.corrections_ns),
                render_seconds(seconds),
                f"{expire[size]} windows without data",
            ]
            for size, seconds in one.retention
        ],
    )


def _promises(entry: Entry) -> Markup:
    level, one = entry.model.service_level, entry.resolved
    fresh = "nothing is promised" if level.freshness is None else render(level.freshness)
    whole = "nothing is promised"
    if level.completeness is not None:
        whole = f"{level.completeness * 100:g}%"
    return table(
        ["what", "how much"],
        [
            ["freshness: from a window's end to its first publication", fresh],
            ["completeness: points that the first publication counts", whole],
            ["groups of a tenant in a window", f"{one.series_limit:,}"],
        ],
    )


def _live(known: Catalogue, one: ResolvedDefinition) -> Child:
    """What the store said, if it was asked."""
    if known.live is None:
        return ""
    sizes = known.live.of.get(one.name, ())
    reading = _readers(known.live, one)
    if not sizes:
        said = el("p", f"The store held no rows of this version at {known.live.asked}.")
        return section("Now", said, *reading)
    rows = [
        [
            code(each.granularity),
            each.newest,
            f"{each.series:,}",
            "-" if each.usual is None else render_seconds(each.usual),
            "-" if each.longest is None else render_seconds(each.longest),
        ]
        for each in sizes
    ]
    head = ["granularity", "newest window", "groups, last hour", "usual freshness", "worst"]
    about = f"As the store said at {known.live.asked}; freshness of the last hour's windows."
    return section("Now", el("p", about, class_="soft"), table(head, rows), *reading)


def _readers(live: Live, one: ResolvedDefinition) -> Iterator[Child]:
    """Consumer groups of the topics that it is on; they read all that is there."""
    if live.readers is None:
        return
    on = {"metrics": one.publish_final, "rollups": one.publish_upsert}
    for topic in (name for name, there in on.items() if there):
        groups = live.readers.get(topic, ())
        listed = el("ul", [el("li", code(name)) for name in groups])
        whose = "Consumer groups that read" if groups else "No consumer group reads"
        yield el("p", f"{whose} the topic ", code(topic), ", this metric among others:"
                 if groups else ".")  # fmt: skip
        yield listed if groups else ""


def _asking(one: ResolvedDefinition) -> Iterator[Child]:
    yield el("p", "In the store, where each definition is a view of the latest revisions:")
    for query in queries(one):
        yield el("h3", query.title)
        yield el("pre", code(query.sql))
    yield el("p", "On the command line: ", code(f"tidemill query {one.name}"))
    labels = el("ul", [el("li", code(name)) for name in one.group_by])
    if one.publish_final:
        yield el(
            "p", "On the topic ", code("metrics"), ": OTLP, one point a series and window, under "
            "this name, with the scope's attributes ", code("tidemill.definition"), ", ",
            code("tidemill.version"), " and ", code("tidemill.interval"),
            f"; {one.publish_temporality} where it is a sum or a histogram. "
            "The attributes of its series:",
        )  # fmt: skip
        yield labels
    if one.publish_upsert:
        yield el("p", "On the topic ", code("rollups"), ": every revision of a row, as JSON under "
                 "its key.")  # fmt: skip


def _fields(entry: Entry) -> Markup:
    rows = [
        [code(each.field), each.value, code(each.origin) if each.place else each.origin]
        for each in show(entry).values
    ]
    return table(["field", "value", "written in"], rows)


def tests_of(known: Catalogue, name: str) -> Markup:
    """The tests of a definition, by its name."""
    cases = known.cases.get(name, [])
    if not cases:
        return el("p", "It has none. ", code("tidemill registry test"), " says how to write one.")
    named = [
        el("li", case.document.name, " ", code(f"{case.file}:{case.line()}")) for case in cases
    ]
    return el("ul", named)


def _related(known: Catalogue, entry: Entry, path: str) -> Child:
    derived = [
        el("li", link(each.resolved.name, derived_page_of(each), path), ": ",
           each.model.description or "")
        for each in known.derived_of(entry.resolved.name)
    ]  # fmt: skip
    above: list[Child] = [el("p", "Derived from it:"), el("ul", derived)] if derived else []
    return [*above, _same_source(known, entry, path)]


def _same_source(known: Catalogue, entry: Entry, path: str) -> Child:
    others = known.related(entry)
    if not others:
        return el("p", "No other definition reads its source.")
    named = [
        el("li", link(each.resolved.name, page_of(each), path), ": ", each.model.description or "")
        for each in others
    ]
    return [el("p", "Made of the same source:"), el("ul", named)]
