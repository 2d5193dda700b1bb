"""Where a task stands: the position record of every transaction, and the local checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import crc32c

POSITION_VERSION = 1
MAX_SKIPPED = 1_000
"""Offsets of dead-lettered records that a position remembers, so that a replay passes over them."""


class UnknownVersion(ValueError):
    """Written by a version of the code that this one does not know."""


@dataclass(frozen=True, slots=True)
class Position:
    """One task's progress as of one transaction.

    `offset`: the next input record. `snapshot`: the offset at which the state blocks were taken
    (None: never). `origin`: the first input offset the task ever started from. `blocks` and
    `digest` describe the blocks of the snapshot, so that a restore can tell a whole copy from a
    torn one. `lineage` names the history this record belongs to: a changelog that was made anew
    has another. `skipped`: offsets of dead-lettered records.
    """

    offset: int
    snapshot: int | None
    origin: int
    lineage: str
    blocks: int = 0
    digest: int = 0
    skipped: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """JSON, with a version: a person can read it with any client."""
        return json.dumps({"v": POSITION_VERSION} | asdict(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Position:
        """Raises `UnknownVersion` for the work of a newer version."""
        fields = json.loads(data)
        if (version := fields.pop("v")) != POSITION_VERSION:
            raise UnknownVersion(f"position record of version {version}")
        return cls(**(fields | {"skipped": tuple(fields["skipped"])}))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What local state amounts to: the changelog is applied up to `changelog_offset` (exclusive).

    `position` is the last position record before it, None when there was none yet.
    """

    changelog_offset: int
    position: Position | None

    def encode(self) -> bytes:
        position = None if self.position is None else self.position.encode().decode()
        return json.dumps({"changelog": self.changelog_offset, "position": position}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Checkpoint:
        fields = json.loads(data)
        position = fields["position"]
        return cls(
            changelog_offset=fields["changelog"],
            position=None if position is None else Position.decode(position.encode()),
        )


class Manifest:
    """Count and digest of a set of blocks, kept up while blocks change.

    The digest is the sum, modulo 2^64, of a checksum a block: independent of the order, cheap to
    update (crc32c runs at 20 GB/s), good enough to tell a torn or trimmed copy.
    """

    def __init__(self) -> None:
        self._sums: dict[bytes, int] = {}
        self._digest = 0
        self.bytes = 0

    def put(self, key: bytes, value: bytes | None) -> None:
        """Note one block's new value; None: it is gone."""
        before = self._sums.pop(key, 0)
        self._digest -= before
        self.bytes += len(value or b"") - (before >> 32)
        if value is not None:
            total = crc32c.crc32c(value, crc32c.crc32c(key)) | len(value) << 32
            self._sums[key] = total
            self._digest += total
        self._digest &= (1 << 64) - 1

    @property
    def blocks(self) -> int:
        return len(self._sums)

    @property
    def digest(self) -> int:
        return self._digest
