"""The `Processor` that runs fused steps: one task of one sub-topology."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streams.errors import Fatal
from streams.operators.entry import Entry
from streams.operators.kept import Continuation, Kept, taken_over
from streams.operators.stage import Stage
from streams.queries.questions import Part, QueryError, Question
from streams.task.outputs import Outputs
from streams.task.processor import InputRange, InputRecord, OutputRecord

FORMAT = 1
_FACTS = b"!"
_NAME_IT = (
    "Run the version that wrote it, or give the changed one another name; it then starts from the "
    "beginning of its topics"
)


class FusedProcessor:
    """Steps that share a partitioning, in one task and transaction.

    `stages`: all of them, each behind those that hand on to it. `kept`: what they keep. The state
    of an earlier version of the topology goes on where `continuation` says so: what is new begins
    with the first record behind that state, what is gone is deleted with the next snapshot.
    """

    def __init__(self, entry: Entry, stages: Sequence[Stage], kept: Kept) -> None:
        self._entry = entry
        self._stages = tuple(stages)
        self._kept = kept
        self._position: int | None = None
        self._ended: list[bytes] = []  # keys of blocks that nobody reads any more

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The steps, for tests that look into stores."""
        return self._stages

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        found = dict(sorted(blocks))
        if not found:
            return
        facts: dict[str, Any] = msgspec.json.decode(found.pop(_FACTS))
        change = self._check(facts)
        by_name = {stage.name.encode(): stage for stage in self._stages}
        for key, value in found.items():
            name, _, rest = key.partition(b"/")
            if name.decode() in change.ends:
                self._ended.append(key)
            else:
                by_name[name].load(rest, value)
        for stage in self._stages:
            if stage.name in change.continues:
                stage.restore(facts["stages"][stage.name])
        self._position = facts["position"]

    def _check(self, facts: dict[str, Any]) -> Continuation:
        """What becomes of the stores. Raises `Fatal` for what another plan, or release, left."""
        stores: dict[str, str] | None = facts.get("stores")
        whose = (
            f"the state of {self._entry.name} belongs to another topology, {facts['plan']!r} "
            f"(format {facts['format']})"
        )
        if facts["format"] != FORMAT:
            raise Fatal(f"{whose}: it has another format", "Run the release that wrote it")
        if stores is None:  # of a release before stores were named
            if facts["plan"] != self._kept.plan:
                raise Fatal(f"{whose}: this is {self._kept.plan!r}", _NAME_IT)
            stores = dict(self._kept.stores)
        return taken_over(stores, facts.get("version", 0), self._kept, whose)

    def replay_from(self) -> int | None:
        return self._position

    def process(self, records: Sequence[InputRecord]) -> int:
        self._entry.accept(records)
        return len(records)

    def needs(self) -> InputRange | None:
        return None

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        raise AssertionError("nothing was asked for")

    def outputs(self) -> Outputs:
        out = Outputs()
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
        changed: dict[bytes, bytes | None] = dict.fromkeys(self._ended)
        self._ended = []
        for stage in self._stages:
            prefix = stage.name.encode() + b"/"
            for key, value in stage.blocks():
                changed[prefix + key] = value
        facts = {
            "format": FORMAT,
            "plan": self._kept.plan,
            "version": self._kept.version,
            "stores": self._kept.stores,
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
