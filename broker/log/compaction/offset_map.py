"""The latest offset of each key, in bounded memory: 16 bytes of a hash and 8 of an offset a key.

Two keys whose 128-bit hashes are equal would be taken for one, as in Kafka's SkimpyOffsetMap; the
hash is BLAKE2b, so nobody can look for such a pair with success.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

_SLOT = struct.Struct("=16sq")
_OFFSET = struct.Struct("=q")
_FIRST_HALF = struct.Struct("=Q8x").unpack
_FREE = bytes(16)
_FULLEST = 0.8
"""Share of slots in use at most; beyond it probes grow long."""
_LEAST_SLOTS = 4


class OffsetMap:
    """Open addressing in one block of bytes. `keys`: how many may come; `most_bytes`: its limit."""

    def __init__(self, keys: int, most_bytes: int) -> None:
        wanted = max(_LEAST_SLOTS, int(keys / _FULLEST) + 1)
        self._slots = max(_LEAST_SLOTS, min(wanted, most_bytes // _SLOT.size))
        self._table = bytearray(self._slots * _SLOT.size)
        self._most = int(self._slots * _FULLEST)
        self.size = 0

    def put(self, key: bytes, offset: int) -> bool:
        """Note that `key` is at `offset`, behind all before. False: a new key, and no room."""
        digest = blake2b(key, digest_size=16).digest()
        at, free = self._find(digest)
        if not free:
            _OFFSET.pack_into(self._table, at + 16, offset)
            return True
        if self.size >= self._most:
            return False
        _SLOT.pack_into(self._table, at, digest, offset)
        self.size += 1
        return True

    def latest(self, key: bytes) -> int:
        """The greatest offset noted for `key`, -1 if there is none."""
        at, free = self._find(blake2b(key, digest_size=16).digest())
        return -1 if free else int(_OFFSET.unpack_from(self._table, at + 16)[0])

    def _find(self, digest: bytes) -> tuple[int, bool]:
        """Where the hash is, or the free place where it belongs."""
        table = self._table
        at = _FIRST_HALF(digest)[0] % self._slots * _SLOT.size
        while (found := bytes(table[at : at + 16])) != digest:
            if found == _FREE:
                return at, True
            at += _SLOT.size
            if at == len(table):
                at = 0
        return at, False
