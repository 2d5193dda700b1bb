"""The streams of a series table as blocks of bytes, for a task's state and changelog.

A block: a header (magic, the first number of each level, the lengths of all parts, a checksum of
what follows), and the parts, squeezed together by zstd. It holds the streams of a range of slots,
and the origins, scopes and contexts that these were the first to use.
"""

from __future__ import annotations

import itertools
import mmap
import struct
import zlib
from collections.abc import Iterable, Sequence

import cramjam
import numpy as np

from topologies.identity.interning import Interner

_MAGIC = b"TMS2"
_PLAIN = b"TMS1"
"""The parts are not squeezed: so releases before wrote it."""
_LEVELS, _PARTS, _LENGTH = 4, 4, 4
_LARGEST = 256 << 20
_HEADER = struct.Struct(f"<4s{_LEVELS}I{_LEVELS * _PARTS}II")


def export_block(levels: Sequence[Interner], first: int, last: int) -> bytes:
    """The streams of slots ``first`` to ``last - 1``, which are of the last level."""
    begins: list[int] = []
    parts: list[bytes] = []
    for level in reversed(levels):
        begins.append(first)
        parts += level.export(first, last)
        first, last = level.owners_before(first), level.owners_before(last)
    body = bytes(cramjam.zstd.compress(b"".join(parts), 1))
    return _HEADER.pack(_MAGIC, *begins, *map(len, parts), zlib.crc32(body)) + body


def load_blocks(levels: Sequence[Interner], blocks: Iterable[bytes]) -> None:
    """Append blocks. Raises ``ValueError`` if one is damaged or does not come next."""
    held = [level.count for level in reversed(levels)]
    found: list[list[list[bytes]]] = [[] for _ in levels]
    for block in blocks:
        begins, parts = _read(block)
        if begins != held:
            raise ValueError(
                f"a block of streams begins at slot {begins[0]}, but {held[0]} are held: "
                "load the blocks in the order in which they were exported"
            )
        for index, of_level in enumerate(found):
            of_level.append(parts[_PARTS * index : _PARTS * (index + 1)])
            held[index] += len(of_level[-1][1]) // _LENGTH
        for of_level, above in zip(found, [*held[1:], 1], strict=True):
            _check(of_level[-1], above)
    for level, of_level in zip(reversed(levels), found, strict=True):
        level.load_all(of_level)


def _read(block: bytes) -> tuple[list[int], list[bytes]]:
    """The first number of each level, and all parts."""
    if len(block) < _HEADER.size:
        raise ValueError("a block of streams is shorter than its header")
    magic, *numbers, checksum = _HEADER.unpack_from(block)
    stored = memoryview(block)[_HEADER.size :]
    if magic not in (_PLAIN, _MAGIC) or zlib.crc32(stored) != checksum:
        raise ValueError("a block of streams is damaged, or of another version")
    begins, lengths = numbers[:_LEVELS], numbers[_LEVELS:]
    body = bytes(stored) if magic == _PLAIN else _unsqueezed(stored, sum(lengths))
    if sum(lengths) != len(body):
        raise ValueError("a block of streams is damaged, or of another version")
    ends = list(itertools.accumulate(lengths, initial=0))
    return begins, [body[a:b] for a, b in itertools.pairwise(ends)]


def _unsqueezed(stored: memoryview, size: int) -> bytes:
    """The parts, never more than `size` bytes of them."""
    if size > _LARGEST:
        raise ValueError(f"a block of streams says to have {size} bytes")
    try:
        with mmap.mmap(-1, size + 1) as room:  # of which only what is written takes memory
            return room[: cramjam.zstd.decompress_into(stored, room)]
    except cramjam.DecompressionError as error:
        raise ValueError(f"a block of streams is damaged: {error}") from error


def _check(parts: Sequence[bytes], above: int) -> None:
    """ValueError: the parts of a level do not fit together, or continue none of those above."""
    hashes, sizes, owners, data = parts
    count, rest = divmod(len(sizes), _LENGTH)
    whole = not rest and len(hashes) == 16 * count and len(owners) == 4 * count
    if not whole or int(np.frombuffer(sizes, "<u4").sum(dtype=np.uint64)) != len(data):
        raise ValueError("a block of streams has parts that do not fit together")
    whose = np.frombuffer(owners, "<i4")
    if count and not (int(whose.min()) >= 0 and int(whose.max()) < above):
        raise ValueError("a block of streams holds one that continues none")
