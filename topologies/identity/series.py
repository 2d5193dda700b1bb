"""Which stream each point belongs to: fingerprints to dense slots, and slots to streams."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topologies.encodings import points as columns
from topologies.encodings.otlp import malformed
from topologies.encodings.points import Malformed, Points
from topologies.encodings.recurring import Recurring
from topologies.encodings.schema import validation_stack
from topologies.identity import admission, canonical
from topologies.identity.canonical_kernel import GROWTH, MOST_ATTRIBUTES, OVERHEAD
from topologies.identity.canonical_parts import attributes_of, origin_of, scope_of
from topologies.identity.fingerprints import FingerprintTable, look_up
from topologies.identity.interning import Interner
from topologies.identity.series_blocks import export_block, load_blocks
from topologies.identity.stream import Stream

BLOCK_STREAMS = 4096

# The fields of a Stream from `tenant` to `scope`, and to `monotonic`.
Scope = tuple[str, dict[str, Any], str, str, dict[str, Any]]
Context = tuple[str, dict[str, Any], str, str, dict[str, Any], str, str, int, bool]


class SeriesTable:
    """Numbers streams 0, 1, 2, ... in the order in which the log first names them.

    Part of a task's state: :meth:`export_new` and :meth:`load` give the same slots for the same
    streams after a restart. Fingerprints are not kept: each is looked up once again, compiled.
    ``capacity``: how many streams to make room for at once.
    """

    def __init__(self, capacity: int = 1 << 12) -> None:
        self.recurring = Recurring()
        """The messages whose points' slots are known by heart; for the scanner."""
        self._known = FingerprintTable(capacity)
        self._streams = Interner(capacity)
        # Each numbers what continues those of the one before.
        self._levels = (Interner(), Interner(), Interner(), self._streams)
        self._scope: tuple[int, Scope] = -1, ("", {}, "", "", {})
        self._context: tuple[int, Context] = -1, (*self._scope[1], "", "", 0, False)
        self._stack = validation_stack()
        self._entries = np.zeros((MOST_ATTRIBUTES, 5), np.int64)
        self._hashing = np.zeros((6, 32), np.uint64)
        self._scratch = np.zeros(4 * OVERHEAD, np.uint8)

    def __len__(self) -> int:
        return self._streams.count

    def resolve(self, points: Points) -> tuple[NDArray[np.int32], tuple[Malformed, ...]]:
        """The slot of each point, i32[n]; streams seen for the first time get the next ones.

        The second part are messages whose attributes turn out malformed: none of them has a slot
        (-1) and nothing of them is remembered.
        """
        known = points.slot
        slots = np.full(len(points), -1, np.int32) if known is None else known.copy()
        missed = np.empty(len(points), np.int32)
        count = look_up(
            self._known.entries, points.fingerprint[0], points.fingerprint[1], slots, missed
        )
        bad = self._admit(points, slots, missed[:count]) if count else ()
        self.recurring.learn(points, slots)
        return slots, bad

    def _admit(
        self, points: Points, slots: NDArray[np.int32], missed: NDArray[np.int32]
    ) -> tuple[Malformed, ...]:
        status = np.zeros(points.messages, np.int64)
        bad = admission.check_missed(
            points.buffer,
            missed,
            points.kind,
            points.message,
            points.begin,
            points.end,
            status,
            self._stack,
        )
        tenants = [tenant.encode() for tenant in points.tenants]
        packed = np.frombuffer(b"".join(tenants) + bytes(16), np.uint8).copy()
        ends = np.cumsum([0, *map(len, tenants)], dtype=np.int64)
        progress = np.full(admission.PROGRESS, -1, np.int64)
        origins, scopes, contexts, streams = self._levels
        first = 0
        while first < len(missed):
            counts = np.array([*(each.count for each in self._levels), self._known.count, 0])
            first = admission.admit(
                points.buffer, missed, first,
                (points.message, points.metric, points.begin, points.end),
                points.metrics, status, (points.fingerprint[0], points.fingerprint[1]),
                packed, ends, slots, origins.arrays(), scopes.arrays(), contexts.arrays(),
                streams.arrays(),
                self._known.entries, counts, progress, self._scratch, self._entries, self._hashing,
            )  # fmt: skip
            for level, each in enumerate(self._levels):
                each.count = int(counts[level])
            self._known.count = int(counts[admission.FINGERPRINTS])
            reason = int(counts[admission.STATUS])
            if reason == admission.NO_ROOM:
                self._make_room(points, missed, first)
            elif reason != admission.DONE:
                self._write_unusual(points, int(missed[first]), reason, progress)
        if bad == 0:
            return ()
        slots[status[points.message] != 0] = -1
        return tuple(malformed(int(each), int(status[each])) for each in np.flatnonzero(status))

    def _make_room(self, points: Points, missed: NDArray[np.int32], first: int) -> None:
        """Room for the next missed row at least, and for all the others' slots."""
        row = int(missed[first])
        of = points.metrics[points.metric[row]]
        size = int(of[columns.RESOURCE_METRICS_END] - of[columns.RESOURCE_METRICS_BEGIN])
        size = GROWTH * size + len(points.tenants[int(points.message[row])].encode()) + OVERHEAD
        if size > self._scratch.shape[0]:
            self._scratch = np.concatenate([self._scratch, np.zeros(2 * size, np.uint8)])
        rest = len(missed) - first
        self._known.reserve(rest, self._streams.count)
        for each in self._levels:
            each.reserve(rest if each is self._streams else 1, size)

    def _write_unusual(
        self, points: Points, row: int, reason: int, progress: NDArray[np.int64]
    ) -> None:
        """What the compiled form leaves out, by the reference parser: some 10 microseconds."""
        of = points.metrics[points.metric[row]]
        if reason == admission.UNUSUAL_ORIGIN:
            level, what = admission.RESOURCE, int(of[columns.RESOURCE_METRICS_BEGIN])
            part, begin = origin_of(points, row), 0
        elif reason == admission.UNUSUAL_SCOPE:
            level, what = admission.SCOPE, int(of[columns.SCOPE_METRICS_BEGIN])
            part, begin = scope_of(points, row), progress[admission.END + admission.RESOURCE]
        else:
            level, what = admission.POINT, row
            part, begin = attributes_of(points, row), progress[admission.END + admission.METRIC]
        end = int(begin) + len(part)
        self._scratch[begin:end] = np.frombuffer(part, np.uint8)
        admission.written(progress, level, what, end)

    def keep(self, stays: NDArray[np.bool_]) -> None:
        """Only these streams stay, bool[streams]; they get the slots 0, 1, ... in their order.

        What they share with streams that are gone stays as well. Each fingerprint is looked up once
        again.
        """
        masks = [stays]
        for level, above in itertools.pairwise(reversed(self._levels)):
            used = np.zeros(above.count, np.bool_)
            used[level.owners[: level.count][masks[-1]]] = True
            masks.append(used)
        owners = np.zeros(1, np.int64)  # the first level's strings continue nothing
        made: list[Interner] = []
        for level, mask in zip(self._levels, reversed(masks), strict=True):
            made.append(level.picked(mask, owners))
            owners = np.cumsum(mask) - 1
        self._levels = made[0], made[1], made[2], made[3]
        self._streams = made[3]
        self._known = FingerprintTable(max(1 << 12, self._streams.count))
        self.recurring.forget()
        self._scope = -1, self._scope[1]
        self._context = -1, self._context[1]

    def canonical(self, slot: int) -> bytes:
        """The canonical bytes of a slot's stream."""
        parts: list[bytes] = []
        number = slot
        for level in reversed(self._levels):
            parts.append(level.content(number))
            number = int(level.owners[number])
        return b"".join(reversed(parts))

    def identity(self, slot: int) -> bytes:
        """The durable identity of a slot's stream: BLAKE2b-128 of its canonical bytes."""
        words: NDArray[Any] = self._streams.hashes[slot].astype("<u8")
        return words.tobytes()

    @property
    def contexts(self) -> int:
        """Contexts 0..contexts-1 have streams; those of a resource, scope and metric share one."""
        return self._levels[2].count

    def context(self, number: int) -> Stream:
        """What the streams of a context have in common: one without attributes, and no slot."""
        if number != self._context[0]:
            self._context = number, self._read_context(number)
        return Stream(-1, *self._context[1], {})

    def attribute_arrays(self) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
        """For kernels: the canonical attributes of slot s are bytes[ends[s]:ends[s + 1]], its
        context is contexts[s]; (bytes, ends, contexts)."""
        _, _, ends, owners, data = self._streams.arrays()
        return data, ends, owners

    def stream(self, slot: int) -> Stream:
        """What the slot's stream is. Raises ``IndexError`` for a slot not given."""
        if not 0 <= slot < self._streams.count:
            raise IndexError(f"slot {slot} of {self._streams.count}")
        number = int(self._streams.owners[slot])
        if number != self._context[0]:
            self._context = number, self._read_context(number)
        content = canonical.Reader(self._streams.content(slot))
        attributes, bounds = content.map(), content.doubles()
        return Stream(slot, *self._context[1], attributes, bounds)

    def _read_context(self, number: int) -> Context:
        """What streams of one metric share. The last one is kept, since they come together."""
        contexts = self._levels[2]
        scope = int(contexts.owners[number])
        if scope != self._scope[0]:
            self._scope = scope, self._read_scope(scope)
        of_metric = canonical.Reader(contexts.content(number))
        metric, unit, kind = of_metric.text(), of_metric.text(), of_metric.byte()
        monotonic = kind & columns.MONOTONIC != 0
        return (*self._scope[1], metric, unit, kind & ~columns.MONOTONIC, monotonic)

    def _read_scope(self, number: int) -> Scope:
        """What the metrics of one scope share. The last one is kept as well."""
        origins, scopes, _, _ = self._levels
        origin = int(scopes.owners[number])
        of_origin = canonical.Reader(origins.content(origin), len(canonical.VERSION))
        of_scope = canonical.Reader(scopes.content(number))
        tenant, resource = of_origin.text(), of_origin.map()
        return tenant, resource, of_scope.text(), of_scope.text(), of_scope.map()

    def export_new(self, since_slot: int) -> list[bytes]:
        """The streams from a slot on, as blocks of up to BLOCK_STREAMS streams, for the state.

        Each block continues the one before: keep them in order.
        """
        return [
            export_block(self._levels, first, min(first + BLOCK_STREAMS, len(self)))
            for first in range(since_slot, len(self), BLOCK_STREAMS)
        ]

    def load(self, blocks: Iterable[bytes]) -> None:
        """Take the streams of exported blocks, each behind what is held so far.

        Raises ``ValueError`` for a block that is damaged or not the next one.
        """
        load_blocks(self._levels, blocks)
