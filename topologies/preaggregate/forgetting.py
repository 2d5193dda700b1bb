"""Which streams are gone for good, and how a task lets go of them.

A stream that has sent nothing for longer than any correction reaches back is unknown again: nothing
of it is in a window that could change, and its base line counts no more. Where many are gone the
others are numbered anew, in their order, and everything that is kept by slot moves with them. What
is published does not depend on it: a stream that comes again is as one that was never seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
import numpy.typing as npt

from streams.event_time.windows import EARLIEST, LATEST
from streams.kernels.marks import mark

if TYPE_CHECKING:
    from topologies.preaggregate.aggregation import Aggregation
    from topologies.preaggregate.readings import Readings

A_BLOCK = 1 << 16

Mask = npt.NDArray[np.bool_]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of things that were numbered 0..n-1.

    Attributes:
        stays: bool[n].
        now: i64[n], the numbers that they have from now on; -1: gone.
    """

    stays: Mask
    now: I64

    @classmethod
    def of(cls, stays: Mask) -> Kept:
        """These stay, in their order."""
        return cls(stays, np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int64))


class Forgetting:
    """Decides when to look for streams that are gone, and which those are.

    While there are less than half as many again as stayed the last time, nothing is noted. Then it
    is watched who is heard of, until a quarter of all are gone or nobody can be any more.

    Args:
        gap: Silence after which a stream is unknown, ns of event time.
        least: Of fewer streams none are looked for.
    """

    def __init__(self, gap: int, least: int) -> None:
        self._tick = max(1, gap // 2)
        self._least = self._next = least
        self._watching = False
        self._since = self._looked = 0
        self._seen = np.zeros(0, np.int64)
        """By series the tick of event time in which it was last heard of."""
        self._saved = np.zeros(0, np.int64)
        self._known = 0

    def heard(self, series: I32, streams: int, newest: int) -> None:
        """Points of these have come. streams: how many there are; newest: the event time."""
        if not self._watching:
            return
        if streams > len(self._seen):
            grown = np.zeros(max(streams, 2 * len(self._seen)), np.int64)
            grown[: self._known] = self._seen[: self._known]
            self._seen = grown
        self._seen[self._known : streams] = newest // self._tick
        self._known = max(self._known, streams)
        mark(series, newest // self._tick, self._seen)

    def due(self, streams: int, time: int) -> bool:
        """Whether those that are gone should be looked for now: once a tick, while it watches."""
        tick = time // self._tick
        if not self._watching:
            if streams >= self._next:
                self._watch(np.full(streams, tick, np.int64), tick)
            return False
        due = tick > self._looked
        self._looked = tick
        return due

    def _watch(self, seen: I64, tick: int) -> None:
        self._watching, self._since, self._looked = True, tick, tick
        self._seen, self._known = seen, len(seen)

    def silent_since(self, time: int, streams: int) -> Mask:
        """Those that were last heard of before the event time came to this, bool[streams]."""
        gone = np.zeros(streams, np.bool_)
        known = self._seen[: min(streams, self._known)]
        gone[: len(known)] = (known + 1) * self._tick <= time
        return gone

    def worth(self, stays: Mask, time: int) -> bool:
        """Whether enough of all are gone of those that were silent since this time."""
        total, kept = len(stays), int(stays.sum())
        worth = total > kept and 4 * (total - kept) >= total
        if worth or (self._since + 1) * self._tick <= time:
            self._watching, self._known = False, 0
            self._seen = np.zeros(0, np.int64)
            self._next = max(self._least, (kept if worth else total) * 3 // 2)
        return worth

    # --- state -------------------------------------------------------------------------------

    def changed_blocks(self) -> Iterable[tuple[int, bytes | None]]:
        """(first series, block) of what changed since the last call; None: it is gone."""
        seen, saved = self._seen[: self._known], self._saved
        for start in range(0, max(len(seen), len(saved)), A_BLOCK):
            part = seen[start : start + A_BLOCK]
            if not np.array_equal(part, saved[start : start + A_BLOCK]):
                yield start, _squeezed(part) if len(part) else None
        self._saved = seen.copy()

    def restore(self, blocks: Iterable[tuple[int, bytes]], streams: int, newest: int) -> None:
        """What `changed_blocks` gave; streams that it does not name were heard of just now."""
        parts = [np.zeros(0, np.int64)]
        for _, block in sorted(blocks):
            raw: Any = cramjam.zstd.decompress(block)
            parts.append(np.frombuffer(bytes(raw), "<i8").astype(np.int64))
        self._saved = np.concatenate(parts)
        if len(self._saved):
            self._watch(self._saved.copy(), newest // self._tick)
            self.heard(np.zeros(0, np.int32), streams, newest)


def staying(
    forgetting: Forgetting,
    readings: Readings,
    aggregations: Sequence[Aggregation],
    times: tuple[int, int],
    position: int,
) -> Kept | None:
    """The streams that stay; None: all of them, by now.

    times: The watermark, and the newest event time. position: The next record. No points may be on
    their way through the task.
    """
    watermark = times[0]
    if EARLIEST in times or watermark == LATEST:
        return None
    if not forgetting.due(readings.streams, max(times)):
        return None
    slots = np.zeros(len(readings), np.bool_)
    for each in aggregations:
        each.in_use(slots, each.first_offset(position))
    silent = watermark - max((each.reach for each in aggregations), default=0)
    stays = readings.series_of(slots)
    stays |= ~forgetting.silent_since(silent, len(stays))
    return Kept.of(stays) if forgetting.worth(stays, silent) else None


def _squeezed(part: I64) -> bytes:
    return bytes(cramjam.zstd.compress(part.astype("<i8").tobytes(), 1))
