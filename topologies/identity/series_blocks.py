"""The streams of a series table as blocks of bytes, for a task's state and changelog.

A block: a header (magic, the first number of each level, the lengths of all parts, a checksum of
what follows), and the parts. It holds the streams of a range of slots, and the origins, scopes and
contexts that these were the first to use.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from topologies.identity.interning import Interner

_MAGIC = b"TMS1"
_LEVELS, _PARTS = 4, 4
_HEADER = struct.Struct(f"<4s{_LEVELS}I{_LEVELS * _PARTS}II")


def export_block(levels: Sequence[Interner], first: int, last: int) -> bytes:
    """The streams of slots ``first`` to ``last - 1``, which are of the last level."""
    begins: list[int] = []
    parts: list[bytes] = []
    for level in reversed(levels):
        begins.append(first)
        parts += level.export(first, last)
        first, last = level.owners_before(first), level.owners_before(last)
    body = b"".join(parts)
    return _HEADER.pack(_MAGIC, *begins, *map(len, parts), zlib.crc32(body)) + body


def load_block(levels: Sequence[Interner], block: bytes) -> None:
    """Append a block. Raises ``ValueError`` if it is damaged or does not come next."""
    if len(block) < _HEADER.size:
        raise ValueError("a block of streams is shorter than its header")
    magic, *numbers, checksum = _HEADER.unpack_from(block)
    body = memoryview(block)[_HEADER.size :]
    begins, lengths = numbers[:_LEVELS], numbers[_LEVELS:]
    if magic != _MAGIC or sum(lengths) != len(body) or zlib.crc32(body) != checksum:
        raise ValueError("a block of streams is damaged, or of another version")
    held = [level.count for level in reversed(levels)]
    if begins != held:
        raise ValueError(
            f"a block of streams begins at slot {begins[0]}, but {held[0]} are held: "
            "load the blocks in the order in which they were exported"
        )
    parts: list[bytes] = []
    offset = 0
    for length in lengths:
        parts.append(bytes(body[offset : offset + length]))
        offset += length
    for index, level in enumerate(reversed(levels)):
        hashes, sizes, owners, data = parts[_PARTS * index : _PARTS * (index + 1)]
        level.load(hashes, sizes, owners, data)
