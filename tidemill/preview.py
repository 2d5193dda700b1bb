"""What definitions would make of traffic, before they are deployed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metric_registry.cases.comparing import Found
from metric_registry.granularities import Granularity, step_of, text_of
from metric_registry.plan import ResolvedDefinition
from tidemill.trial import Trial
from topologies.edge.cut import UnparsableError
from topologies.encodings.otlp import times_of

_DAY = 86_400
_REFUSALS = 5


class Given(NamedTuple):
    """A request: the partition whose order it is in, whose it is, when it came (unix ns; 0: when
    its newest point was measured). idle: It is the mark of an idle partition instead.
    """

    partition: str
    tenant: str
    received: int
    request: bytes
    idle: bool = False


@dataclass(frozen=True, slots=True)
class OfGranularity:
    """Rows of one window size: how many windows and groups there were, and rows with all their
    revisions; `a_day`, rows a day by the groups of a window.
    """

    granularity: str
    windows: int
    groups: int
    rows: int
    a_day: int


@dataclass(frozen=True, slots=True)
class OfDefinition:
    """What a definition would publish; `resets` are counters' notices by their name."""

    definition: ResolvedDefinition
    points: int
    granularities: tuple[OfGranularity, ...]
    late_points: int
    corrected: int
    resets: dict[str, int]
    refused: tuple[str, ...]
    sample: tuple[Found, ...]


@dataclass(slots=True)
class Preview:
    """What was read, and what becomes of it."""

    requests: int = 0
    points: int = 0
    streams: int = 0
    lost: dict[str, int] = field(default_factory=dict[str, int])
    notes: list[str] = field(default_factory=list[str])
    of: list[OfDefinition] = field(default_factory=list[OfDefinition])


def preview(
    definitions: Sequence[ResolvedDefinition], given: Iterable[Given], sample: int
) -> Preview:
    """Run the product's own topology over requests, all of whose windows are sealed at the end.

    sample: Rows of each definition that are shown: of its finest windows, the newest ones.
    """
    found = Preview()
    requests = list(given)
    partitions = {name: at for at, name in enumerate(sorted({one.partition for one in requests}))}
    trial = Trial(definitions, len(partitions))
    newest = 0
    for one in requests:
        if one.idle:
            trial.idle(partitions[one.partition], one.request)
            continue
        try:
            last = times_of(one.request, one.received)[2]
            newest = max(newest, last)
            trial.give(partitions[one.partition], one.request, one.tenant, one.received or last)
            found.requests += 1
        except (UnparsableError, ValueError) as error:
            found.notes.append(f"a request is left out: {error}")
    trial.close(newest)
    trial.run()
    ledgers = trial.ledgers()
    found.notes += [f"a request could not be processed: {why}" for why in trial.dead_letters()]
    found.points = sum(each["points"] for each in ledgers)
    found.streams = sum(each["streams"] for each in ledgers)
    found.lost = {
        name: total
        for name in ("beyond", "rejected", "negative", "contradictory", "repeats")
        if (total := sum(each[name] for each in ledgers))
    }
    rows: dict[str, list[Found]] = {one.name: [] for one in definitions}
    for name, row in trial.rows():
        rows[name].append(row)
    found.of = [_of(one, rows[one.name], ledgers, sample) for one in definitions]
    return found


def _of(
    one: ResolvedDefinition, rows: list[Found], ledgers: list[dict[str, Any]], sample: int
) -> OfDefinition:
    finest = text_of(one.granularities[0])
    resets: Counter[str] = Counter()
    for ledger in ledgers:
        for each in ledger["resets"]:
            if each["definition"] == one.name:
                counts = {k: n for k, n in each.items() if k not in ("definition", "windows")}
                resets.update(counts)
    read = [row for row in rows if row.granularity == finest]
    latest = {(row.end, *sorted(row.labels.items())): row for row in read}
    shown = sorted(latest.values(), key=lambda row: (-row.end, sorted(row.labels.items())))
    return OfDefinition(
        definition=one,
        points=sum(row.points for row in latest.values() if not row.deleted),
        granularities=tuple(_size(size, rows) for size in one.granularities),
        late_points=sum(row.late for row in latest.values()),
        corrected=sum(row.revision > 1 for row in read),
        resets=dict(sorted(resets.items())),
        refused=tuple(_refusals(one, ledgers)),
        sample=tuple(shown[:sample]),
    )


def _size(granularity: Granularity, rows: list[Found]) -> OfGranularity:
    name = text_of(granularity)
    own = [row for row in rows if row.granularity == name]
    of_window = Counter(row.end for row in own if row.revision == 1)
    most = max(of_window.values(), default=0)
    groups = {tuple(sorted(row.labels.items())) for row in own}
    a_day = round(most * _DAY / step_of(granularity))
    return OfGranularity(name, len(of_window), len(groups), len(own), a_day)


def _refusals(one: ResolvedDefinition, ledgers: list[dict[str, Any]]) -> list[str]:
    """Why streams that it reads count nothing."""
    told = {
        f"{each['reason']} ({each['detail']})"
        for ledger in ledgers
        for each in ledger["refused"]
        if each.get("definition", one.name) == one.name
    }
    return sorted(told)[:_REFUSALS]
