"""What the definitions in force want to know of streams, in arrays: written once a context.

Streams of one *context* (resource, scope, metric) differ in their points' attributes alone. Which
definitions read a metric of this name, unit and kind is its *shape*; few shapes serve all contexts.

An attribute that a definition derives is computed once a context, of what its resource and scope
have. What it is made of is watched for: a stream whose points have that themselves is matched by
the Python form, in which each distinct value is computed once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from metric_registry.derive import Derivation
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.ucum import SAME, Conversion
from topologies.identity.stream import FORCED, TENANT, Stream, look_up, quoted
from topologies.preaggregate.ledger import Refusal
from topologies.preaggregate.matching_kernel import CONTEXT_WIDTH, PART_WIDTH, SHAPE_WIDTH
from topologies.preaggregate.members import kind_of, reading_of

I64 = npt.NDArray[np.int64]
Asked = tuple[str, Derivation | None]
"""What a definition asks of streams: a name, and what it makes it of if streams do not have it."""
Span = tuple[int, int]
NONE: Span = -1, -1
WATCHED = "resource."
"""In the place of a name that is only watched for: nobody asks what a context says of it."""


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
        self._shapes: dict[tuple[str, str, int, bool], tuple[int, tuple[Asked, ...]]] = {}
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
        for name, made in names:
            text = look_up(context, name) if made is None else made.of(partial(look_up, context))
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

    def _shape(self, stream: Stream) -> tuple[int, tuple[Asked, ...]]:
        """The code for streams like this, and what it asks for."""
        readers = [(i, self._plan.definitions[i]) for i in self._plan.candidates(stream.metric)]
        keeps = sorted({_kept(each) for _, each in readers}, key=repr)
        asked = {one for keep in keeps for one in keep}
        asked |= {_asked(each, name) for _, each in readers for name, _ in each.where}
        names = sorted(asked, key=repr)
        number = {one: i for i, one in enumerate(names)}
        watched = sorted({name for _, made in names if made is not None for name in made.sources})
        watched = [name for name in watched if self._key(name) != NONE]
        at_names = self._write(
            len(names) + len(watched),
            *(x for name, made in names for x in (NONE if made else self._key(name))),
            *(x for name in watched for x in self._watched(name)),
        )
        at_keeps = [
            self._write(len(keep), *(x for n in keep for x in (number[n], *self._prefix(n[0]))))
            for keep in keeps
        ]
        parts = [self._part(stream, index, one, keeps, number) for index, one in readers]
        shape = self._write(
            at_names,
            self._write(len(keeps), *at_keeps),
            self._write(len(parts), *(x for part in parts for x in part)),
            sum(len(quoted(name).encode()) + 2 for name, _ in names),
        )
        assert len(self._code) - shape == SHAPE_WIDTH
        nowhere: list[Asked] = [(WATCHED, None)] * len(watched)
        self.names = max(self.names, len(names) + len(watched))
        self.keeps = max(self.keeps, len(keeps))
        self.parts = max(self.parts, len(parts))
        return shape, (*names, *nowhere)

    def _part(
        self,
        stream: Stream,
        index: int,
        definition: ResolvedDefinition,
        keeps: list[tuple[Asked, ...]],
        number: dict[Asked, int],
    ) -> list[int]:
        read, refusal = reading_of(definition, stream), -1
        if isinstance(read, Refusal):
            refusal = self.refused(read)
            read = SAME
        if read not in self.conversions:
            self.conversions.append(read)
        keep = keeps.index(_kept(definition))
        made = [index, kind_of(definition, stream), self.conversions.index(read), refusal, keep]
        made.append(len(definition.where))
        assert len(made) == PART_WIDTH
        for name, texts in definition.where:
            asked = number[_asked(definition, name)]
            made += [asked, len(texts), *(x for text in texts for x in self._span(text))]
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

    def _watched(self, name: str) -> Span:
        """The same, for a name that is not read but makes a stream one for the Python form."""
        begin, end = self._span(name)
        return begin, -end

    def _prefix(self, name: str) -> Span:
        return self._span(f"{quoted(name)}:")


def _asked(definition: ResolvedDefinition, name: str) -> Asked:
    return name, next((made for made in definition.attributes if made.name == name), None)


def _kept(definition: ResolvedDefinition) -> tuple[Asked, ...]:
    """The labels of a definition's groups, in order of name."""
    return tuple(_asked(definition, name) for name in sorted({TENANT, *definition.keep}))
