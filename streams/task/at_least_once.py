"""A task whose outputs may come twice, and are never lost: Kafka Streams' `at_least_once`.

Outputs are written by themselves as they fall due, outside any transaction, and readers see them at
once. With each snapshot, and before the task moves or stops, one transaction carries state and
position, behind all outputs up to there. After a crash the task goes on from the last of these, and
writes again what it had written since. State and position stay one transaction, of one partition:
without, a process that was given up for dead could tear the state that its successor relies on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from streams.task import events as ev
from streams.task.phase import Phase
from streams.task.task import Task


class AtLeastOnceTask(Task):
    """`Commit` without a changelog writes outputs alone; the position waits for the snapshot."""

    _behind = False  # outputs were written alone: a position has to follow

    def _on_outputs_prepared(self, event: ev.CommitPrepared) -> None:
        if event.changes is not None:
            self._on_commit_prepared(event)
            return
        self._done("compute")
        self._behind = True
        self._order("log", ev.Commit(event.outputs, ()))

    def _on_written(self, event: ev.Committed) -> None:
        effect = self._flight["log"]
        assert isinstance(effect, ev.Commit)
        if effect.changelog:
            self._behind = False
            self._on_committed(event)
            return
        self._done("log")
        self.error = None
        self._patience.committed()

    def _commit_due_ms(self) -> int | None:
        due = super()._commit_due_ms()
        if self.phase is not Phase.RUNNING or not self._behind or "log" in self._flight:
            return due
        position = self._last_snapshot + self.settings.snapshot_interval_ms
        return position if due is None else min(due, position)

    def _wind_down(self) -> None:
        self._dirty = self._dirty or self._behind
        super()._wind_down()

    _handlers: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        **Task._handlers,
        ev.CommitPrepared: _on_outputs_prepared,
        ev.Committed: _on_written,
    }
