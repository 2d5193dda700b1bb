"""Which stream each point belongs to: fingerprints to dense slots, and slots to streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topologies.encodings import points as columns
from topologies.encodings.otlp import malformed
from topologies.encodings.points import Malformed, Points
from topologies.encodings.schema import validation_stack
from topologies.identity import admission, canonical
from topologies.identity.canonical_kernel import MOST_ATTRIBUTES, OVERHEAD
from topologies.identity.canonical_parts import canonical_parts
from topologies.identity.fingerprints import FingerprintTable, look_up, remember
from topologies.identity.interning import Interner
from topologies.identity.series_blocks import export_block, load_block
from topologies.identity.stream import Stream

BLOCK_STREAMS = 4096


class SeriesTable:
    """Numbers streams 0, 1, 2, ... in the order in which the log first names them.

    Part of a task's state: :meth:`export_new` and :meth:`load` give the same slots for the same
    streams after a restart. Fingerprints are not kept: each is looked up once again, compiled.
    ``capacity``: how many streams to make room for at once.
    """

    def __init__(self, capacity: int = 1 << 12) -> None:
        self._known = FingerprintTable(capacity)
        self._origins = Interner()
        self._contexts = Interner()
        self._streams = Interner(capacity)
        self._stack = validation_stack()
        self._entries = np.zeros((MOST_ATTRIBUTES, 5), np.int64)
        self._hashing = np.zeros((3, 32), np.uint64)
        self._scratch = np.zeros(4 * OVERHEAD, np.uint8)

    def __len__(self) -> int:
        return self._streams.count

    def resolve(self, points: Points) -> tuple[NDArray[np.int32], tuple[Malformed, ...]]:
        """The slot of each point, i32[n]; streams seen for the first time get the next ones.

        The second part are messages whose attributes turn out malformed: none of them has a slot
        (-1) and nothing of them is remembered.
        """
        slots = np.empty(len(points), np.int32)
        missed = np.empty(len(points), np.int32)
        count = look_up(
            self._known.entries, points.fingerprint[0], points.fingerprint[1], slots, missed
        )
        if count == 0:
            return slots, ()
        return slots, self._admit(points, slots, missed[:count])

    def _admit(
        self, points: Points, slots: NDArray[np.int32], missed: NDArray[np.int32]
    ) -> tuple[Malformed, ...]:
        status = np.zeros(points.messages, np.int64)
        bad = admission.check_missed(
            points.buffer, missed, points.message, points.begin, points.end, status, self._stack
        )
        tenants = [tenant.encode() for tenant in points.tenants]
        packed = np.frombuffer(b"".join(tenants) + bytes(16), np.uint8).copy()
        ends = np.cumsum([0, *map(len, tenants)], dtype=np.int64)
        first = 0
        while first < len(missed):
            first, reason = self._admit_some(points, slots, missed, first, status, packed, ends)
            if reason == admission.NO_ROOM:
                self._make_room(points, missed, first)
            elif reason == admission.UNUSUAL:
                self._admit_unusual(points, slots, int(missed[first]))
                first += 1
        if bad == 0:
            return ()
        slots[status[points.message] != 0] = -1
        return tuple(malformed(int(each), int(status[each])) for each in np.flatnonzero(status))

    def _admit_some(
        self,
        points: Points,
        slots: NDArray[np.int32],
        missed: NDArray[np.int32],
        first: int,
        status: NDArray[np.int64],
        tenants: NDArray[np.uint8],
        tenant_ends: NDArray[np.int64],
    ) -> tuple[int, int]:
        counts = self._counts()
        stopped = admission.admit(
            points.buffer,
            missed,
            first,
            (points.message, points.metric, points.begin, points.end),
            points.metrics,
            status,
            (points.fingerprint[0], points.fingerprint[1]),
            tenants,
            tenant_ends,
            slots,
            self._origins.arrays(),
            self._contexts.arrays(),
            self._streams.arrays(),
            self._known.entries,
            counts,
            self._scratch,
            self._entries,
            self._hashing,
        )
        self._take(counts)
        return int(stopped), int(counts[admission.STATUS])

    def _counts(self) -> NDArray[np.int64]:
        held = (self._origins.count, self._contexts.count, self._streams.count, self._known.count)
        return np.array([*held, 0], np.int64)

    def _take(self, counts: NDArray[np.int64]) -> None:
        self._origins.count = int(counts[admission.ORIGINS])
        self._contexts.count = int(counts[admission.CONTEXTS])
        self._streams.count = int(counts[admission.STREAMS])
        self._known.count = int(counts[admission.FINGERPRINTS])

    def _make_room(self, points: Points, missed: NDArray[np.int32], first: int) -> None:
        """Room for the next missed row at least, and for all the others' slots."""
        row = int(missed[first])
        of = points.metrics[points.metric[row]]
        size = int(of[columns.RESOURCE_METRICS_END] - of[columns.RESOURCE_METRICS_BEGIN])
        size += len(points.tenants[int(points.message[row])].encode()) + OVERHEAD
        if size > self._scratch.shape[0]:
            self._scratch = np.zeros(2 * size, np.uint8)
        rest = len(missed) - first
        self._known.reserve(rest, self._streams.count)
        self._origins.reserve(1, size)
        self._contexts.reserve(1, size)
        self._streams.reserve(rest, size)

    def _admit_unusual(self, points: Points, slots: NDArray[np.int32], row: int) -> None:
        """The Python form, for what the compiled one leaves out; about 20 microseconds."""
        origin, context, attributes = canonical_parts(points, row)
        whole = origin + context + attributes
        if len(whole) > self._scratch.shape[0]:
            self._scratch = np.zeros(2 * len(whole), np.uint8)
        self._scratch[: len(whole)] = np.frombuffer(whole, np.uint8)
        for each in (self._origins, self._contexts, self._streams):
            each.reserve(1, len(whole))
        self._known.reserve(1, self._streams.count)
        counts = self._counts()
        slot = admission.admit_canonical(
            self._scratch,
            len(origin),
            len(origin) + len(context),
            len(whole),
            self._origins.arrays(),
            self._contexts.arrays(),
            self._streams.arrays(),
            counts,
            self._hashing,
        )
        fingerprint = points.fingerprint[0, row], points.fingerprint[1, row]
        remember(self._known.entries, fingerprint[0], fingerprint[1], slot)
        counts[admission.FINGERPRINTS] += 1
        self._take(counts)
        slots[row] = slot

    def canonical(self, slot: int) -> bytes:
        """The canonical bytes of a slot's stream."""
        context = int(self._streams.owners[slot])
        origin = int(self._contexts.owners[context])
        parts = (self._origins.content(origin), self._contexts.content(context))
        return b"".join((*parts, self._streams.content(slot)))

    def identity(self, slot: int) -> bytes:
        """The durable identity of a slot's stream: BLAKE2b-128 of its canonical bytes."""
        words: NDArray[Any] = self._streams.hashes[slot].astype("<u8")
        return words.tobytes()

    def stream(self, slot: int) -> Stream:
        """What the slot's stream is. Raises ``IndexError`` for a slot not given."""
        if not 0 <= slot < self._streams.count:
            raise IndexError(f"slot {slot} of {self._streams.count}")
        read = canonical.Reader(self.canonical(slot), len(canonical.VERSION))
        tenant, resource = read.text(), read.map()
        scope_name, scope_version, scope = read.text(), read.text(), read.map()
        metric, unit, kind = read.text(), read.text(), read.byte()
        return Stream(
            slot,
            tenant,
            resource,
            scope_name,
            scope_version,
            scope,
            metric,
            unit,
            kind & columns.KIND_MASK,
            kind & columns.MONOTONIC != 0,
            read.map(),
        )

    def export_new(self, since_slot: int) -> list[bytes]:
        """The streams from a slot on, as blocks of up to BLOCK_STREAMS streams, for the state.

        Blocks are self-contained given those before them; keep them in order.
        """
        return [
            export_block(
                self._origins,
                self._contexts,
                self._streams,
                first,
                min(first + BLOCK_STREAMS, len(self)),
            )
            for first in range(since_slot, len(self), BLOCK_STREAMS)
        ]

    def load(self, blocks: Iterable[bytes]) -> None:
        """Take the streams of exported blocks, each behind what is held so far.

        Raises ``ValueError`` for a block that is damaged or not the next one.
        """
        for block in blocks:
            load_block(self._origins, self._contexts, self._streams, block)
