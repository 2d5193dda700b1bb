"""The streams of a series table as blocks of bytes, for a task's state and changelog.

A block: a header (magic, first slot, first context, first origin), the 12 lengths of its parts, a
checksum of all that follows, the parts. It holds the streams of a range of slots, and the contexts
and origins that these were the first to use.
"""

from __future__ import annotations

import struct
import zlib

from topologies.identity.interning import Interner

_MAGIC = b"TMS1"
_HEADER = struct.Struct("<4s16I")


def export_block(
    origins: Interner, contexts: Interner, streams: Interner, first: int, last: int
) -> bytes:
    """The streams of slots ``first`` to ``last - 1``."""
    of_contexts = streams.owners_before(first), streams.owners_before(last)
    of_origins = contexts.owners_before(of_contexts[0]), contexts.owners_before(of_contexts[1])
    parts = [
        *origins.export(*of_origins),
        *contexts.export(*of_contexts),
        *streams.export(first, last),
    ]
    body = b"".join(parts)
    begins = first, of_contexts[0], of_origins[0]
    return _HEADER.pack(_MAGIC, *begins, *map(len, parts), zlib.crc32(body)) + body


def load_block(origins: Interner, contexts: Interner, streams: Interner, block: bytes) -> None:
    """Append a block. Raises ``ValueError`` if it is damaged or does not come next."""
    if len(block) < _HEADER.size:
        raise ValueError("a block of streams is shorter than its header")
    magic, *begins_and_lengths, checksum = _HEADER.unpack_from(block)
    body = memoryview(block)[_HEADER.size :]
    lengths = begins_and_lengths[3:]
    if magic != _MAGIC or sum(lengths) != len(body) or zlib.crc32(body) != checksum:
        raise ValueError("a block of streams is damaged, or of another version")
    held = [streams.count, contexts.count, origins.count]
    if begins_and_lengths[:3] != held:
        raise ValueError(
            f"a block of streams begins at slot {begins_and_lengths[0]}, but {held[0]} are held: "
            "load the blocks in the order in which they were exported"
        )
    parts: list[bytes] = []
    offset = 0
    for length in lengths:
        parts.append(bytes(body[offset : offset + length]))
        offset += length
    for index, interner in enumerate((origins, contexts, streams)):
        hashes, sizes, owners, data = parts[4 * index : 4 * index + 4]
        interner.load(hashes, sizes, owners, data)
