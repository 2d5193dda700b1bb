"""From the replies of tasks to an answer: parts are put together, and only if they fit.

What a window holds so far is what sources would send of it if they sealed now, and what the roll-up
has received from those that have sealed it. The two fit if the roll-up has received of each source
the seals that the source has sent, all of them and no others. Then every record before a source's
position is counted once, but for those that came after the source had sealed the window: these are
late, and the window's first publication will not count them either.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streams.batch import decode_table
from streams.event_time.levels import name_of, window_start, zone_of
from streams.event_time.windows import EARLIEST
from streams.kernels.rows import GROUP_POINTS
from streams.queries.answers import Bound, reaches, token
from streams.queries.questions import Place, QueryError, Reply
from streams.task.events import TaskId
from topologies.cardinality import Share, share_of
from topologies.epochs import topic_of_source
from topologies.partials import PartialRows, from_table
from topologies.queries.labels import with_labels
from topologies.queries.questions import (
    MetricQuestion,
    ReducerPart,
    SourcePart,
    Window,
    least,
    reducer_part,
    source_part,
)
from topologies.results import HISTOGRAMS, message_of
from topologies.rollup.groups import finishing, merged, values
from topologies.rollup.guard import bounded
from topologies.rollup.upserts import histogram, number

A_MOMENT_MS = 100
A_WHILE_MS = 1_000

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Replies:
    """What tasks said: by `topic/partition`, with where they stood."""

    sources: Mapping[str, tuple[Reply, SourcePart]]
    reducers: Mapping[str, tuple[Reply, ReducerPart]]

    @classmethod
    def of(cls, sources: Mapping[TaskId, Reply], reducers: Mapping[TaskId, Reply]) -> Replies:
        """Of tasks of pre-aggregation and of the roll-up."""
        return cls(
            {t.input: (reply, source_part(reply.part)) for t, reply in sources.items()},
            {t.input: (reply, reducer_part(reply.part)) for t, reply in reducers.items()},
        )

    def _all(self) -> dict[str, Reply]:
        found = {name: reply for name, (reply, _) in self.sources.items()}
        return found | {name: reply for name, (reply, _) in self.reducers.items()}

    def positions(self) -> dict[str, Reply]:
        """Every task's reply, in order."""
        return dict(sorted(self._all().items()))

    def parts(self) -> Iterable[SourcePart | ReducerPart]:
        """What they said, all alike."""
        yield from (part for _, part in self.sources.values())
        yield from (part for _, part in self.reducers.values())


def may_overflow(replies: Replies, shares: Mapping[str, int]) -> bool:
    """Whether a tenant may have more groups in a window than its limit: then all must be asked for.

    shares: By version, the groups that a virtual shard keeps.
    """
    crowd: dict[str, int] = {}
    for part in replies.parts():
        for version, groups in part.crowd.items():
            crowd[version] = crowd.get(version, 0) + groups
    return any(groups > shares.get(version, 0) for version, groups in crowd.items())


def answer(question: MetricQuestion, limit: int, bound: Bound, replies: Replies) -> dict[str, Any]:
    """The answer, as JSON. Raises `QueryError`, with a time after which to ask again.

    Both kinds of tasks were asked the same, those of the roll-up first.
    """
    if question.is_open:
        _complete(replies)
        _fits(replies)
    at = replies.positions()
    reaches(bound, at)
    horizon = least(part.reached for part in replies.parts())
    gone = max((p.gone.get(question.pane, EARLIEST) for _, p in replies.reducers.values()))
    rows = _Rows()
    for (is_open, pane, end), parts in _by_window(replies).items():
        if is_open and end <= gone:
            continue  # of a load that comes too late for it
        rows.add(is_open, pane, end, parts, question, horizon)
    chosen, horizon = rows.first(limit, horizon)
    return {
        "metric": question.metric,
        "granularity": name_of(question.level),
        "zone": zone_of(question.level),
        "domain": question.domain,
        "rows": chosen,
        "windows": _windows(replies, rows),
        "next": None if horizon is None else token(horizon),
        "position": {name: reply.position for name, reply in at.items()},
        "committed": {name: reply.committed for name, reply in at.items()},
        "closed_until": _known(min(_closed(question, replies))),
        "gone_until": _known(gone),
    }


def _known(time: int) -> int | None:
    return None if time == EARLIEST else time


def _closed(question: MetricQuestion, replies: Replies) -> Iterable[int]:
    """By roll-up task, up to where every window of the domain is closed."""
    return (part.closed.get(question.pane, EARLIEST) for _, part in replies.reducers.values())


def _complete(replies: Replies) -> None:
    """All sources of each topic have answered, by the same definitions."""
    heard: dict[str, list[SourcePart]] = {}
    for name, (_, part) in replies.sources.items():
        heard.setdefault(topic_of_source(name), []).append(part)
    for topic, parts in heard.items():
        wanted = max(part.sources for part in parts)
        if len(parts) < wanted:
            raise QueryError(
                503, "joining", f"{len(parts)} of the {wanted} partitions of {topic} run where "
                "they can be asked", retry_ms=A_WHILE_MS,
            )  # fmt: skip
    versions = [part.versions for parts in heard.values() for part in parts]
    if any(each != versions[0] for each in versions):
        message = "a change of definitions has not reached every partition yet"
        raise QueryError(503, "adopting", message, retry_ms=A_WHILE_MS)


def _fits(replies: Replies) -> None:
    for shard, (_, reducer) in replies.reducers.items():
        for source, (_, part) in replies.sources.items():
            for pane, told in part.told.items():
                received = reducer.received.get(pane, {}).get(source, EARLIEST)
                if received != told or source in reducer.torn:
                    raise QueryError(
                        503, "settling", f"windows that {source} has sealed are on their way to "
                        f"{shard}", retry_ms=A_MOMENT_MS,
                    )  # fmt: skip


def _by_window(replies: Replies) -> dict[tuple[bool, str, int], list[Window]]:
    found: dict[tuple[bool, str, int], list[Window]] = {}
    for part in replies.parts():
        for window in part.windows:
            found.setdefault((window.is_open, window.pane, window.end), []).append(window)
    return found


@dataclass(frozen=True, slots=True)
class _Of:
    """Rows of one window: `at` are those that are wanted, in order of their places."""

    is_open: bool
    pane: str
    end: int
    rows: PartialRows
    at: I64
    revisions: I64 | None
    first_points: I64 | None


@dataclass(slots=True)
class _Rows:
    """The rows of all windows; definitions are numbered as they are first met."""

    definitions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    found: list[_Of] = field(default_factory=list[_Of])

    def add(
        self,
        is_open: bool,
        pane: str,
        end: int,
        parts: Iterable[Window],
        question: MetricQuestion,
        horizon: Place | None,
    ) -> None:
        """Merge what tasks have of a window, up to the horizon."""
        tables = [decode_table(part.rows) for part in parts]
        rows = [self._with_our_indexes(from_table(table), table.meta) for table in tables]
        revisions = first_points = None
        if is_open:
            whole = bounded(merged(rows), self._shares()) if question.whole else merged(rows)
        else:  # each group is one roll-up task's
            whole = PartialRows.join(rows)
            revisions, first_points = (
                np.concatenate([table.array(name) for table in tables])
                for name in ("revision", "first_points")
            )
        wanted = np.ones(len(whole), np.bool_)
        if question.whole:
            wanted = with_labels(whole.labels, question.labels)
        behind = question.behind
        if behind is not None and behind[0] == end:
            wanted &= whole.high > np.uint64(behind[1])
        if horizon is not None and horizon[0] <= end:
            wanted &= (whole.high <= np.uint64(horizon[1])) & (horizon[0] == end)
        at = np.flatnonzero(wanted)
        at = at[np.lexsort((whole.low[at], whole.high[at]))]
        self.found.append(_Of(is_open, pane, end, whole, at, revisions, first_points))

    def first(self, limit: int, horizon: Place | None) -> tuple[list[dict[str, Any]], Place | None]:
        """The first rows as JSON, and the place they come to; None: these are all."""
        places = [
            (of.end, int(high), which, int(row))
            for which, of in enumerate(self.found)
            for row, high in zip(of.at.tolist(), of.rows.high[of.at].tolist(), strict=True)
        ]
        places.sort()
        if len(places) > limit:
            horizon = places[limit - 1][:2]
            limit += sum(place[:2] == horizon for place in places[limit:])  # of one hash, together
            places = places[:limit]
        told: dict[tuple[int, int], dict[str, Any]] = {}
        for which, of in enumerate(self.found):
            chosen = np.array([row for *_, whose, row in places if whose == which], np.int64)
            for row, said in zip(chosen.tolist(), self._told(of, chosen), strict=True):
                told[which, row] = said
        return [told[which, row] for *_, which, row in places], horizon

    def _told(self, of: _Of, chosen: I64) -> Iterable[dict[str, Any]]:
        rows = of.rows.take(chosen)
        results, histograms = values(rows, [finishing(one) for one in self.definitions])
        points = rows.rows[:, GROUP_POINTS].tolist()
        for row in range(len(rows)):
            definition = self.definitions[int(rows.definition[row])]
            said: dict[str, Any] = {
                "window_start": window_start(of.end, int(rows.level[row])),
                "window_end": of.end,
                "open": of.is_open,
                "labels": msgspec.json.decode(rows.labels[row]),
            }
            if histograms is not None and definition["instrument"] in HISTOGRAMS:
                point = message_of(definition["instrument"], histograms[row])
                said["histogram"] = histogram(point)
            else:
                said["value"] = number(float(results[row]))
            said |= {"unit": definition["unit"], "points": points[row]}
            if of.revisions is not None and of.first_points is not None:
                at = int(chosen[row])
                late = max(points[row] - int(of.first_points[at]), 0)
                said |= {"late": late, "revision": int(of.revisions[at])}
            yield said | {"version": definition["version"]}

    def _shares(self) -> list[Share]:
        return [share_of(one["limit"]) for one in self.definitions]

    def _with_our_indexes(self, rows: PartialRows, meta: dict[str, Any]) -> PartialRows:
        ours: list[int] = []
        for described in meta["definitions"]:
            version = described["version"]
            known = [one["version"] for one in self.definitions]
            if version not in known:
                self.definitions.append(described)
                known.append(version)
            ours.append(known.index(version))
        if not len(rows):
            return rows
        return replace(rows, definition=np.array(ours, np.uint16)[rows.definition])


def _windows(replies: Replies, rows: _Rows) -> list[dict[str, Any]]:
    """Of each open window with rows, who has sealed it, at which record."""
    found: list[dict[str, Any]] = []
    for of in rows.found:
        if not of.is_open or not len(of.at):
            continue
        sealed_by: dict[str, int] = {}
        for _, reducer in replies.reducers.values():
            for source, steps in reducer.seals.get(of.pane, {}).items():
                at = bisect_left([until for until, _ in steps], of.end)
                if at < len(steps):
                    sealed_by[source] = steps[at][1]
        found.append({"window_end": of.end, "sealed_by": dict(sorted(sealed_by.items()))})
    return sorted(found, key=lambda window: window["window_end"])
