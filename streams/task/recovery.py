"""From assignment to whole local state: fence, open, compare with the changelog, read the rest.

The order matters: only after the previous owner is fenced do positions stand still, so nothing is
asked of the log before.
"""

from __future__ import annotations

from streams.errors import Fatal, StreamsError
from streams.state.position import Position
from streams.task import events as ev
from streams.task.events import Effect, TaskId

RecoveryEvent = (
    ev.ProducerReady | ev.StoreOpened | ev.BoundsFound | ev.ChangelogRead | ev.ChangelogApplied
)


class Recovery:
    """One attempt. `wipe`: the local state is known to be bad.

    When `next` returns None, local state equals the changelog: `position` is the last committed
    one (None: never), `bounds` what the log said, `lineage` the token of this registration, and
    `wiped` whether local state was thrown away on the way.
    """

    def __init__(self, *, wipe: bool) -> None:
        self.position: Position | None = None
        self.bounds = ev.BoundsFound(0, 0, 0, 0)
        self.lineage = ""
        self.wiped = wipe
        self.records = 0
        self._wipe = wipe
        self._start = 0
        self._local: Position | None = None
        self._local_offset: int | None = None
        self._read_to = 0

    def progress(self) -> dict[str, int]:
        """Offsets of the changelog: read from `start`, now `at`, `end`; `records`: applied."""
        at, end = max(self._start, self._read_to), max(self._start, self.bounds.changelog_end)
        return {"start": self._start, "at": at, "end": end, "records": self.records}

    def begin(self) -> Effect:
        """The first thing to do."""
        return ev.InitProducer()

    def next(self, event: RecoveryEvent) -> Effect | None:
        """What to do after that was done; None: recovered."""
        match event:
            case ev.ProducerReady(token):
                self.lineage = token
                return ev.OpenStore(self._wipe)
            case ev.StoreOpened(checkpoint):
                self._local = self.position = None if checkpoint is None else checkpoint.position
                self._local_offset = None if checkpoint is None else checkpoint.changelog_offset
                return ev.FindBounds()
            case ev.BoundsFound(start, end):
                self.bounds = event
                self._start = start
                if self._local_offset is None:
                    return self._read(start)
                if not start <= self._local_offset <= end:
                    return self._start_over()  # ahead of the changelog, or trimmed past it
                self._start = self._local_offset
                return self._read(self._local_offset)
            case ev.ChangelogRead(records, next_offset):
                self._read_to = next_offset
                self.records += len(records)
                return ev.ApplyChangelog(records, next_offset)
            case ev.ChangelogApplied(position):
                if self._local and position and self._local.lineage != position.lineage:
                    return self._start_over()  # the changelog was made anew
                self.position = position
                return self._read(self._read_to)

    def _read(self, start: int) -> Effect | None:
        end = self.bounds.changelog_end
        return ev.ReadChangelog(start, end) if start < end else None

    def _start_over(self) -> Effect:
        self.wiped = True
        return ev.OpenStore(wipe=True)


def not_whole(task: TaskId, error: StreamsError) -> Fatal:
    """The state was wiped and restored, and still is not what its position says."""
    return Fatal(
        f"the changelog of {task} does not hold its whole state: {error.message}",
        "Was it trimmed? Its topic needs cleanup by compaction only",
    )
