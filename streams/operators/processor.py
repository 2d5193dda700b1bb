"""The `Processor` that runs fused steps: one task of one sub-topology."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streams.errors import Fatal
from streams.operators.entry import Entry
from streams.operators.stage import Stage
from streams.queries.questions import Part, QueryError, Question
from streams.task.processor import InputRange, InputRecord, OutputRecord

FORMAT = 1
_FACTS = b"!"


class FusedProcessor:
    """Steps that share a partitioning, in one task and transaction.

    `stages`: all of them, each behind those that hand on to it. `plan` is the identity of what they
    compute: a state of another plan is refused.
    """

    def __init__(self, entry: Entry, stages: Sequence[Stage], plan: str) -> None:
        self._entry = entry
        self._stages = tuple(stages)
        self._plan = plan
        self._position: int | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The steps, for tests that look into stores."""
        return self._stages

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        by_name = {stage.name.encode(): stage for stage in self._stages}
        facts: dict[str, Any] = {}
        for key, value in sorted(blocks):
            if key == _FACTS:
                facts = msgspec.json.decode(value)
                self._check(facts)
                continue
            name, _, rest = key.partition(b"/")
            by_name[name].load(rest, value)
        for stage in self._stages:
            if facts:
                stage.restore(facts["stages"][stage.name])
        self._position = facts.get("position")

    def _check(self, facts: dict[str, Any]) -> None:
        """Refuse what another plan, or release, left behind."""
        if facts["format"] != FORMAT or facts["plan"] != self._plan:
            raise Fatal(
                f"the state of {self._entry.name} belongs to another topology: it was written by "
                f"{facts['plan']!r} (format {facts['format']}), this is {self._plan!r}",
                "Run the version that wrote it, or give the changed one another name; it then "
                "starts from the beginning of its topics",
            )

    def replay_from(self) -> int | None:
        return self._position

    def process(self, records: Sequence[InputRecord]) -> int:
        self._entry.accept(records)
        return len(records)

    def needs(self) -> InputRange | None:
        return None

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        raise AssertionError("nothing was asked for")

    def outputs(self) -> list[OutputRecord]:
        out: list[OutputRecord] = []
        for stage in self._stages:
            stage.flush(out)
        return out

    def urgent(self) -> bool:
        return False

    def before_commit(self, position: int) -> list[OutputRecord]:
        return []

    def idle(self, now_ms: int) -> list[OutputRecord]:
        return self._entry.idle(now_ms)

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        changed: dict[bytes, bytes | None] = {}
        for stage in self._stages:
            prefix = stage.name.encode() + b"/"
            for key, value in stage.blocks():
                changed[prefix + key] = value
        facts = {
            "format": FORMAT,
            "plan": self._plan,
            "position": position,
            "stages": {stage.name: stage.facts() for stage in self._stages},
        }
        changed[_FACTS] = msgspec.json.encode(facts)
        return changed

    def query(self, question: Question) -> Part:
        """What the step that keeps this store has of it. Changes nothing. Raises `QueryError`."""
        for stage in self._stages:
            if stage.name == question.store and (found := stage.read(question)) is not None:
                return found
        raise QueryError(404, "unknown-store", f"no step here keeps a store {question.store!r}")

    def stats(self) -> dict[str, Any]:
        found = {stage.name: stage.stats() for stage in self._stages}
        return {name: figures for name, figures in found.items() if figures}
