"""The windows of one aggregation: what is open, what closes with a record, what is revised.

Every row has a *tag*: the first window that closes after the row came, by the clock of its own
source. The row counts in that window and in those behind it; windows before it that hold its pane
had closed without it (it is late for them), and are revised when the tag's window closes, if
revisions are asked for. So what a window publishes first is a function of each source's records
alone, however fast the sources are read.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.errors import Rejected
from streams.event_time.windows import EARLIEST, window_end
from streams.operators.batch import Batch, Clock
from streams.operators.groups import CHUNK, Aggregation, Groups
from streams.operators.keys import PackedKeys, pack
from streams.operators.suppress import merged
from streams.operators.windows import TimeWindows
from streams.schema import Type
from streams.values import Values

I64 = npt.NDArray[np.int64]

Piece = tuple[int, int]
"""(tag, end of the pane)"""

_SETTLED = np.iinfo(np.int64).min
_KEY = struct.Struct(">qqI")


@dataclass(frozen=True, slots=True)
class Published:
    """Groups of a window, at its close or at a later revision of it."""

    end: int
    revision: int
    columns: Mapping[str, Values]
    count: int


class Panes:
    """Rows, or parts of groups, go in; windows come out as they close."""

    def __init__(
        self,
        windows: TimeWindows,
        keys: Mapping[str, Type],
        aggregations: Sequence[Aggregation],
    ) -> None:
        self.windows = windows
        self._keys = keys
        self.closed = EARLIEST
        self.late = 0  # rows that a window closed without
        self.dropped = 0  # of these, the rows that count nowhere
        self._aggregations = tuple(aggregations)
        self._pieces: dict[Piece, Groups] = {}
        self._revisions: dict[int, int] = {}
        self._gone: dict[Piece, int] = {}

    @property
    def open_groups(self) -> int:
        """Groups of all panes that are kept."""
        return sum(len(groups) for groups in self._pieces.values())

    # ------------------------------------------------------------ in

    def add(self, batch: Batch, clock: Clock) -> None:
        """Rows join their panes, unless they are too late for any window."""
        if not len(batch):
            return
        packed = pack([batch.columns[key] for key in self._keys], len(batch))
        panes = self.windows.panes_of(batch.times)
        passed = self.windows.closed_by(clock.before[batch.records])
        for pane, closed, rows in _alike(panes, passed):
            tag = self._tag(pane, closed)
            if tag > self.windows.first_window(pane):
                self.late += len(rows)
            if self._too_late(tag, pane):
                self.dropped += len(rows)
                continue
            groups = self._piece((tag, pane))
            whole = len(rows) == len(batch)
            chosen = batch if whole else batch.take(rows)
            groups.add(
                groups.slots(packed if whole else packed.take(rows)),
                chosen.columns,
                chosen.times,
            )

    def absorb(self, tag: int, pane: int, data: bytes) -> PackedKeys:
        """Groups that another task kept join the same piece here; their keys.

        Raises:
            Rejected: The window has closed: at least once, a crashed source says things again.
        """
        if tag <= self.closed:
            raise Rejected("repeated", "a part of a window that its source had closed before")
        groups = self._piece((tag, pane))
        return groups.index.picked(groups.absorb(data))

    def _tag(self, pane: int, closed: int) -> int:
        first = self.windows.first_window(pane)
        return first if closed == EARLIEST else max(first, closed + self.windows.advance)

    def _too_late(self, tag: int, pane: int) -> bool:
        return tag > self.windows.kept_until(pane)

    def _piece(self, piece: Piece) -> Groups:
        groups = self._pieces.get(piece)
        if groups is None:
            groups = self._pieces[piece] = Groups(self._aggregations)
            groups.saved = self._gone.pop(piece, 0)
        return groups

    # ------------------------------------------------------------ out

    def drain(self, closed: int | None) -> list[tuple[int, int, Groups]]:
        """Hand over the pieces of windows up to `closed`, in order; None: all there are."""
        if closed is not None:
            self.closed = closed
        pieces = sorted(p for p in self._pieces if closed is None or p[0] <= closed)
        return [(*piece, self._drop(piece)) for piece in pieces]

    def close(self, closed: int) -> list[Published]:
        """Close the windows up to this one; what they, and revisions before them, publish."""
        before, self.closed = self.closed, closed
        tags = {tag for tag, _ in self._pieces if _SETTLED < tag <= closed}
        ends = set(tags)
        for _, pane in self._pieces:
            ends.update(self.windows.windows_between(pane, before, closed))
        published: list[Published] = []
        for end in sorted(ends):
            published += self._settle(end) if end in tags else []
            whole = self._window(end, end)
            if len(whole):
                published.append(self._published(end, 1, whole, whole.in_order()))
            self._forget(end)
        self._forget(closed)
        return published

    def open_windows(self) -> list[Published]:
        """The windows that hold something and are not closed yet, as they are now."""
        ends: set[int] = set()
        for tag, pane in self._pieces:
            last = self.windows.last_window(pane)
            ends.update(self.windows.windows_between(pane, max(self.closed, tag - 1), last))
        found = [(end, self._window(end, end)) for end in sorted(ends)]
        return [self._published(end, 0, g, g.in_order()) for end, g in found if len(g)]

    def open_groups_of(self, changed: Mapping[int, PackedKeys]) -> list[Published]:
        """The open windows that hold these groups of panes, and of each the groups in it."""
        ends: set[int] = set()
        for pane in changed:
            last = self.windows.last_window(pane)
            ends.update(self.windows.windows_between(pane, self.closed, last))
        published: list[Published] = []
        for end in sorted(ends):
            whole = self._window(end, end)
            slots = whole.index.find(merged(changed, self.windows.panes_in(end)))
            slots = slots[slots >= 0]
            if len(slots):
                slots = slots[np.argsort(whole.index.hashes()[slots], kind="stable")]
                published.append(self._published(end, 0, whole, slots))
        return published

    def held(self, after: int, until: int) -> Iterator[tuple[int, int, list[Groups]]]:
        """(end, revision, what it is made of) of windows with ends in (after, until], ascending.

        Revision 0: it is open. Nothing is merged, and nothing may be changed.
        """
        by_pane: dict[int, list[tuple[int, Groups]]] = {}
        for (tag, pane), groups in self._pieces.items():
            by_pane.setdefault(pane, []).append((tag, groups))
        panes, size = sorted(by_pane), self.windows.size
        end = EARLIEST
        while True:
            # the first window behind `end` that holds a pane: most of the time there are few
            low = max(after, end)
            first = bisect_right(panes, low - size) if low >= EARLIEST + size else 0
            if first == len(panes):
                return
            end = max(self.windows.first_window(panes[first]), _next_window(low, self.windows))
            if end > until:
                return
            parts = [
                groups
                for pane in panes[first : bisect_right(panes, end)]
                if pane > end - size
                for tag, groups in by_pane[pane]
                if tag <= end  # of a closed window: what has settled
            ]
            if parts:
                yield end, 0 if end > self.closed else self._revisions.get(end, 1), parts

    def _settle(self, end: int) -> list[Published]:
        """Pieces with this tag join what is settled; revisions of earlier windows."""
        touched: dict[int, Groups] = {}
        for piece in sorted(p for p in self._pieces if p[0] == end):
            pane = piece[1]
            if self.windows.revised:
                late = self._pieces[piece]
                known = end - (self.windows.horizon_ns or 0) - 1
                for earlier in self.windows.windows_between(pane, known, end - 1):
                    keys = late.index.packed(0, len(late))
                    touched.setdefault(earlier, Groups(())).slots(keys)
            groups = self._drop(piece)
            settled = (_SETTLED, pane)
            if settled in self._pieces:
                self._pieces[settled].merge(groups)
            else:
                groups.saved = self._gone.pop(settled, 0)
                groups.changed = set(range((len(groups) + CHUNK - 1) // CHUNK))
                self._pieces[settled] = groups
        return [self._revised(earlier, touched[earlier]) for earlier in sorted(touched)]

    def _revised(self, end: int, touched: Groups) -> Published:
        revision = self._revisions[end] = self._revisions.get(end, 1) + 1
        whole = self._window(end, _SETTLED)
        slots = whole.slots(touched.index.packed(0, len(touched)))
        order = np.argsort(whole.index.hashes()[slots], kind="stable")
        return self._published(end, revision, whole, slots[order])

    def _published(self, end: int, revision: int, groups: Groups, slots: I64) -> Published:
        """As they are now: what settles later is not in it."""
        return Published(end, revision, groups.finish(slots, self._keys), len(slots))

    def _window(self, end: int, tag: int) -> Groups:
        """The groups of a window: what is settled in its panes, and pieces up to the tag."""
        first = end - self.windows.size
        parts = [
            groups
            for (piece_tag, pane), groups in self._pieces.items()
            if first < pane <= end and piece_tag <= tag
        ]
        if len(parts) == 1:
            return parts[0]
        whole = Groups(self._aggregations)
        for part in parts:
            whole.merge(part)
        return whole

    def _forget(self, closed: int) -> None:
        """Drop panes that neither a window nor a revision needs any more."""
        for piece in [p for p in self._pieces if p[0] == _SETTLED]:
            if self.windows.kept_until(piece[1]) <= closed:
                self._drop(piece)
        keep = closed - (self.windows.horizon_ns or 0) - self.windows.size
        self._revisions = {e: n for e, n in self._revisions.items() if e > keep}

    def _drop(self, piece: Piece) -> Groups:
        groups = self._pieces.pop(piece)
        if groups.saved:
            self._gone[piece] = groups.saved
        return groups

    # ------------------------------------------------------------ state

    def blocks(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What changed since the last call; None: is no more."""
        for piece, saved in self._gone.items():
            yield from ((_KEY.pack(*piece, chunk), None) for chunk in range(saved))
        self._gone.clear()
        for piece, groups in self._pieces.items():
            before = groups.saved
            for chunk, data in groups.chunks():
                yield _KEY.pack(*piece, chunk), data
            yield from ((_KEY.pack(*piece, c), None) for c in range(groups.saved, before))

    def load(self, key: bytes, data: bytes) -> None:
        """A block of `blocks`."""
        tag, pane, chunk = _KEY.unpack(key)
        groups = self._piece((tag, pane))
        groups.load(data)
        groups.saved = max(groups.saved, chunk + 1)

    def facts(self) -> dict[str, Any]:
        """What else belongs to the state, for JSON."""
        return {
            "closed": self.closed,
            "late": self.late,
            "dropped": self.dropped,
            "revisions": sorted(self._revisions.items()),
        }

    def restore(self, facts: dict[str, Any]) -> None:
        """The inverse of `facts`."""
        self.closed, self.late, self.dropped = facts["closed"], facts["late"], facts["dropped"]
        self._revisions = dict(facts["revisions"])


def _next_window(after: int, windows: TimeWindows) -> int:
    """The end of the first window behind this time."""
    return EARLIEST if after == EARLIEST else window_end(after + 1, windows.advance)


def _alike(panes: I64, closed: I64) -> Iterator[tuple[int, int, I64]]:
    """(pane, closed window, rows) of the rows that share both."""
    if panes.min() == panes.max() and closed.min() == closed.max():
        yield int(panes[0]), int(closed[0]), np.arange(len(panes))
        return
    order = np.lexsort((closed, panes))
    by_pane, by_closed = panes[order], closed[order]
    new = (np.diff(by_pane) != 0) | (np.diff(by_closed) != 0)
    begins = np.concatenate([[0], np.flatnonzero(new) + 1, [len(order)]])
    for first, end in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        yield int(by_pane[first]), int(by_closed[first]), order[first:end]
