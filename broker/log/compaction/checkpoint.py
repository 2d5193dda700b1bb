"""How far a log was cleaned, as it is written down (Kafka's cleaner-offset-checkpoint)."""

from __future__ import annotations

import json
from typing import NamedTuple

from broker.log.disk import Disk

CHECKPOINT_NAME = "cleaner-checkpoint"
_EVERYTHING = 2**63 - 1


class Checkpoint(NamedTuple):
    """`first_dirty`: offsets below it were cleaned. `swapped_below`: segments below it may have
    been replaced, so that offsets are missing in them; written before the first of them is.
    `next_horizon_ms`: when tombstones or markers become old enough to go, None if there are none.
    """

    first_dirty: int = 0
    swapped_below: int = 0
    next_horizon_ms: int | None = None

    def write(self, disk: Disk, folder: str) -> None:
        """Durably. OSError: the old one is still there."""
        disk.replace(f"{folder}/{CHECKPOINT_NAME}", json.dumps(self).encode())


class CompactionState:
    """What an open log remembers of its cleaning."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.running = False
        self.uncleanable: str | None = None
        """Why it is not cleaned any more, until the broker is restarted."""
        self.retry_at_ms = 0
        self.cleaned_at_ms: int | None = None


def read_checkpoint(disk: Disk, folder: str) -> Checkpoint:
    """What was written. If that is damaged: all is dirty, and offsets may be missing anywhere, so
    that nothing is taken for torn and cut off."""
    data = disk.read(f"{folder}/{CHECKPOINT_NAME}")
    if data is None:
        return Checkpoint()
    try:
        first_dirty, swapped_below, next_horizon_ms = json.loads(data)
        return Checkpoint(
            int(first_dirty),
            int(swapped_below),
            None if next_horizon_ms is None else int(next_horizon_ms),
        )
    except (ValueError, TypeError):
        return Checkpoint(0, _EVERYTHING, None)
