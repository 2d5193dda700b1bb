"""What goes into a task (events) and what comes out (effects).

An effect is an order to the shell. Every effect but `SeekInput`, `TaskClosed`, `TaskFenced`,
`Refuse` and `StopWorker` is answered by exactly one event: the one named beside it, or `Failed`.

| effect           | lane    | event that answers | | effect         | lane    | answer           |
|------------------|---------|--------------------|-|----------------|---------|------------------|
| `InitProducer`   | log     | `ProducerReady`    | | `Process`      | compute | `Processed`      |
| `OpenStore`      | compute | `StoreOpened`      | | `Supply`       | compute | `Processed`      |
| `FindBounds`     | log     | `BoundsFound`      | | `ReadRange`    | compute | `RangeRead`      |
| `ReadChangelog`  | log     | `ChangelogRead`    | | `CallIdle`     | compute | `IdleCalled`     |
| `ApplyChangelog` | compute | `ChangelogApplied` | | `PrepareCommit`| compute | `CommitPrepared` |
| `LoadProcessor`  | compute | `ProcessorLoaded`  | | `Commit`       | log     | `Committed`      |
| `CloseTask`      | log     | `Closed`           | | `StoreSnapshot`| log     | `SnapshotStored` |
| `Answer`         | compute | `Answered`         | |                |         |                  |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.errors import StreamsError
from streams.queries.questions import QueryError, Question, Reply
from streams.state.changelog import ChangelogRecord
from streams.state.position import Checkpoint, Position
from streams.task.processor import InputRange, InputRecord, OutputRecord


@dataclass(frozen=True, slots=True)
class TaskId:
    """A task is a topology on one partition of one topic."""

    topology: str
    topic: str
    partition: int

    @property
    def input(self) -> str:
        """The input partition, for people."""
        return f"{self.topic}/{self.partition}"

    def __str__(self) -> str:
        return f"{self.topology}-{self.topic}-{self.partition}"


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Assigned:
    """The task is this worker's now."""


@dataclass(frozen=True, slots=True)
class ProducerReady:
    """The previous owner is fenced and its transaction ended. `token`: fresh, for a new lineage."""

    token: str


@dataclass(frozen=True, slots=True)
class StoreOpened:
    """Local state is open; None: empty."""

    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class BoundsFound:
    """Offsets [start, end) of the changelog (to the high watermark, not the last stable offset:
    what this task committed may lie behind a transaction of another) and of the input (to the last
    stable offset)."""

    changelog_start: int
    changelog_end: int
    input_start: int
    input_end: int


@dataclass(frozen=True, slots=True)
class ChangelogRead:
    """Committed records of the changelog, in order; `next_offset`: where to go on."""

    records: Sequence[ChangelogRecord]
    next_offset: int


@dataclass(frozen=True, slots=True)
class ChangelogApplied:
    """Local state has them. `position`: the last one known by now."""

    position: Position | None


@dataclass(frozen=True, slots=True)
class ProcessorLoaded:
    """A fresh processor holds the state of the snapshot and wants input from here."""

    replay_from: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Input of the fetch that `SeekInput.fetch` began: committed records of [offset, next_offset).

    `offset`: where the consumer stood before; `next_offset`: where it stands behind them (past
    markers and aborted records); `end`: the last stable offset as of the fetch.
    """

    fetch: int
    offset: int
    records: Sequence[InputRecord]
    next_offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Processed:
    """So many records were consumed."""

    consumed: int
    needs: InputRange | None
    urgent: bool


@dataclass(frozen=True, slots=True)
class Poisoned:
    """`process` raised. `index` is the record it blames, None when it does not say."""

    code: str
    reason: str
    index: int | None


@dataclass(frozen=True, slots=True)
class RangeRead:
    """Committed past input of the range asked for; `next_offset`: where to go on."""

    records: Sequence[InputRecord]
    next_offset: int


@dataclass(frozen=True, slots=True)
class IdleCalled:
    """`wrote`: idle() produced records."""

    wrote: bool


@dataclass(frozen=True, slots=True)
class CommitPrepared:
    """Everything the transaction carries. `changes` None: no snapshot rides along."""

    position: Position
    outputs: Sequence[OutputRecord]
    changelog: Sequence[ChangelogRecord]
    changes: Mapping[bytes, bytes | None] | None


@dataclass(frozen=True, slots=True)
class Committed:
    """The transaction is committed. `changelog_next`: behind its position record."""

    changelog_next: int


@dataclass(frozen=True, slots=True)
class SnapshotStored:
    """Local state has the snapshot."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants to know what the task's stores hold. `number`: of this question."""

    number: int
    question: Question


@dataclass(frozen=True, slots=True)
class Answered:
    """The replies to an `Answer`, by the numbers of their questions."""

    replies: Mapping[int, Reply | QueryError]


@dataclass(frozen=True, slots=True)
class Closed:
    """Producer and store are let go."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The effect in flight on that lane failed."""

    lane: str
    error: StreamsError


@dataclass(frozen=True, slots=True)
class Suspend:
    """The partition was revoked, perhaps only for a moment: commit, then wait."""


@dataclass(frozen=True, slots=True)
class Resume:
    """It came back to this worker: go on where the task stood."""


@dataclass(frozen=True, slots=True)
class Close:
    """It went elsewhere, or the worker stops: commit, then close."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = (
    Assigned
    | ProducerReady
    | StoreOpened
    | BoundsFound
    | ChangelogRead
    | ChangelogApplied
    | ProcessorLoaded
    | Fetched
    | Processed
    | Poisoned
    | RangeRead
    | IdleCalled
    | CommitPrepared
    | Committed
    | SnapshotStored
    | Asked
    | Answered
    | Closed
    | Failed
    | Suspend
    | Resume
    | Close
    | Tick
)

# ---------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class InitProducer:
    """Register as the owner: fences the previous one, ends its open transaction."""


@dataclass(frozen=True, slots=True)
class OpenStore:
    """Open local state; `wipe` it first."""

    wipe: bool


@dataclass(frozen=True, slots=True)
class FindBounds:
    """Ask the log where changelog and input begin and end. Only after `ProducerReady`."""


@dataclass(frozen=True, slots=True)
class ReadChangelog:
    """Read committed records of [start, end), some at a time, and none behind: they are another's.

    Waits while the last stable offset is before `end`.
    """

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ApplyChangelog:
    """Bring them into local state."""

    records: Sequence[ChangelogRecord]
    next_offset: int


@dataclass(frozen=True, slots=True)
class LoadProcessor:
    """Make a processor, give it the blocks, check them against the position's manifest."""

    position: Position | None


@dataclass(frozen=True, slots=True)
class SeekInput:
    """Fetch from here on. Answers to older fetches are of no interest."""

    fetch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Process:
    """Run the processor. `muted`: the outputs were committed before; drop them."""

    records: Sequence[InputRecord]
    muted: bool


@dataclass(frozen=True, slots=True)
class ReadRange:
    """Read committed past input of [start, end), some at a time."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Supply:
    """Hand past input to the processor."""

    records: Sequence[InputRecord]
    done: bool
    muted: bool


@dataclass(frozen=True, slots=True)
class CallIdle:
    """The partition is idle."""


@dataclass(frozen=True, slots=True)
class PrepareCommit:
    """Collect outputs and, with `snapshot`, changed blocks. `extra`: records of the framework."""

    position: Position
    snapshot: bool
    extra: Sequence[OutputRecord]


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction: begin, send all, await every acknowledgement, commit with a deadline.

    At least once: send the outputs before it, and await their acknowledgement; where there is no
    changelog, that is all.

    Answers: `Committed`; `Failed` with `MustRestore` (surely not committed, producer dropped),
    `Fenced`, or `Fatal` (outcome unknown).
    """

    outputs: Sequence[OutputRecord]
    changelog: Sequence[ChangelogRecord]


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """Only after the commit: local state never runs ahead of the log."""

    changes: Mapping[bytes, bytes | None]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Answer:
    """Read the stores as they are, between two batches: `position` is what they are valid at."""

    asked: Sequence[Asked]
    position: int
    committed: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """These questions get no answer here and now."""

    asked: Sequence[Asked]
    error: QueryError


@dataclass(frozen=True, slots=True)
class CloseTask:
    """Let go of producer and store. Bounded; never fails."""


@dataclass(frozen=True, slots=True)
class TaskClosed:
    """The task has ended in order."""


@dataclass(frozen=True, slots=True)
class TaskFenced:
    """The task has another owner: leave the group and join anew."""

    error: StreamsError


@dataclass(frozen=True, slots=True)
class StopWorker:
    """The worker must exit with an error."""

    error: StreamsError


ComputeEffect = (
    OpenStore
    | ApplyChangelog
    | LoadProcessor
    | Process
    | Supply
    | CallIdle
    | PrepareCommit
    | StoreSnapshot
    | Answer
)
"""Done by `TaskHost`, synchronously, on any thread; one at a time a lane."""

LogEffect = InitProducer | FindBounds | ReadChangelog | ReadRange | Commit | CloseTask
"""Done by the shell against the log."""

Notice = SeekInput | TaskClosed | TaskFenced | Refuse | StopWorker
"""Not answered."""

Effect = ComputeEffect | LogEffect | Notice

_LOG_LANE = (InitProducer, FindBounds, ReadChangelog, Commit, CloseTask, StoreSnapshot)


def lane_of(effect: Effect) -> str:
    """The lane of work that an effect occupies until it is answered: `log` or `compute`."""
    return "log" if isinstance(effect, _LOG_LANE) else "compute"


def is_muted(effect: Effect) -> bool:
    """Whether a compute effect left nothing to commit."""
    return not isinstance(effect, Process | Supply) or effect.muted
