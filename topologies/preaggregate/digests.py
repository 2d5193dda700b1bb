"""Repeats of a request, recognised by the digest of its bytes for ten minutes.

Clocks of edges may be two minutes apart: what was first seen more than twelve minutes before the
newest receipt is forgotten, even should an edge's clock be so far behind that ten have not passed.

An agent that never saw the answer sends the same bytes again. What counts is the time at which the
edge received them, so that a replay of the log decides the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from streams.event_time.windows import SECOND

REMEMBERED = 600 * SECOND
SPREAD = 120 * SECOND
"""How far behind the newest receipt another edge's clock may be."""
_BUCKET = 60 * SECOND
_SPAN = 65_536  # offsets
_ENTRY = struct.Struct(">16sqq")


class Digests:
    """Digests by the minute in which they were first received."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[bytes, tuple[int, int]]] = {}
        self._bucket_of: dict[bytes, int] = {}
        self._changed: set[int] = set()

    def __len__(self) -> int:
        return len(self._bucket_of)

    def is_repeat(self, digest: bytes, offset: int, received: int, newest: int) -> bool:
        """Whether an earlier record had these bytes; if not, remember that this one has them.

        newest: the newest receipt among this record and those before it in the log.
        Asked again about a record that was none, it says so again; those that were, `Repeats` know.
        """
        bucket = self._bucket_of.get(digest)
        if bucket is not None:
            first, when = self._buckets[bucket][digest]
            known = received - when < REMEMBERED and newest - when < REMEMBERED + SPREAD
            if first != offset and known:
                return offset > first
            if first == offset:
                return False
            del self._buckets[bucket][digest]
            self._changed.add(bucket)
        bucket = received // _BUCKET
        self._bucket_of[digest] = bucket
        self._buckets.setdefault(bucket, {})[digest] = (offset, received)
        self._changed.add(bucket)
        return False

    def forget(self, received: int) -> None:
        """Drop the minutes that no repeat can fall back to.

        received: the newest receipt among records that are processed; what was only read ahead
        must not decide, or results would depend on how the log was cut into batches.
        """
        oldest = (received - REMEMBERED - SPREAD) // _BUCKET
        for bucket in [bucket for bucket in self._buckets if bucket < oldest]:
            for digest in self._buckets.pop(bucket):
                del self._bucket_of[digest]
            self._changed.add(bucket)

    def changed_blocks(self) -> Iterator[tuple[int, bytes | None]]:
        """(minute, entries) of the minutes that changed since the last call; None: dropped."""
        for bucket in sorted(self._changed):
            entries = self._buckets.get(bucket)
            if entries is None:
                yield bucket, None
            else:
                yield bucket, b"".join(_ENTRY.pack(d, *where) for d, where in entries.items())
        self._changed.clear()

    def restore(self, bucket: int, block: bytes) -> None:
        """Load one minute."""
        entries = {digest: (at, when) for digest, at, when in _ENTRY.iter_unpack(block)}
        self._buckets[bucket] = entries
        self._bucket_of.update(dict.fromkeys(entries, bucket))


class Repeats:
    """The offsets of records that were found to be repeats, for when the log is read again."""

    def __init__(self) -> None:
        self._spans: dict[int, set[int]] = {}
        self._changed: set[int] = set()

    def __contains__(self, offset: int) -> bool:
        return offset in self._spans.get(offset // _SPAN, ())

    def add(self, offset: int) -> None:
        """The record at this offset is a repeat."""
        self._spans.setdefault(offset // _SPAN, set()).add(offset)
        self._changed.add(offset // _SPAN)

    def forget(self, before: int) -> None:
        """Nobody will read records before this offset again."""
        for span in [span for span in self._spans if span < before // _SPAN]:
            del self._spans[span]
            self._changed.add(span)

    def changed_blocks(self) -> Iterator[tuple[int, bytes | None]]:
        """(span, offsets) of the spans that changed since the last call; None: dropped."""
        for span in sorted(self._changed):
            offsets = self._spans.get(span)
            if offsets is None:
                yield span, None
            else:
                yield span, b"".join(offset.to_bytes(8, "big") for offset in sorted(offsets))
        self._changed.clear()

    def restore(self, span: int, block: bytes) -> None:
        """Load one span."""
        cuts = range(0, len(block), 8)
        self._spans[span] = {int.from_bytes(block[at : at + 8], "big") for at in cuts}
