"""From traffic to what was seen of each definition (C)."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metric_registry.granularities import step_of, text_of
from metric_registry.live.facts import (
    Facts,
    Late,
    Looked,
    MostGroups,
    RefusedStreams,
    SentTwice,
    Share,
    Sparse,
    Waited,
)
from metric_registry.plan import Plan, ResolvedDefinition
from streams.event_time import levels
from streams.event_time.windows import EARLIEST, SECOND, window_end
from topologies.encodings.points import DELTA, SUM_DELTA
from topologies.identity.stream import Stream, render
from topologies.observe.membership import OfStreams, described, of_streams
from topologies.observe.sequences import cumulative, intervals, sequences, sorted_by_stream
from topologies.observe.watching import Columns, Outside, Seals, Watch
from topologies.windows import level_of

I64 = NDArray[np.int64]
GAP = 900 * SECOND
_ADDS_UP = ("increase", "rate")


def facts_of(
    watch: Watch, plan: Plan, *, gap: int = GAP, received: bool, freshness: Sequence[int | None]
) -> tuple[Looked, list[Facts]]:
    """What was looked at, and what was seen of each definition, in the plan's order.

    gap: ns after which a silent stream begins anew; received: whether it is known when requests
    came; freshness: of each definition, what it promises, ns.
    """
    streams = watch.streams()
    columns = sorted_by_stream(watch.columns())
    seen = _Seen(streams, columns, watch.outside(), watch.seals() if received else [], gap)
    many = len(columns.time)
    looked = Looked(
        requests=watch.requests,
        points=many,
        streams=len(streams),
        repeats=watch.repeats,
        malformed=len(watch.malformed),
        first=int(columns.time.min()) if many else 0,
        last=int(columns.time.max()) if many else 0,
        metrics=tuple(sorted({each.metric for each in streams} | watch.summaries)),
        summaries=frozenset(watch.summaries),
        received=received,
    )
    found = of_streams(plan, streams)
    return looked, [seen.of(one, fresh) for one, fresh in zip(found, freshness, strict=True)]


class _Seen:
    """All points, and what of them concerns a definition."""

    def __init__(
        self,
        streams: Sequence[Stream],
        columns: Columns,
        outside: Outside,
        seals: Sequence[Seals],
        gap: int,
    ) -> None:
        self._streams, self._columns, self._outside = streams, columns, outside
        self._seals, self._gap = seals, gap
        self._points = np.bincount(columns.slot, minlength=len(streams))
        self._medians = intervals(columns)
        self._first = np.searchsorted(columns.slot, np.arange(len(streams)))

    def of(self, one: OfStreams, freshness: int | None) -> Facts:
        definition = one.definition
        members = np.array(one.members, np.int64)
        group = np.full(len(self._streams), -1, np.int64)
        names = {labels: number for number, labels in enumerate(dict.fromkeys(one.groups))}
        group[members] = [names[labels] for labels in one.groups]
        chosen = group[self._columns.slot] >= 0
        mine = Columns(*(column[chosen] for column in self._columns))
        counted = len(members)
        return Facts(
            sources={e: one.sources[e] for e in (*definition.sources, *definition.patterns)},
            values={attribute: dict(one.values.get(attribute, {})) for attribute, _ in
                    definition.where},
            passing=one.passing,
            counted=counted,
            refused=tuple(self._refused(one)),
            units={unit: tally.of(counted) for unit, tally in sorted(one.units.items())},
            lacking={name: tally.of(counted) for name, tally in sorted(one.lacking.items())},
            by_default={name: tally.of(counted) for name, tally in sorted(one.by_default.items())},
            twice=tuple(self._twice(one, group)),
            groups=_groups(definition, mine, group[mine.slot], list(names)),
            late=self._late(definition, mine),
            ahead=self._rejected(group, len(mine.time), early=True),
            negative=self._rejected(group, len(mine.time), early=False),
            sparse=self._sparse(definition, members),
            sequence=self._sequence(definition, mine),
            waited=_waited(definition, mine, self._seals, freshness),
        )  # fmt: skip

    def _refused(self, one: OfStreams) -> list[RefusedStreams]:
        return [
            RefusedStreams(
                why.reason,
                why.detail,
                len(slots),
                int(self._points[slots].sum()),
                described(self._streams[slots[0]]),
            )
            for why, slots in sorted(one.refused.items())
        ]

    def _twice(self, one: OfStreams, group: I64) -> list[SentTwice]:
        if len(one.definition.sources) + len(one.definition.patterns) < 2:
            return []
        spans: dict[tuple[str, str, int], dict[str, tuple[int, int]]] = {}
        for slot in one.members:
            stream = self._streams[slot]
            entry = one.entry_of(stream.metric)
            many = int(self._points[slot])
            if entry is None or not many:
                continue
            at = int(self._first[slot])
            span = int(self._columns.time[at]), int(self._columns.time[at + many - 1])
            key = stream.tenant, render(stream.resource), int(group[slot])
            known = spans.setdefault(key, {})
            before = known.get(entry, span)
            known[entry] = min(before[0], span[0]), max(before[1], span[1])
        found: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
        for (tenant, resource, _), known in sorted(spans.items()):
            names = sorted(known)
            for at, name in enumerate(names):
                for other in names[at + 1 :]:
                    (a, b), (c, d) = known[name], known[other]
                    if a <= d and c <= b:
                        found.setdefault((name, other), {})[tenant, resource] = resource
        return [
            SentTwice(names, len(resources), min(resources.values()))
            for names, resources in sorted(found.items())
        ]

    def _late(self, definition: ResolvedDefinition, mine: Columns) -> Late:
        if not len(mine.time):
            return Late()
        end = window_end(mine.time, definition.finest * SECOND)
        behind = np.where(mine.before == EARLIEST, -1, np.maximum(mine.before, end - 1) - end)
        late = behind >= definition.grace_ns
        beyond = late & (behind > definition.corrections_ns)
        ordered = np.sort(behind)
        return Late(
            points=len(behind),
            late=int(late.sum()),
            beyond=int(beyond.sum()),
            grace_99=_grace(ordered, 0.99),
            grace_999=_grace(ordered, 0.999),
            most=max(int(ordered[-1]), 0),
            example=self._described(mine.slot[late]),
            example_beyond=self._described(mine.slot[beyond]),
        )

    def _described(self, slots: I64) -> str:
        return described(self._streams[int(slots[0])]) if len(slots) else ""

    def _rejected(self, group: I64, counted: int, *, early: bool) -> Share:
        slots, ahead = self._outside
        mine = (group[slots] >= 0) & ((ahead != 0) == early)
        rejected = int((group[slots] >= 0).sum())
        return Share(int(mine.sum()), counted + rejected, self._described(slots[mine]))

    def _sparse(self, definition: ResolvedDefinition, members: I64) -> Sparse | None:
        """Of streams that say something at intervals: a delta says what there is to say."""
        wanted = np.zeros(len(self._streams), bool)
        every: list[int] = members.tolist()
        wanted[members] = [not _is_delta(self._streams[slot]) for slot in every]
        streams, median = self._medians
        mine = wanted[streams]
        size = step_of(definition.granularities[0]) * SECOND
        wide = mine & (median > size)
        if not wide.any():
            return None
        share = Share(int(wide.sum()), int(mine.sum()), self._described(streams[wide]))
        return Sparse(share, int(np.median(median[wide])))

    def _sequence(self, definition: ResolvedDefinition, mine: Columns) -> dict[str, Share]:
        if definition.over_time not in _ADDS_UP:
            return {}
        samples = cumulative(mine)
        return {
            how: Share(len(slots), len(samples.time), self._described(slots))
            for how, slots in sequences(samples, self._gap).items()
            if len(slots)
        }


def _is_delta(stream: Stream) -> bool:
    return stream.kind == SUM_DELTA or bool(stream.kind & DELTA)


def _grace(ordered: I64, share: float) -> int:
    """The whole seconds under which this share of points, by how far behind, is in time."""
    at = max(-int(-share * len(ordered) // 1) - 1, 0)
    behind = int(ordered[at])
    return 0 if behind < 0 else (behind // SECOND + 1) * SECOND


def _groups(
    definition: ResolvedDefinition, mine: Columns, group: I64, labels: Sequence[bytes]
) -> MostGroups | None:
    """The window with most groups; of several the first, of the finest size."""
    tenants: list[str] = [json.loads(each)["tenant"] for each in labels]
    every = sorted(set(tenants))
    number = {tenant: at for at, tenant in enumerate(every)}
    tenant_of = np.array([number[each] for each in tenants], np.int64)
    best: MostGroups | None = None
    for granularity in definition.granularities if len(group) else ():
        level = level_of(granularity, definition.zone_rules)
        firsts, place = np.unique(levels.window_end(mine.time, level), return_inverse=True)
        pairs = np.unique(group * len(firsts) + place)
        whose, end = tenant_of[pairs // len(firsts)], firsts[pairs % len(firsts)]
        if levels.is_hopping(level):
            hops = range(levels.longest(level) // levels.step_of(level))
            ends = np.concatenate([levels.end_after(end, level, hop) for hop in hops])
            rows = np.unique(np.stack([ends, np.tile(pairs // len(firsts), len(hops))], 1), axis=0)
            whose, end = tenant_of[rows[:, 1]], rows[:, 0]
        windows, counts = np.unique(np.stack([whose, end], axis=1), axis=0, return_counts=True)
        at = int(counts.argmax())
        if best is None or int(counts[at]) > best.groups:
            tenant, when = int(windows[at, 0]), int(windows[at, 1])
            best = MostGroups(text_of(granularity), int(counts[at]), every[tenant], when)
    return best


def _waited(
    definition: ResolvedDefinition, mine: Columns, seals: Sequence[Seals], freshness: int | None
) -> Waited | None:
    """Windows that all partitions have sealed, and when the last of them could.

    A window is published no earlier; later by what it takes to process it. What a partition had
    sealed before its first record was read, nobody knows.
    """
    if freshness is None or not seals or not len(mine.time):
        return None
    level = level_of(definition.granularities[0], definition.zone_rules)
    ends: I64 = np.unique(levels.window_end(mine.time, level))
    sealed = np.full(len(ends), EARLIEST, np.int64)
    known = np.ones(len(ends), bool)
    for one in seals:
        at = np.searchsorted(one.after, ends + definition.grace_ns)
        known &= (at > 0) & (at < len(one.after))
        sealed = np.maximum(sealed, one.came[np.minimum(at, len(one.came) - 1)])
    if not known.any():
        return None
    waited, ends = (sealed - ends)[known], ends[known]
    worst = int(waited.argmax())
    longer = int((waited > freshness).sum())
    return Waited(len(waited), longer, int(waited[worst]), int(ends[worst]))
