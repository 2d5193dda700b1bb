"""The changelog: how a snapshot and a position become records, and records state again.

A changelog partition may hold several tasks (tasks of other topics with the same partition number),
so every key starts with the task. Layout, integers big endian:

    key   = kind (1: block, 2: position) u8 | length of topic u16 | topic | partition u32
            | for a block: chunk number u16 | block key
    value = for a block: version 1 u8 | chunk count u16 | snapshot offset u64 | piece of the block
            for a position: JSON, see `streams.state.position`

A block above `CHUNK_BYTES` is cut, because brokers refuse large records. All chunks of a block are
written in one transaction; the snapshot offset tells chunks of different snapshots apart, of which
compaction may leave some. A tombstone of chunk 0 deletes the block. A transaction's position record
comes last.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.state.position import Position, UnknownVersion

CHUNK_BYTES = 900_000
BLOCK_VERSION = 1
_BLOCK, _POSITION = 1, 2
_HEAD = struct.Struct(">BHQ")


@dataclass(frozen=True, slots=True)
class ChangelogRecord:
    """A record of a changelog. `offset` is -1 before it is written."""

    key: bytes
    value: bytes | None
    offset: int = -1


class ChangelogKeys:
    """The keys of one task."""

    def __init__(self, topic: str, partition: int) -> None:
        name = topic.encode()
        task = struct.pack(">H", len(name)) + name + struct.pack(">I", partition)
        self.position = bytes([_POSITION]) + task
        self._block = bytes([_BLOCK]) + task

    def chunk(self, block: bytes, number: int) -> bytes:
        """The key of one chunk of a block."""
        return self._block + struct.pack(">H", number) + block

    def parse(self, key: bytes) -> tuple[bytes, int] | None:
        """(block key, chunk number), or None when the key is not a block of this task."""
        if not key.startswith(self._block):
            return None
        at = len(self._block)
        return key[at + 2 :], struct.unpack_from(">H", key, at)[0]


class ChangelogWriter:
    """Turns what changed into records, remembering how many chunks each block has."""

    def __init__(self, keys: ChangelogKeys) -> None:
        self._keys = keys
        self._chunks: dict[bytes, int] = {}

    def known(self, block: bytes, value: bytes) -> None:
        """Note a block that is in the changelog already (at restore)."""
        self._chunks[block] = _count(value)

    def encode(
        self, changes: Mapping[bytes, bytes | None], position: Position
    ) -> list[ChangelogRecord]:
        """Records of one transaction, the position last. Raises ValueError above 2^16 chunks."""
        records: list[ChangelogRecord] = []
        for block in sorted(changes):
            value = changes[block]
            count = 0 if value is None else _count(value)
            if count > 0xFFFF:
                raise ValueError(f"a state block of {len(value or b''):,} bytes; cut it smaller")
            head = _HEAD.pack(BLOCK_VERSION, count, position.offset)
            for number in range(count):
                piece = (value or b"")[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
                records.append(ChangelogRecord(self._keys.chunk(block, number), head + piece))
            before = self._chunks.pop(block, 0)
            records.extend(
                ChangelogRecord(self._keys.chunk(block, number), None)
                for number in range(count, before)
            )
            if count:
                self._chunks[block] = count
        records.append(ChangelogRecord(self._keys.position, position.encode()))
        return records


class ChangelogReader:
    """Turns records, in log order, into changes to the local state. Other tasks' are passed over.

    Raises `UnknownVersion` for the work of a newer version.
    """

    def __init__(self, keys: ChangelogKeys) -> None:
        self._keys = keys
        self._pieces: dict[bytes, dict[int, tuple[int, int, bytes]]] = {}
        self._since: dict[bytes, int] = {}
        self.position: Position | None = None
        self.at_position = False
        """Whether the last of the task's records read was a position: no block came behind it."""

    def read(self, records: Iterable[ChangelogRecord]) -> dict[bytes, bytes | None]:
        """What the records change, of the blocks that are complete by the last of them."""
        changes: dict[bytes, bytes | None] = {}
        for record in records:
            if record.key == self._keys.position:
                self.position = Position.decode(record.value or b"")
                self.at_position = True
                continue
            parsed = self._keys.parse(record.key)
            if parsed is None:
                continue
            self.at_position = False
            block, number = parsed
            if record.value is None:
                if number == 0:
                    self._forget(block)
                    changes[block] = None
                continue
            value = self._assemble(block, number, record)
            if value is not None:
                changes[block] = value
        return changes

    def resume_offset(self, next_offset: int) -> int:
        """Where a later restore has to begin: no block is cut in two there."""
        return min([next_offset, *self._since.values()])

    def _assemble(self, block: bytes, number: int, record: ChangelogRecord) -> bytes | None:
        data = record.value or b""
        version, count, snapshot = _HEAD.unpack_from(data)
        if version != BLOCK_VERSION:
            raise UnknownVersion(f"state block of version {version}")
        pieces = self._pieces.setdefault(block, {})
        self._since.setdefault(block, record.offset)
        pieces[number] = (snapshot, count, data[_HEAD.size :])
        same = [pieces.get(n) for n in range(count)]
        whole = [p[2] for p in same if p is not None and p[:2] == (snapshot, count)]
        if len(whole) != count:
            return None
        self._forget(block)
        return whole[0] if count == 1 else b"".join(whole)

    def _forget(self, block: bytes) -> None:
        self._pieces.pop(block, None)
        self._since.pop(block, None)


def _count(value: bytes) -> int:
    return max(1, -(-len(value) // CHUNK_BYTES))
