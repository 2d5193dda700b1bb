"""Units of work and the audit of seals: a pure core over what sources and reducers report.

A unit is a span of windows of one pane key and one shard partition. It is planned when any source
seals past its end, ready when all sources of the domain have, done when the reducer says it closed
it. The manager applies to the progress topic the same rule that reducers apply to their input, and
so finds a reducer that closed early, twice or never. Progress comes from several writers, so a
reducer's word may arrive before the source's that it rests on; such a unit is *unconfirmed* until
the sources catch up, and an error if they never do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streams.event_time.windows import EARLIEST, LATEST
from topologies.epochs import Epoch, Sealed, frontier
from topologies.epochs import topic_of_source as topic_of


@dataclass(frozen=True, slots=True)
class SourceSealed:
    """A source sealed every window of the pane key up to `until`.

    holds: see `topologies.epochs.Sealed`.
    """

    domain: str
    source: str
    epoch: Epoch
    pane: str
    until: int
    offset: int
    idle: bool
    watermark: int
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """A reducer closed every window of the pane key up to `until`."""

    domain: str
    reducer: str
    pane: str
    after: int
    until: int
    windows: int
    rows: int


Report = SourceSealed | Closed


@dataclass(slots=True)
class Span:
    """A domain's progress in one pane key.

    epochs: by topic; the sources of an epoch are the partitions of its topic.
    """

    epochs: dict[str, Epoch] = field(default_factory=dict[str, Epoch])
    sealed: dict[str, int] = field(default_factory=dict[str, int])
    watermarks: dict[str, int] = field(default_factory=dict[str, int])
    idle: dict[str, bool] = field(default_factory=dict[str, bool])
    holds: dict[str, bool] = field(default_factory=dict[str, bool])
    closed: dict[str, int] = field(default_factory=dict[str, int])
    windows: int = 0
    rows: int = 0

    @property
    def planned(self) -> int:
        """Windows up to here are planned: some source has sealed them."""
        return max(self.sealed.values(), default=EARLIEST)

    @property
    def ready(self) -> int:
        """Windows up to here can close: every source that has a say in them has sealed them."""
        return frontier(
            self.epochs,
            (Sealed(topic_of(s), until, self.holds[s]) for s, until in self.sealed.items()),
        )

    @property
    def current(self) -> list[str]:
        """The sources, of those heard of, that have a say in the next window."""
        ready = self.ready
        return [
            source
            for source in self.sealed
            if self.epochs[topic_of(source)].owns(min(ready, LATEST - 1) + 1)
            or (self.holds[source] and ready > self.epochs[topic_of(source)].until)
        ]

    @property
    def done(self) -> int:
        """Windows up to here are closed by every reducer heard of."""
        return min(self.closed.values(), default=EARLIEST)

    @property
    def unconfirmed(self) -> list[str]:
        """Reducers that closed further than the sources are known to have sealed."""
        return sorted(name for name, until in self.closed.items() if until > self.ready)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not happen, in words."""

    text: str


class Manager:
    """The state of all units. `step` takes a report and returns violations it shows.

    On the progress topic a source's newest seal of a pane key replaces those before, and what
    reducers have closed is there for as long as the topic keeps records. So a manager that begins
    behind the first record (`whole` is false) takes each reducer's first report for its begin.
    """

    def __init__(self) -> None:
        self.whole = True
        self.spans: dict[tuple[str, str], Span] = {}
        self.violations = 0

    def step(self, report: Report) -> list[Violation]:
        """Take one report."""
        span = self.spans.setdefault((report.domain, report.pane), Span())
        found: list[Violation] = []
        if isinstance(report, SourceSealed):
            topic = topic_of(report.source)
            span.epochs[topic] = report.epoch.after(span.epochs.get(topic))
            span.holds[report.source] = report.holds
            if report.until < span.sealed.get(report.source, EARLIEST):
                found.append(Violation(f"{report.source} sealed backwards, to {report.until}"))
            span.sealed[report.source] = max(report.until, span.sealed.get(report.source, EARLIEST))
            span.watermarks[report.source] = report.watermark
            span.idle[report.source] = report.idle
        else:
            begin = EARLIEST if self.whole else report.after
            before = span.closed.get(report.reducer, begin)
            if report.after != before:
                what = "again" if report.after < before else "with a gap"
                found.append(
                    Violation(
                        f"{report.reducer} closed {report.domain} {what}: from {report.after} to "
                        f"{report.until} where {before} stood"
                    )
                )
            span.closed[report.reducer] = max(before, report.until)
            span.windows += report.windows
            span.rows += report.rows
        self.violations += len(found)
        return found

    def holding(self, domain: str, pane: str) -> list[tuple[str, int]]:
        """The sources that hold the next window back, with how far they have sealed.

        A source that was never heard of has no entry; compare with `Span.epochs`.
        """
        span = self.spans.get((domain, pane))
        if span is None or not span.sealed:
            return []
        sealed = {source: span.sealed[source] for source in span.current}
        lowest = min(sealed.values(), default=EARLIEST)
        return sorted((s, until) for s, until in sealed.items() if until == lowest)

    def stats(self) -> list[dict[str, Any]]:
        """One row a domain and pane key."""
        return [
            {
                "domain": domain,
                "pane": pane,
                "sources": sum(epoch.sources for epoch in span.epochs.values()),
                "epochs": {t: [e.since, e.until] for t, e in sorted(span.epochs.items())},
                "heard_of": len(span.sealed),
                "planned": span.planned,
                "ready": span.ready,
                "done": span.done,
                "windows": span.windows,
                "rows": span.rows,
                "unconfirmed": span.unconfirmed,
                "watermarks": span.watermarks,
                "idle": sorted(source for source, idle in span.idle.items() if idle),
                "holding": [source for source, _ in self.holding(domain, pane)],
            }
            for (domain, pane), span in sorted(self.spans.items())
        ]
