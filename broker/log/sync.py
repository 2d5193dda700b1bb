"""One round of syncing of one log, as a value that another thread can carry out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from broker.log.disk import Disk, File
from broker.log.segment import Segment


class SyncResult(NamedTuple):
    """`problem`: what was appended may be lost. `saved`: the files that shorten the next start were
    written (if not, they will be with a later sync)."""

    problem: OSError | None
    saved: bool


@dataclass(frozen=True, slots=True)
class SyncJob:
    """The files to sync so that everything below `end` survives, and then the files to write."""

    disk: Disk
    files: tuple[File, ...]
    end: int
    segment: Segment
    position: int
    sealed: tuple[Segment, ...]
    writes: tuple[tuple[str, bytes], ...]

    def run(self) -> SyncResult:
        """Do it; in any thread."""
        try:
            for file in self.files:
                file.sync()
        except OSError as problem:
            return SyncResult(problem, False)
        try:
            for path, data in self.writes:
                self.disk.replace(path, data)
        except OSError:
            return SyncResult(None, False)
        return SyncResult(None, True)
