"""What the definitions in force want to know of streams, in arrays: written once a context.

Streams of one *context* (resource, scope, metric) differ in their points' attributes alone. Which
definitions read a metric of this name, unit and kind is its *shape*; few shapes serve all contexts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.ucum import SAME, Conversion
from topologies.identity.stream import FORCED, TENANT, Stream, look_up, quoted
from topologies.preaggregate.ledger import Refusal
from topologies.preaggregate.matching_kernel import CONTEXT_WIDTH, PART_WIDTH, SHAPE_WIDTH
from topologies.preaggregate.members import kind_of, reading_of

I64 = npt.NDArray[np.int64]
Span = tuple[int, int]
NONE: Span = -1, -1


class Recipes:
    """Of contexts 0, 1, 2, ... as they are added. `tenant` gives a tenant's number."""

    def __init__(self, plan: Plan, tenant: Callable[[str], int]) -> None:
        self._plan = plan
        self._tenant = tenant
        self._spans: dict[str, Span] = {}
        self._texts = bytearray(1)
        self._code = array("q", [0])
        self._contexts = array("q")
        self._fixed = array("q")
        self._shapes: dict[tuple[str, str, int, bool], tuple[int, tuple[str, ...]]] = {}
        self.conversions: list[Conversion] = [SAME]
        """By the number that a match has."""
        self.refusals: list[Refusal] = []
        self._refused: dict[Refusal, int] = {}
        self.names = self.keeps = 0
        """The most that a shape has."""
        self.parts = 0

    def __len__(self) -> int:
        return len(self._contexts) // CONTEXT_WIDTH

    def add(self, context: Stream) -> None:
        """The next context: a stream without attributes."""
        key = (context.metric, context.unit, context.kind, context.monotonic)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = self._shape(context)
        code, names = shape
        row, size = len(self._fixed) // 2, 0
        for name in names:
            text = look_up(context, name)
            span = NONE if text is None else self._span(text)
            size += span[1] - span[0]
            self._fixed.extend(span)
        self._contexts.extend((code, row, size, self._tenant(context.tenant)))

    def arrays(self) -> tuple[I64, I64, I64, npt.NDArray[np.uint8]]:
        """contexts i64[n, CONTEXT_WIDTH], fixed i64[k, 2], code i64[c], texts u8[t].

        Views: nothing can be added while they are held.
        """
        fixed: Any = self._fixed or array("q", NONE)
        return (
            np.frombuffer(self._contexts, np.int64).reshape(-1, CONTEXT_WIDTH),
            np.frombuffer(fixed, np.int64).reshape(-1, 2),
            np.frombuffer(self._code, np.int64),
            np.frombuffer(self._texts, np.uint8),
        )

    def _shape(self, stream: Stream) -> tuple[int, tuple[str, ...]]:
        """The code for streams like this, and the names that it asks for."""
        readers = [(i, self._plan.definitions[i]) for i in self._plan.candidates(stream.metric)]
        keeps = sorted({tuple(sorted({TENANT, *each.keep})) for _, each in readers})
        names = sorted({name for keep in keeps for name in keep} | _asked(readers))
        number = {name: i for i, name in enumerate(names)}
        at_names = self._write(len(names), *(x for n in names for x in self._key(n)))
        at_keeps = [
            self._write(len(keep), *(x for n in keep for x in (number[n], *self._prefix(n))))
            for keep in keeps
        ]
        parts = [self._part(stream, index, one, keeps, number) for index, one in readers]
        shape = self._write(
            at_names,
            self._write(len(keeps), *at_keeps),
            self._write(len(parts), *(x for part in parts for x in part)),
            sum(len(quoted(name).encode()) + 2 for name in names),
        )
        assert len(self._code) - shape == SHAPE_WIDTH
        self.names, self.keeps = max(self.names, len(names)), max(self.keeps, len(keeps))
        self.parts = max(self.parts, len(parts))
        return shape, tuple(names)

    def _part(
        self,
        stream: Stream,
        index: int,
        definition: ResolvedDefinition,
        keeps: list[tuple[str, ...]],
        number: dict[str, int],
    ) -> list[int]:
        read, refusal = reading_of(definition, stream), -1
        if isinstance(read, Refusal):
            refusal = self.refused(read)
            read = SAME
        if read not in self.conversions:
            self.conversions.append(read)
        keep = keeps.index(tuple(sorted({TENANT, *definition.keep})))
        made = [index, kind_of(definition, stream), self.conversions.index(read), refusal, keep]
        made.append(len(definition.where))
        assert len(made) == PART_WIDTH
        for name, texts in definition.where:
            made += [number[name], len(texts), *(x for text in texts for x in self._span(text))]
        return made

    def refused(self, refusal: Refusal) -> int:
        """The number of a refusal."""
        if refusal not in self._refused:
            self._refused[refusal] = len(self.refusals)
            self.refusals.append(refusal)
        return self._refused[refusal]

    def _write(self, *words: int) -> int:
        at = len(self._code)
        self._code.extend(words)
        return at

    def _span(self, text: str) -> Span:
        """Where a text is among the texts."""
        span = self._spans.get(text)
        if span is None:
            begin = len(self._texts)
            self._texts += text.encode()
            span = self._spans[text] = begin, len(self._texts)
        return span

    def _key(self, name: str) -> Span:
        """What to look for in a point's attributes."""
        return NONE if name == TENANT or name.startswith(FORCED) else self._span(name)

    def _prefix(self, name: str) -> Span:
        return self._span(f"{quoted(name)}:")


def _asked(readers: Iterable[tuple[int, ResolvedDefinition]]) -> set[str]:
    return {name for _, definition in readers for name, _ in definition.where}
