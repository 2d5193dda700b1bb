"""What is asked of a metric's windows, and what one task says; both travel between workers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from streams.event_time.windows import EARLIEST, LATEST
from streams.queries.questions import LAST_HASH, Part, Place, QueryError, Question
from topologies.deployment import Span
from topologies.epochs import LIVE

GROUPS_A_TURN = 8_192
"""Groups that one question looks at in one turn of a task, where limits allow to look at some."""


class MetricQuestion(msgspec.Struct, frozen=True):
    """What a task is asked.

    Attributes:
        metric: Name of the definition.
        level: Size of the windows, see `streams.event_time.levels`.
        pane: The pane key of the definition, as far as it is known to whom was asked.
        domain: The time domain whose open windows are asked for.
        labels: Those that groups must have; None: that they must not have.
        after, until: Windows with ends in (after, until], unix ns.
        is_open, is_closed: Which windows are wanted.
        behind: The place (window end, upper half of a group's hash) that an earlier page came to.
        whole: All groups of a window, within limits: which overflow is a matter of all of them.
    """

    metric: str
    level: int
    pane: str = ""
    domain: str = LIVE
    labels: dict[str, str | None] = {}
    after: int = EARLIEST
    until: int = LATEST
    is_open: bool = True
    is_closed: bool = False
    behind: Place | None = None
    whole: bool = False

    def wants(self, end: int) -> bool:
        """Whether anything of the window that ends there is asked for."""
        if not self.after < end <= self.until:
            return False
        return self.behind is None or (end, LAST_HASH) > self.behind


class Window(msgspec.Struct, frozen=True):
    """Groups of a window as a task has them.

    Attributes:
        pane: The pane key of its definitions.
        rows: A table of `topologies.partials`, with `revision` and `first_points` where it closed.
    """

    pane: str
    end: int
    is_open: bool
    rows: bytes


class SourcePart(msgspec.Struct, frozen=True):
    """What a pre-aggregation task has of open windows.

    Attributes:
        source: Who says it; sources: how many there are of its topic, 0: not known yet.
        versions: Of the metric: version -> where the windows begin that it publishes, unix ns.
        told: Pane key -> the frontier that it has sent last.
        crowd: Version -> the most groups that a tenant has here in a virtual shard.
        reached: All groups up to this place were looked at; None: to the end.
    """

    source: str
    sources: int
    versions: dict[str, tuple[Span, ...]]
    told: dict[str, int]
    crowd: dict[str, int]
    windows: list[Window]
    reached: Place | None = None


class ReducerPart(msgspec.Struct, frozen=True):
    """What a roll-up task has of windows.

    Attributes:
        received: Pane key -> source -> the frontier of its last seal that has come whole.
        seals: Likewise, of seals behind `closed`: up to where, and at which record of the source.
        torn: Sources of which rows of the wanted windows came, and not yet the seal behind them.
        closed: Pane key -> every window of the domain that ends by then is closed.
        gone: Likewise, the last window end of which the state was dropped.
        crowd, reached: As of a source.
    """

    received: dict[str, dict[str, int]]
    seals: dict[str, dict[str, list[tuple[int, int]]]]
    torn: list[str]
    closed: dict[str, int]
    gone: dict[str, int]
    crowd: dict[str, int]
    windows: list[Window]
    reached: Place | None = None


_QUESTION = msgspec.msgpack.Decoder(MetricQuestion)
_SOURCE = msgspec.msgpack.Decoder(SourcePart)
_REDUCER = msgspec.msgpack.Decoder(ReducerPart)


def least(places: Iterable[Place | None]) -> Place | None:
    """How far all have come; None: to the end."""
    return min((place for place in places if place is not None), default=None)


def asked(question: MetricQuestion) -> Question:
    """As every task is asked."""
    return Question("", body=msgspec.msgpack.encode(question))


def question_of(question: Question) -> MetricQuestion:
    """The inverse of `asked`. Raises `QueryError`."""
    try:
        return _QUESTION.decode(question.body)
    except msgspec.DecodeError as error:
        message = f"it is asked for the windows of a metric, which this is not: {error}"
        raise QueryError(400, "not-a-question", message) from error


def part_of(said: SourcePart | ReducerPart) -> Part:
    """As every task answers."""
    return Part(body=msgspec.msgpack.encode(said))


def source_part(part: Part) -> SourcePart:
    """The inverse of `part_of`, of a source."""
    return _SOURCE.decode(part.body)


def reducer_part(part: Part) -> ReducerPart:
    """The inverse of `part_of`, of a roll-up task."""
    return _REDUCER.decode(part.body)


class Turn:
    """How many groups of one pane key may still be looked at, and how far that came.

    Windows are visited in the order of their ends.
    """

    def __init__(self, question: MetricQuestion) -> None:
        self.reached: Place | None = None
        self._question = question
        self._left = GROUPS_A_TURN

    def is_over(self, end: int) -> bool:
        """Whether this window is not looked at any more; then it is noted how far that came."""
        if self.reached is None and self._left <= 0:
            self.reached = (end - 1, LAST_HASH)
        return self.reached is not None

    def whole(self, groups: int) -> None:
        """So many groups of a window were looked at, all that it has."""
        self._left -= groups

    def chosen(self, end: int, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """bool[n]: which groups of a window, of these hashes u64[n], are looked at."""
        wanted = np.ones(len(hashes), np.bool_)
        behind = self._question.behind
        if behind is not None and behind[0] == end:
            wanted &= hashes > np.uint64(behind[1])
        left = hashes[wanted]
        room = max(1, self._left)
        if len(left) > room:
            last = np.partition(left, room - 1)[room - 1]
            wanted &= hashes <= last
            self.reached = least((self.reached, (end, int(last))))
        self._left -= len(left)
        return wanted
