"""What definitions make of streams, each by itself (C)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from metric_registry.derive import NamePattern, lookup_of
from metric_registry.live.facts import Share
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.ucum import SAME, NoConversion
from metric_registry.units import conversion_of
from topologies.identity.stream import Stream, look_up, render
from topologies.preaggregate.ledger import Refusal
from topologies.preaggregate.members import matched

_SHOWN = 6
_LONGEST = 60


@dataclass(slots=True)
class Tally:
    """Streams that something is true of, and the first of them."""

    count: int = 0
    example: str = ""

    def add(self, stream: Stream) -> None:
        if not self.count:
            self.example = described(stream)
        self.count += 1

    def of(self, every: int) -> Share:
        return Share(self.count, every, self.example)


@dataclass(slots=True)
class OfStreams:
    """What the streams are to one definition."""

    definition: ResolvedDefinition
    sources: Counter[str] = field(default_factory=Counter[str])
    values: dict[str, Counter[str | None]] = field(default_factory=dict[str, Counter[str | None]])
    passing: int = 0
    members: list[int] = field(default_factory=list[int])
    """Slots of the streams that are counted."""
    groups: list[bytes] = field(default_factory=list[bytes])
    """Of each member: its labels."""
    refused: dict[Refusal, list[int]] = field(default_factory=dict[Refusal, list[int]])
    """By why: the slots of the streams."""
    units: dict[str, Tally] = field(default_factory=dict[str, Tally])
    lacking: dict[str, Tally] = field(default_factory=dict[str, Tally])
    by_default: dict[str, Tally] = field(default_factory=dict[str, Tally])

    def entry_of(self, metric: str) -> str | None:
        """Which of its names, or of its patterns, a metric's name is."""
        if metric in self.definition.sources:
            return metric
        patterns = self.definition.patterns
        return next((each for each in patterns if NamePattern.of(each).matches(metric)), None)


def of_streams(plan: Plan, streams: Sequence[Stream]) -> list[OfStreams]:
    """For each definition of the plan, in its order, what it makes of the streams."""
    found = [OfStreams(each) for each in plan.definitions]
    bare = [_without_defaults(each) for each in plan.definitions]
    for slot, stream in enumerate(streams):
        lookup = partial(look_up, stream)
        for index in plan.candidates(stream.metric):
            _named(found[index], stream, lookup_of(plan.definitions[index].attributes, lookup))
        for match in matched(plan, stream):
            one = found[match.definition]
            one.passing += 1
            if isinstance(match.read, Refusal):
                one.refused.setdefault(match.read, []).append(slot)
                continue
            one.members.append(slot)
            one.groups.append(match.group.labels)
            _counted(one, stream, lookup, bare[match.definition])
    return found


def _named(one: OfStreams, stream: Stream, lookup: Callable[[str], str | None]) -> None:
    entry = one.entry_of(stream.metric)
    if entry is not None:
        one.sources[entry] += 1
    for attribute, _ in one.definition.where:
        one.values.setdefault(attribute, Counter())[lookup(attribute)] += 1


def _counted(
    one: OfStreams, stream: Stream, lookup: Callable[[str], str | None], bare: _Made
) -> None:
    definition = one.definition
    derived = lookup_of(definition.attributes, lookup)
    for name in definition.keep:
        if derived(name) is None:
            one.lacking.setdefault(name, Tally()).add(stream)
    for name, without in bare.items():
        if without(lookup) is None:
            one.by_default.setdefault(name, Tally()).add(stream)
    if stream.unit and stream.unit != definition.source_unit:
        conversion = conversion_of(stream.unit, definition.source_unit)
        if conversion != SAME and not isinstance(conversion, NoConversion):
            one.units.setdefault(stream.unit, Tally()).add(stream)


_Made = Mapping[str, Callable[[Callable[[str], str | None]], str | None]]


def _without_defaults(definition: ResolvedDefinition) -> _Made:
    return {
        one.name: replace(one, default=None).of
        for one in definition.attributes
        if one.default is not None
    }


def described(stream: Stream) -> str:
    """A stream for people: its metric, the attributes of its points, and those of its resource."""
    own = _listed({**stream.scope, **stream.attributes})
    text = f"{stream.metric}{{{own}}}"
    if stream.resource:
        text += f" of {{{_listed(stream.resource)}}}"
    return text


def _listed(attributes: Mapping[str, object]) -> str:
    shown = [f"{name}={_cut(render(attributes[name]))}" for name in sorted(attributes)]
    return ", ".join([*shown[:_SHOWN], "..."] if len(shown) > _SHOWN else shown)


def _cut(text: str) -> str:
    plain = "".join(each if each.isprintable() else "?" for each in text)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."
