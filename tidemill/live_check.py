"""Definitions held against traffic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metric_registry.check import Entry
from metric_registry.compile import compile_plan
from metric_registry.documents import Sources
from metric_registry.live.report import Checked, LiveReport, report
from metric_registry.load import Reader
from tidemill.preview import Given
from topologies.edge.cut import UnparsableError
from topologies.encodings.otlp import times_of
from topologies.observe.facts import GAP, facts_of
from topologies.observe.watching import Watch


def live_check(
    entries: Sequence[Entry], given: Iterable[Given], notes: list[str], gap: int = GAP
) -> LiveReport:
    """What in the traffic contradicts the definitions.

    notes: Gets what could not be read. gap: ns, as `topologies.observe.facts.facts_of` has it.
    """
    watch, received = Watch(), True
    for one in given:
        if one.idle:
            watch.mark(one.partition, one.request)
            continue
        received &= bool(one.received)
        try:
            came = one.received or times_of(one.request, one.received)[2]
            watch.feed(one.partition, one.request, one.tenant, came)
        except (UnparsableError, ValueError) as error:
            notes.append(f"a request is left out: {error}")
    notes += [f"a record cannot be read: {why}" for why in sorted(set(watch.malformed))]
    ordered = sorted(entries, key=lambda entry: entry.resolved.name)
    plan = compile_plan([entry.resolved for entry in ordered])
    promised = [entry.model.service_level.freshness for entry in ordered]
    looked, found = facts_of(watch, plan, gap=gap, received=received, freshness=promised)
    of = [Checked(entry, facts) for entry, facts in zip(ordered, found, strict=True)]
    return report(looked, of, _sources(ordered))


def _sources(entries: Sequence[Entry]) -> Sources:
    """The lines of the files that definitions and their defaults stand in."""
    sources, reader = Sources(), Reader()
    ways = [way for entry in entries for way in entry.merged.ways.values() if way is not None]
    for file in sorted({entry.file for entry in entries} | {way.file for way in ways}):
        sources.add(reader.file(file))
    return sources
