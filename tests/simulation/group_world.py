"""Members that come, go, sleep and return, and what must be true of what they are told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from broker.groups.config import GroupConfig
from broker.groups.coordinator import GroupCoordinator
from broker.groups.events import (
    CommitOffsets,
    FetchOffsets,
    Heartbeat,
    JoinGroup,
    LeaveGroup,
    Leaving,
    OffsetToCommit,
    Protocol,
    SyncGroup,
)
from tests.simulation.coordinator_world import (
    Checker,
    Client,
    Rates,
    ViolationError,
    World,
    require,
)

PARTITIONS = 4
MEMBER_ID_REQUIRED, FENCED, REBALANCE = 79, 82, 27
PROTOCOLS = (
    (Protocol("range", b""), Protocol("sticky", b"")),
    (Protocol("sticky", b""), Protocol("range", b"")),
)


@dataclass
class Commit:
    """A commit as the node received it; `state`: "asked", "accepted" or, after a crash, "maybe"."""

    value: int
    state: str = "asked"


class Promises(Checker):
    """What all the answers together must agree on."""

    def __init__(self) -> None:
        self.generation = 0
        self.protocol: dict[int, str] = {}
        self.leader: dict[int, str] = {}
        self.given: dict[int, dict[str, bytes]] = defaultdict(dict)
        self.holder: dict[tuple[int, int], str] = {}
        self.instance: dict[str, str] = {}  # member id -> instance id
        self.retired: set[str] = set()
        self.stale: set[int] = set()
        self.commits: dict[int, list[Commit]] = defaultdict(list)
        self.asked: dict[int, tuple[int, Commit]] = {}
        self.fetches: dict[int, list[int]] = {}
        self.counts = {"generations": 0, "assignments": 0, "commits": 0, "fetches": 0}

    def who(self, member_id: str) -> str:
        return self.instance.get(member_id, member_id)

    def delivered(self, event: Any) -> None:
        rid = event.request_id
        if getattr(event, "member_id", "") in self.retired and not isinstance(event, JoinGroup):
            self.stale.add(rid)
        match event:
            case SyncGroup(assignments=assignments) if assignments:
                if event.generation_id == self.generation:
                    for member_id, share in assignments:
                        self.given[event.generation_id][self.who(member_id)] = share
            case CommitOffsets(offsets=(offset,)):
                if event.generation_id < self.generation:
                    self.stale.add(rid)
                self.asked[rid] = (offset.partition, Commit(offset.offset))
                self.commits[offset.partition].append(self.asked[rid][1])
            case FetchOffsets():
                self.fetches[rid] = [len(self.commits[p]) for p in range(PARTITIONS)]

    def answered(self, event: Any, fields: dict[str, Any]) -> None:
        match event:
            case JoinGroup() if fields["error_code"] == 0:
                self._joined(event, fields)
            case SyncGroup() if fields["error_code"] == 0:
                self._synced(event, fields["assignment"])
            case CommitOffsets():
                self._committed(event, fields["topics"][0]["partitions"][0]["error_code"])
            case FetchOffsets():
                self._fetched(event, fields["topics"][0]["partitions"])
        if fields.get("error_code") == 0 and not isinstance(event, LeaveGroup):
            require(event.request_id not in self.stale, "a fenced member stays fenced", event)

    def _joined(self, event: JoinGroup, fields: dict[str, Any]) -> None:
        generation, member_id = fields["generation_id"], fields["member_id"]
        if event.group_instance_id is not None:
            old = [m for m, i in self.instance.items() if i == event.group_instance_id]
            self.retired.update(m for m in old if m != member_id)
            self.instance[member_id] = event.group_instance_id
        require(generation >= self.generation, "generations only grow", generation)
        self.counts["generations"] += generation > self.generation
        self.generation = generation
        protocol = self.protocol.setdefault(generation, fields["protocol_name"])
        require(protocol == fields["protocol_name"], "one protocol a generation", generation)
        if fields["members"]:
            leader = self.leader.setdefault(generation, self.who(member_id))
            require(leader == self.who(member_id), "at most one leader", generation, leader)
            everybody = [m["member_id"] for m in fields["members"]]
            instances = {m["member_id"]: m["group_instance_id"] for m in fields["members"]}
            self.instance.update((m, i) for m, i in instances.items() if i is not None)
            require(member_id in everybody, "the leader is a member", member_id)

    def _synced(self, event: SyncGroup, assignment: bytes) -> None:
        self.counts["assignments"] += 1
        who = self.who(event.member_id)
        given = self.given[event.generation_id].get(who, b"")
        require(assignment == given, "a member gets what its leader gave", who, assignment, given)
        for partition in shares(assignment):
            holder = self.holder.setdefault((event.generation_id, partition), who)
            require(holder == who, "a partition has one holder", partition, holder, who)

    def _committed(self, event: CommitOffsets, error: int) -> None:
        partition, commit = self.asked.pop(event.request_id)
        if error:
            self.commits[partition].remove(commit)
            for seen in self.fetches.values():
                seen[partition] = min(seen[partition], len(self.commits[partition]))
            return
        require(event.request_id not in self.stale, "a fenced commit is refused", event)
        commit.state = "accepted"
        self.counts["commits"] += 1

    def _fetched(self, event: FetchOffsets, partitions: list[dict[str, Any]]) -> None:
        self.counts["fetches"] += 1
        for found, end in zip(partitions, self.fetches.pop(event.request_id), strict=True):
            commits = self.commits[found["partition_index"]]
            allowed = _allowed(commits[:end])
            value = found["committed_offset"]
            require(value in allowed, "an acknowledged commit is never lost", value, allowed)

    def crashed(self) -> None:
        for _, commit in self.asked.values():
            commit.state = "maybe"
        self.asked.clear()
        self.fetches.clear()


def _allowed(commits: list[Commit]) -> set[int]:
    """What a reader may see: the last accepted commit, or one after it whose fate is unknown."""
    allowed: set[int] = set()
    for commit in reversed(commits):
        allowed.add(commit.value)
        if commit.state == "accepted":
            return allowed
    return allowed | {-1}


def shares(assignment: bytes) -> list[int]:
    return list(assignment)


@dataclass
class Script:
    """What a member does between two joins, and whether it may go; one for all members."""

    world: World
    calm: bool = False
    value: int = 0

    def next_value(self) -> int:
        self.value += 1
        return self.value


def member(script: Script, name: str, instance: str | None, number: int) -> Client:
    """A consumer, until it leaves or is killed."""
    member_id = ""
    old = instance is None and number % 3 == 0
    while True:
        join = yield _joining(name, instance, member_id, number, old=old)
        if join is None:
            continue
        if join["error_code"] == MEMBER_ID_REQUIRED:
            member_id = join["member_id"]
        elif join["error_code"] == FENCED:
            return
        elif join["error_code"] != 0:
            member_id = member_id if join["error_code"] == REBALANCE else ""
        else:
            member_id = join["member_id"]
            error = yield from _generation(script, instance, join)
            if error is None or error == FENCED:
                return
            member_id = member_id if error == REBALANCE else ""


def _joining(name: str, instance: str | None, member_id: str, number: int, *, old: bool) -> Any:
    def build(request_id: int) -> JoinGroup:
        return JoinGroup(
            request_id,
            "g",
            member_id,
            instance,
            name,
            "/127.0.0.1",
            "consumer",
            PROTOCOLS[number % 2],
            3_000,
            4_000,
            f"uuid-{request_id}",
            requires_member_id=not old,
            skips_assignment=number % 4 == 1,
        )

    return build


def _generation(script: Script, instance: str | None, join: dict[str, Any]) -> Any:
    """One generation of a member: the error that ended it, None if it left."""
    member_id, generation = join["member_id"], join["generation_id"]
    assignments: dict[str, bytes] = {}
    if join["members"] and not join["skip_assignment"]:
        everybody = sorted(m["member_id"] for m in join["members"])
        for at, one in enumerate(everybody):
            assignments[one] = bytes(range(at, PARTITIONS, len(everybody)))
    sent = tuple(assignments.items())
    sync = yield lambda rid: SyncGroup(rid, "g", generation, member_id, instance, sent)
    if sync is None:
        return REBALANCE
    if sync["error_code"]:
        return sync["error_code"]
    mine = shares(sync["assignment"])
    while True:
        error = yield from _work(script, instance, member_id, generation, mine)
        if error is None or error:
            return error


def _work(
    script: Script, instance: str | None, member_id: str, generation: int, mine: list[int]
) -> Any:
    chance = script.world.random.random()
    if chance < 0.02 and not script.calm:
        yield lambda rid: LeaveGroup(rid, "g", (Leaving(member_id, instance),))
        return None
    if chance < 0.3 and mine:
        offset = OffsetToCommit("in", mine[0], script.next_value(), -1, "")
        answer = yield lambda rid: CommitOffsets(
            rid, "g", generation, member_id, instance, (offset,)
        )
        return 0 if answer is None else answer["topics"][0]["partitions"][0]["error_code"]
    if chance < 0.5:
        everything = tuple(("in", p) for p in range(PARTITIONS))
        yield lambda rid: FetchOffsets(rid, "g", everything)
        return 0
    answer = yield lambda rid: Heartbeat(rid, "g", generation, member_id, instance)
    return 0 if answer is None else answer["error_code"]


def simulate(
    seed: int, steps: int = 600, groups: type[GroupCoordinator] = GroupCoordinator
) -> Promises:
    """Run one history, then a calm time in which the group must come to stand."""
    promises = Promises()
    config = GroupConfig(initial_rebalance_delay_ms=100)
    world = World(seed, {"groups": lambda _: groups(config)}, promises, Rates())
    script = Script(world)
    born = 0

    def respawn() -> None:
        nonlocal born
        born += 1
        instance = f"static-{born % 2}" if world.random.random() < 0.3 else None
        world.connect(f"c{born}", member(script, f"c{born}", instance, born))

    world.respawn = respawn
    for _ in range(4):
        respawn()
    world.run(steps)
    world.rates, script.calm = Rates(0, 0, 0, 0, 0, 0), True
    world.ghosts.clear()
    for _ in range(50):
        world.run(100)
        fault = _fault(world, promises)
        if fault is None:
            return promises
    raise ViolationError(f"calm brings stability: {fault}")


def _fault(world: World, promises: Promises) -> str | None:
    """Why the group does not stand: one generation, of all members, that holds all partitions."""
    core: Any = world.cores["groups"]
    group = core._groups.get("g")
    if group is None or group.state.value != "Stable":
        return f"not stable: {group}"
    held = sorted(p for m in group.members.values() for p in shares(m.assignment))
    if held != list(range(PARTITIONS)):
        return f"only these partitions are held: {held}"
    if len(group.members) != len(world.connections):
        return f"somebody who is gone is still a member: {group}"
    return None if promises.generation == group.generation_id else "a generation was never told of"
