"""When a task answers what it is asked: between two batches, and never two turns in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streams.queries.questions import QueryError
from streams.state.position import Position
from streams.task.events import Answer, Asked, Refuse
from streams.task.phase import ENDED, Phase

MOST = 64
"""Questions that wait; more are refused."""
MOMENT_MS = 200
A_WHILE_MS = 1_000


class Inquiries:
    """The questions that wait for a task's turn.

    A task answers only while it runs: then its state is all of its input up to its position.
    """

    def __init__(self) -> None:
        self._waiting: list[Asked] = []
        self._answered = False  # in the turn before this one

    def ask(self, asked: Asked) -> Refuse | None:
        """Take it in, unless too many wait."""
        if len(self._waiting) < MOST:
            self._waiting.append(asked)
            return None
        message = f"{MOST} questions wait for this task already"
        return Refuse([asked], QueryError(503, "busy", message, retry_ms=MOMENT_MS))

    def due(self, position: int, committed: Position | None) -> Answer | None:
        """What is to be answered now; nothing the first time after an answer: other work goes
        before the next one."""
        if not self._waiting or self._answered:
            self._answered = False
            return None
        waiting, self._waiting = self._waiting, []
        self._answered = True
        return Answer(waiting, position, 0 if committed is None else committed.offset)

    def refused(self, phase: Phase, stats: Callable[[], Mapping[str, Any]]) -> Refuse | None:
        """What cannot be answered in this phase: every question, but in `RUNNING`."""
        if phase is Phase.RUNNING or not self._waiting:
            return None
        waiting, self._waiting = self._waiting, []
        return Refuse(waiting, _away(phase, stats()))


def _away(phase: Phase, stats: Mapping[str, Any]) -> QueryError:
    if phase in ENDED or phase in (Phase.SUSPENDED, Phase.CLOSING):
        message = "the task is about to go to another worker"
        return QueryError(503, "moving", message, retry_ms=A_WHILE_MS)
    progress = {"state": phase.value, "restore": stats["restore"], "position": stats["position"]}
    message = "the task is being restored"
    return QueryError(503, "restoring", message, retry_ms=A_WHILE_MS, progress=progress)
