"""Both coordinators on a disk that never fails: appends are durable at once, timers fire."""

from dataclasses import dataclass, field
from typing import Any

from broker.coordination import (
    Admit,
    Answer,
    Append,
    Appended,
    CancelTimer,
    Dismiss,
    MarkersWritten,
    Record,
    Restored,
    SetTimer,
    Tell,
    TimerFired,
    WriteMarkers,
)
from broker.groups.config import GroupConfig
from broker.groups.coordinator import GroupCoordinator
from broker.groups.events import DescribeGroups, Heartbeat, JoinGroup, Protocol, SyncGroup
from broker.transactions.config import TransactionConfig
from broker.transactions.coordinator import TransactionCoordinator

RANGE = (Protocol("range", b"subscription"),)


@dataclass
class FakeServices:
    """Topic "t" has four partitions; producer ids count from 1,000, also over restarts."""

    node_id: int = 1
    next_producer_id: int = 1_000

    def new_producer_id(self) -> int:
        self.next_producer_id += 1
        return self.next_producer_id

    def partition_exists(self, topic: str, partition: int) -> bool:
        return topic == "t" and partition < 4


@dataclass
class Disk:
    """What survives a restart."""

    records: dict[str, list[Record]] = field(
        default_factory=lambda: {"groups": [], "transactions": []}
    )
    services: FakeServices = field(default_factory=FakeServices)


class Bench:
    def __init__(
        self,
        disk: Disk | None = None,
        now_ms: int = 1_000_000,
        groups: GroupConfig | None = None,
        transactions: TransactionConfig | None = None,
    ) -> None:
        self.disk = disk or Disk()
        self.now_ms = now_ms
        self._configs = (groups or GroupConfig(), transactions or TransactionConfig())
        self.cores: dict[str, Any] = {
            "groups": GroupCoordinator(self._configs[0]),
            "transactions": TransactionCoordinator(self._configs[1], self.disk.services),
        }
        self.answers: dict[int, dict[str, Any]] = {}
        self.timers: dict[Any, int] = {}
        self.markers: list[WriteMarkers] = []
        self.hold_markers = False
        self.admitted: dict[int, tuple[int, set[tuple[str, int]]]] = {}
        self._next = 0
        for name, core in self.cores.items():
            for record in self.disk.records[name]:
                core.replay(record)
        for name in self.cores:
            self.tell(name, Restored())

    def tell(self, name: str, event: Any) -> None:
        todo = [(name, event)]
        while todo:
            name, event = todo.pop(0)
            for effect in self.cores[name].step(event, self.now_ms):
                todo += self._perform(name, effect)

    def _perform(self, name: str, effect: Any) -> list[tuple[str, Any]]:
        match effect:
            case Append(records, token):
                self.disk.records[name] += records
                return [(name, Appended(token))]
            case Answer(request_id, fields):
                assert request_id not in self.answers, "answered twice"
                self.answers[request_id] = dict(fields)
            case SetTimer(timer, at_ms):
                self.timers[name, timer] = at_ms
            case CancelTimer(timer):
                self.timers.pop((name, timer), None)
            case Tell(other, told):
                return [(other, told)]
            case WriteMarkers():
                self.markers.append(effect)
                return [] if self.hold_markers else [(name, MarkersWritten(effect.token, ()))]
            case Admit(producer_id, epoch, partitions):
                known = self.admitted.get(producer_id, (epoch, set()))
                before = known[1] if known[0] == epoch else set()
                self.admitted[producer_id] = (epoch, before | set(partitions))
            case Dismiss(producer_id):
                self.admitted.pop(producer_id, None)
        return []

    def release_markers(self, failed: tuple[tuple[str, int], ...] = ()) -> None:
        self.tell("transactions", MarkersWritten(self.markers[-1].token, failed))

    def ask(self, event: type, *args: Any, **named: Any) -> int:
        """Send a request; its answer, if there is one by now, is `answers[id]`."""
        self._next += 1
        name = "transactions" if "transactions" in event.__module__ else "groups"
        self.tell(name, event(self._next, *args, **named))
        return self._next

    def pass_time(self, ms: int) -> None:
        end_ms = self.now_ms + ms
        while self.timers and min(self.timers.values()) <= end_ms:
            timer = min(self.timers, key=lambda t: self.timers[t])
            self.now_ms = max(self.now_ms, self.timers.pop(timer))
            self.tell(timer[0], TimerFired(timer[1]))
        self.now_ms = end_ms

    def restarted(self, now_ms: int | None = None) -> "Bench":
        return Bench(self.disk, now_ms or self.now_ms, *self._configs)

    def join(self, member: str = "", group: str = "g", **named: Any) -> int:
        named = {
            "instance": None,
            "protocols": RANGE,
            "kind": "consumer",
            "session": 10_000,
            "rebalance": 60_000,
            "old": True,
            **named,
        }
        return self.ask(
            JoinGroup,
            group,
            member,
            named["instance"],
            "client",
            "/127.0.0.1",
            named["kind"],
            named["protocols"],
            named["session"],
            named["rebalance"],
            f"uuid{self._next}",
            requires_member_id=not named["old"],
            skips_assignment=named.get("skips", False),
        )

    def sync(self, member: str, generation: int, shares: dict[str, bytes], **named: Any) -> int:
        instance = named.get("instance")
        return self.ask(SyncGroup, "g", generation, member, instance, tuple(shares.items()))

    def beat(self, member: str, generation: int, instance: str | None = None) -> int:
        return self.error(self.ask(Heartbeat, "g", generation, member, instance))

    def error(self, asked: int) -> int:
        return int(self.answers[asked]["error_code"])

    def state(self) -> str:
        asked = self.ask(DescribeGroups, ("g",))
        return str(self.answers[asked]["groups"][0]["group_state"])


def stable(bench: Bench, count: int, **named: Any) -> tuple[list[str], int]:
    """`count` members in a stable generation; the first leads."""
    joins = [bench.join(**named) for _ in range(count)]
    bench.pass_time(2_000)
    members = [str(bench.answers[j]["member_id"]) for j in joins]
    generation = int(bench.answers[joins[0]]["generation_id"])
    shares = {member: member.encode() for member in members}
    leader = bench.answers[joins[0]]["leader"]
    for member in sorted(members, key=lambda m: m == leader):
        asked = bench.sync(member, generation, shares if member == leader else {})
    assert bench.error(asked) == 0
    return members, generation
