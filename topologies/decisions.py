"""What was decided about definitions: the content of the topic `telemetry.definitions`.

Each record of it is one decision, by its time: the whole deployment, and how it came to be. The
newest is in force, whoever reads it, and is written in one transaction with the records that tell
every partition. Those before it say what can be put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from metric_registry.compile import compile_plan
from metric_registry.plan import Plan, PlanError
from topologies.candidates import beside, definitions_of
from topologies.deployment import Deployment, changed, without_closed
from topologies.epochs import Epochs

TOPIC = "telemetry.definitions"
KEPT = 50
"""So many decisions stay on the topic."""
How = Literal["start", "apply", "rollback", "candidate"]
HOLDING: frozenset[How] = frozenset(("rollback", "candidate"))
"""Files may still, or already, say otherwise: a stack that starts leaves that alone."""


class UnreadableDecision(ValueError):
    """A record that this program cannot read; the message says what to do."""


class _Stored(msgspec.Struct, omit_defaults=True):
    how: How
    deployed: msgspec.Raw
    back_to: int = 0


_STORED = msgspec.json.Decoder(_Stored)


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision.

    Attributes:
        how: `start`: files as they were when the stack started; `apply` and `rollback`: by command;
            `candidate`: so, beside what was in force.
        back_to: Of a rollback, when that was decided whose definitions it put back; unix ns.
    """

    how: How
    deployed: Deployment
    back_to: int = 0

    @property
    def key(self) -> bytes:
        """Of its record."""
        return str(self.deployed.decided).encode()

    def to_json(self) -> bytes:
        """The value of its record."""
        deployed = msgspec.Raw(self.deployed.to_json())
        return msgspec.json.encode(_Stored(self.how, deployed, self.back_to))

    @classmethod
    def from_json(cls, value: bytes) -> Decision:
        """What `to_json` wrote. Raises `UnreadableDecision`."""
        try:
            stored = _STORED.decode(value)
            deployed = Deployment.from_json(bytes(stored.deployed))
        except (msgspec.MsgspecError, PlanError) as error:
            raise UnreadableDecision(
                f"a decision on {TOPIC} cannot be read ({error}): another version of this program "
                "wrote it, use that one"
            ) from error
        return cls(stored.how, deployed, stored.back_to)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the topic holds: the time of each decision (unix ns) -> its record's value.

    Only those that are asked for are read: a program may meet old ones of a format it has left.
    """

    records: Mapping[int, bytes] = field(default_factory=dict[int, bytes])

    def taken(self, key: bytes, value: bytes | None) -> Decisions:
        """With one more record of the topic; without a value it deletes. Raises
        `UnreadableDecision`."""
        if not key.isdigit():
            raise UnreadableDecision(f"a record on {TOPIC} has the key {key!r}, no time in unix ns")
        records = {time: each for time, each in self.records.items() if time != int(key)}
        return Decisions(records if value is None else records | {int(key): value})

    def also(self, decision: Decision) -> Decisions:
        """With one more decision."""
        return self.taken(decision.key, decision.to_json())

    @property
    def times(self) -> list[int]:
        """When decisions were made, unix ns, ascending."""
        return sorted(self.records)

    @property
    def newest(self) -> Decision | None:
        """The one in force; None: nothing ever was."""
        return self.of(max(self.records)) if self.records else None

    def of(self, time: int) -> Decision:
        """The decision of that time. Raises `UnreadableDecision`."""
        return Decision.from_json(self.records[time])

    def at(self, time: int) -> Decision | None:
        """The one in force at that time; None: nothing was, or it is not kept."""
        before = [each for each in self.times if each <= time]
        return self.of(before[-1]) if before else None

    def before_the_change(self) -> Decision | None:
        """What was in force before the last change; None: nothing else is kept.

        Behind a rollback it is what was in force before what that one put back: rolling back twice
        goes back twice, and never forward to what was just taken away.
        """
        newest = self.newest
        if newest is None:
            return None
        since = newest.back_to or newest.deployed.decided
        for time in reversed([each for each in self.times if each < since]):
            found = self.of(time)
            if found.deployed.wanted != newest.deployed.wanted:
                return found
        return None

    def outdated(self, kept: int = KEPT) -> list[bytes]:
        """Keys of the records that are to be deleted."""
        return [str(time).encode() for time in self.times[:-kept]]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """When something is decided (unix ns), from when on it can count (unix ns), which epochs there
    are, and how long records of points are kept (ns)."""

    now: int
    soon: int
    epochs: Epochs
    kept: int


def applied(known: Decisions, wanted: Plan, when: Circumstances) -> Decision | None:
    """The decision that puts these definitions in force; None: they are."""
    return _decided(known, Decision("apply", Deployment(wanted)), when)


def tried(known: Decisions, wanted: Plan, when: Circumstances) -> Decision | None:
    """The decision that runs candidates of these definitions beside those in force, of which there
    are some; None: just these candidates run. Raises `candidates.TooLong`."""
    newest = known.newest
    assert newest is not None
    running = newest.deployed
    plan = compile_plan(beside(running, wanted.definitions), derived=running.plan.derived)
    return _decided(known, Decision("candidate", Deployment(plan)), when)


def rolled_back(known: Decisions, to: Decision, when: Circumstances) -> Decision | None:
    """The decision that puts back the definitions that another one had, without its candidates;
    None: they are in force."""
    back = compile_plan(definitions_of(to.deployed), derived=to.deployed.plan.derived)
    deployed = Deployment(back)
    return _decided(known, Decision("rollback", deployed, to.deployed.decided), when)


def started(known: Decisions, wanted: Plan, when: Circumstances) -> Decision | None:
    """The decision about the definitions in the files of a stack that starts; None: nothing new.

    A rollback holds: the files may still be what it took away, and a start is no answer to that.
    So do candidates: the files may say already what they try.
    """
    newest = known.newest
    if newest is None:  # the first ones count from the beginning
        return Decision("start", Deployment(wanted, decided=when.now))
    if newest.how in HOLDING:
        return None
    before = newest.deployed
    after = without_closed(changed(before, wanted, when.soon, when.epochs), when.now, when.kept)
    return None if after == before else Decision("start", _later(after, before, when.now))


def _decided(known: Decisions, wanted: Decision, when: Circumstances) -> Decision | None:
    newest = known.newest
    if newest is None:
        return replace(wanted, deployed=replace(wanted.deployed, decided=when.now))
    before = newest.deployed
    if before.wanted == wanted.deployed.wanted:
        return None
    after = changed(before, wanted.deployed.plan, when.soon, when.epochs)
    after = without_closed(after, when.now, when.kept)
    return replace(wanted, deployed=_later(after, before, when.now))


def _later(after: Deployment, before: Deployment, now: int) -> Deployment:
    """Later than what it replaces, also where the clock was set back: else nobody would adopt."""
    return replace(after, decided=max(now, before.decided + 1))
