"""A processor of a user's own, held to what its topology declares of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from streams.errors import Fatal
from streams.operators.kept import Kept, taken_over
from streams.queries.questions import Part, QueryError, Question
from streams.task.processor import InputRange, InputRecord, OutputRecord, Processor, Queryable

Block = tuple[bytes, bytes]
"""(key, value)"""

FACTS = b"!"
"""The block of the framework among the processor's; states of before there was one have none."""


class _Facts(msgspec.Struct):
    version: int
    stores: dict[str, str]


_FACTS = msgspec.json.Decoder(_Facts)


class DeclaredProcessor:
    """Passes everything on, refuses the state of another meaning, and outputs to other topics.

    `writes`: where outputs may go.
    """

    def __init__(
        self, processor: Processor, name: str, kept: Kept, writes: Collection[str]
    ) -> None:
        self._own = processor
        self._name = name
        self._kept = kept
        self._writes = frozenset(writes)
        self._facts = msgspec.json.encode(_Facts(kept.version, dict(kept.stores)))
        self._saved: bytes | None = None

    @property
    def own(self) -> Processor:
        """The processor, for tests that look into it."""
        return self._own

    def restore(self, blocks: Iterable[Block]) -> None:
        self._own.restore(self._without_facts(blocks))

    def _without_facts(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The processor's own blocks. Raises `Fatal` where they are not ours to go on with."""
        for key, value in blocks:
            if key != FACTS:
                yield key, value
                continue
            left = _FACTS.decode(value)
            taken_over(left.stores, left.version, self._kept, f"the state of {self._name}")
            self._saved = value

    def replay_from(self) -> int | None:
        return self._own.replay_from()

    def process(self, records: Sequence[InputRecord]) -> int:
        return self._own.process(records)

    def needs(self) -> InputRange | None:
        return self._own.needs()

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        self._own.supply(records, done)

    def outputs(self) -> list[OutputRecord]:
        return self._declared(list(self._own.outputs()))

    def urgent(self) -> bool:
        return self._own.urgent()

    def before_commit(self, position: int) -> list[OutputRecord]:
        return self._declared(self._own.before_commit(position))

    def idle(self, now_ms: int) -> list[OutputRecord]:
        return self._declared(self._own.idle(now_ms))

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        changed = self._own.snapshot(position)
        if self._saved != self._facts:
            changed[FACTS] = self._saved = self._facts
        return changed

    def query(self, question: Question) -> Part:
        """As the processor answers. Raises `QueryError`."""
        if not isinstance(self._own, Queryable):
            raise QueryError(404, "no-stores", f"{self._name} has no stores to ask")
        return self._own.query(question)

    def stats(self) -> dict[str, Any]:
        return self._own.stats()

    def _declared(self, records: list[OutputRecord]) -> list[OutputRecord]:
        for topic in {record.topic for record in records}:
            if topic not in self._writes:
                raise Fatal(
                    f"{self._name} writes to {topic}, and its topology does not say so",
                    f"Declare it: process(..., name={self._name!r}, writes=[...])",
                )
        return records
