"""Which definitions are in force, and which windows each version of one publishes.

A window belongs to the version that is in force when it begins. So each window of each granularity
is published under one version, wherever a change comes to lie in it; and a version that has been
replaced goes on until the windows that began before have closed and nothing can correct them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from metric_registry.compile import compile_plan
from metric_registry.plan import Plan, ResolvedDefinition
from streams.event_time.levels import longest
from streams.event_time.windows import EARLIEST, LATEST
from topologies.epochs import Epochs
from topologies.joining import counts_from, levels_of

Span = tuple[int, int]
"""Windows that begin in [first, second), unix ns."""
ALWAYS: tuple[Span, ...] = ((EARLIEST, LATEST),)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Definitions in force, and the windows that each version of them publishes.

    Attributes:
        plan: All that are computed: those in force, and those that have been replaced or taken away
            and still have windows to close or to correct.
        since: Version -> unix ns: it is in force from then on. A version that is neither here nor
            in `ended` was there from the beginning.
        ended: Version -> its earlier spans, ascending. One that is not in `since` has left.
        first: Name -> unix ns, see `computed_since`; of definitions that something is derived
            from, where the versions that would tell it are no longer known.
        decided: When, unix ns: of two the later one holds, whoever is told of them in which order.
    """

    plan: Plan
    since: Mapping[str, int] = field(default_factory=dict[str, int])
    ended: Mapping[str, tuple[Span, ...]] = field(default_factory=dict[str, tuple[Span, ...]])
    decided: int = 0
    first: Mapping[str, int] = field(default_factory=dict[str, int])

    def replaces(self, other: Deployment) -> bool:
        """Whether this is to be in force where the other one is."""
        return self.decided >= other.decided and self != other

    def spans(self, version: str) -> tuple[Span, ...]:
        """Where the windows begin that a version publishes; ascending, apart."""
        over = self.ended.get(version, ())
        if version in self.since:
            return (*over, (self.since[version], LATEST))
        return over or ALWAYS

    @property
    def current(self) -> tuple[ResolvedDefinition, ...]:
        """The definitions that have not been replaced or taken away, one a name."""
        return tuple(d for d in self.plan.definitions if self.spans(d.version)[-1][1] == LATEST)

    @property
    def wanted(self) -> Plan:
        """What was asked for: the definitions that are current, and what is derived from them."""
        return compile_plan(self.current, derived=self.plan.derived)

    def computed_since(self, names: Iterable[str]) -> dict[str, int]:
        """Name -> unix ns, from when on its rows have been like those of today, without a gap; of
        definitions whose rows have not been so from the beginning."""
        current = {one.name: one for one in self.current}
        found: dict[str, int] = {}
        for name in names:
            spans = [
                span
                for one in self.plan.definitions
                if name in current and _alike(one, current[name])
                for span in self.spans(one.version)
            ]
            since = min(_unbroken(spans), self.first.get(name, LATEST))
            if since != EARLIEST:
                found[name] = since
        return found

    def begun(self, time: int) -> tuple[ResolvedDefinition, ...]:
        """Of each name the version that windows are of which begin at `time` (unix ns).

        Where it has none the one that comes later, if there is one.
        """
        found = {one.name: one for one in self.current}
        for one in self.plan.definitions:
            if any(begins <= time < end for begins, end in self.spans(one.version)):
                found[one.name] = one
        return tuple(found[name] for name in sorted(found))

    def to_json(self) -> bytes:
        """As the value of a record with the header control=plan, and as a block of state."""
        told: dict[str, object] = {"since": self.since}
        told |= {"ended": self.ended} if self.ended else {}
        told |= {"decided": self.decided} if self.decided else {}
        told |= {"first": self.first} if self.first else {}
        return msgspec.json.encode({**told, "plan": msgspec.Raw(self.plan.to_json())})

    @classmethod
    def from_json(cls, data: bytes) -> Deployment:
        """What `to_json` wrote. Raises msgspec.MsgspecError or PlanError."""
        stored = _STORED.decode(data)
        plan = Plan.from_json(bytes(stored.plan))
        return cls(plan, stored.since, stored.ended, stored.decided, stored.first)


@dataclass(slots=True)
class InForce:
    """What a process knows to be in force; whoever reads `telemetry.definitions` sets it anew."""

    now: Deployment


class _Stored(msgspec.Struct):
    since: dict[str, int]
    plan: msgspec.Raw
    ended: dict[str, tuple[Span, ...]] = {}
    decided: int = 0
    first: dict[str, int] = {}


_STORED = msgspec.json.Decoder(_Stored)


def changed(before: Deployment, plan: Plan, soon: int, epochs: Epochs) -> Deployment:
    """What is in force after a change to the definitions of `plan`.

    soon: unix ns, a time that every partition reaches after it has been told. A definition that
    comes while a change of partitions is announced may count from a later time, see `counts_from`;
    the one that it replaces goes on until then.
    """
    old = {one.name: one for one in before.current}
    new = {one.name: one for one in plan.definitions}
    since: dict[str, int] = {}
    ended = dict(before.ended)
    for name, one in new.items():
        was = old.get(name)
        if was is not None and was.version == one.version:
            since |= {one.version: before.since[one.version]} if one.version in before.since else {}
            continue
        begins = before.spans(was.version)[-1][0] if was is not None else EARLIEST
        since[one.version] = max(counts_from(one, soon, epochs), begins)
    for name, was in old.items():
        one = new.get(name)
        if one is not None and one.version == was.version:
            continue
        begins = before.spans(was.version)[-1][0]
        end = since[one.version] if one is not None else max(soon, begins)
        if begins < end:
            ended[was.version] = (*ended.get(was.version, ()), (begins, end))
    there = {one.version for one in plan.definitions}
    left = [d for d in before.plan.definitions if d.version in ended.keys() - there]
    kept = there.union(one.version for one in left)
    ended = {version: spans for version, spans in ended.items() if version in kept}
    compiled = compile_plan(plan.definitions, left, plan.derived)
    return _remembering(before, Deployment(compiled, since, ended, before.decided))


def without_closed(deployed: Deployment, now: int, kept: int) -> Deployment:
    """The same without the versions that have left and of which nothing can come any more.

    now: unix ns. kept: how long records of points are kept, ns: none can be read that is older.
    """
    over = {
        one.version
        for one in deployed.plan.definitions
        if (last := deployed.spans(one.version)[-1][1]) != LATEST
        and last + _reach(one) + kept < now
    }
    if not over:
        return deployed
    left = [d for d in deployed.plan.definitions if d.version not in over]
    current = {one.version for one in deployed.current}
    ended = {version: spans for version, spans in deployed.ended.items() if version not in over}
    leaving = [d for d in left if d.version not in current]
    plan = compile_plan(deployed.current, leaving, deployed.plan.derived)
    after = Deployment(plan, deployed.since, ended, deployed.decided)
    return _remembering(deployed, after)


def _remembering(before: Deployment, after: Deployment) -> Deployment:
    """With `first`: a version that leaves would take with it since when rows have been alike."""
    inputs = {each.name for one in after.plan.derived for each in one.inputs}
    was = {one.name: one for one in before.current}
    names = sorted(
        one.name
        for one in after.current
        if one.name in inputs and one.name in was and _alike(one, was[one.name])
    )
    known, told = before.computed_since(names), after.computed_since(names)
    since = {name: known.get(name, EARLIEST) for name in names}
    first = {name: time for name, time in since.items() if time < told.get(name, EARLIEST)}
    return replace(after, first=first)


def _alike(one: ResolvedDefinition, other: ResolvedDefinition) -> bool:
    """Whether rows of two versions have the same unit, labels and kind."""
    return (one.name, one.unit, one.keep, one.instrument) == (
        other.name, other.unit, other.keep, other.instrument,
    )  # fmt: skip


def _unbroken(spans: Iterable[Span]) -> int:
    """The begin of the newest stretch of spans that follow one another."""
    ordered = sorted(spans, reverse=True)
    if not ordered:
        return LATEST
    begin = ordered[0][0]
    for first, end in ordered[1:]:
        if end < begin:
            break
        begin = min(begin, first)
    return begin


def _reach(one: ResolvedDefinition) -> int:
    """How long after it began a window may still change, ns."""
    return max(map(longest, levels_of([one]))) + one.grace_ns + one.corrections_ns
