"""What goes into a standby (events) and what comes out (effects).

`FindChangelog`, `OpenCopy`, `ApplyToCopy` and `CloseCopy` are answered by exactly one event: the
one named beside it, or `CopyFailed`; one is in flight at a time. `Follow` and `StandbyEnded` are
not answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.errors import StreamsError
from streams.state.changelog import ChangelogRecord
from streams.state.position import Checkpoint


@dataclass(frozen=True, slots=True)
class Begin:
    """The state of this task is to be followed."""


@dataclass(frozen=True, slots=True)
class CopyOpened:
    """The local copy is open; None: empty."""

    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class ChangelogFound:
    """Offsets [start, end) of the changelog, to the high watermark."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ChangelogFetched:
    """Committed records of [offset, next_offset); `end`: the last stable offset as of the fetch."""

    offset: int
    records: Sequence[ChangelogRecord]
    next_offset: int
    end: int


@dataclass(frozen=True, slots=True)
class ChangelogGone:
    """The log no longer holds what was to be fetched."""


@dataclass(frozen=True, slots=True)
class CopyApplied:
    """The copy has them. `matches`: it was compared with its position's manifest, and is whole."""

    matches: bool


@dataclass(frozen=True, slots=True)
class CopyClosed:
    """The store is let go."""


@dataclass(frozen=True, slots=True)
class CopyFailed:
    """The effect in flight failed; `wipe`: the copy is of no use."""

    error: StreamsError
    wipe: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The task is to run here, or its state is to be followed elsewhere."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = (
    Begin
    | CopyOpened
    | ChangelogFound
    | ChangelogFetched
    | ChangelogGone
    | CopyApplied
    | CopyClosed
    | CopyFailed
    | End
    | Tick
)


@dataclass(frozen=True, slots=True)
class OpenCopy:
    """Open the local copy; `wipe` it first. Answer: `CopyOpened`."""

    wipe: bool


@dataclass(frozen=True, slots=True)
class FindChangelog:
    """Ask the log where the changelog begins and ends. Answer: `ChangelogFound`."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Fetch from here on."""

    offset: int


@dataclass(frozen=True, slots=True)
class ApplyToCopy:
    """Bring them into the copy; at `end` compare it with its manifest. Answer: `CopyApplied`."""

    records: Sequence[ChangelogRecord]
    next_offset: int
    end: int


@dataclass(frozen=True, slots=True)
class CloseCopy:
    """Let go of the store, so that another may open it. Answer: `CopyClosed`; never fails."""


@dataclass(frozen=True, slots=True)
class StandbyEnded:
    """The store is free."""


CopyEffect = OpenCopy | ApplyToCopy | CloseCopy
"""Done by `CopyHost`, on any thread."""

Effect = CopyEffect | FindChangelog | Follow | StandbyEnded
