"""Which definitions are in force, and which windows each version of one publishes.

A window belongs to the version that is in force when it begins. So each window of each granularity
is published under one version, wherever a change comes to lie in it; and a version that has been
replaced goes on until the windows that began before have closed and nothing can correct them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
        decided: When, unix ns: of two the later one holds, whoever is told of them in which order.
    """

    plan: Plan
    since: Mapping[str, int] = field(default_factory=dict[str, int])
    ended: Mapping[str, tuple[Span, ...]] = field(default_factory=dict[str, tuple[Span, ...]])
    decided: int = 0

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
        return msgspec.json.encode({**told, "plan": msgspec.Raw(self.plan.to_json())})

    @classmethod
    def from_json(cls, data: bytes) -> Deployment:
        """What `to_json` wrote. Raises msgspec.MsgspecError or PlanError."""
        stored = _STORED.decode(data)
        plan = Plan.from_json(bytes(stored.plan))
        return cls(plan, stored.since, stored.ended, stored.decided)


@dataclass(slots=True)
class InForce:
    """What a process knows to be in force; whoever reads `telemetry.definitions` sets it anew."""

    now: Deployment


class _Stored(msgspec.Struct):
    since: dict[str, int]
    plan: msgspec.Raw
    ended: dict[str, tuple[Span, ...]] = {}
    decided: int = 0


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
    return Deployment(compile_plan(plan.definitions, left), since, ended, before.decided)


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
    plan = compile_plan(deployed.current, [d for d in left if d.version not in current])
    return Deployment(plan, deployed.since, ended, deployed.decided)


def _reach(one: ResolvedDefinition) -> int:
    """How long after it began a window may still change, ns."""
    return max(map(longest, levels_of([one]))) + one.grace_ns + one.corrections_ns
