"""Producers that fight over transactional ids, and what must be true of the logs they leave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from broker.groups.config import GroupConfig
from broker.groups.coordinator import GroupCoordinator
from broker.groups.events import CommitTransactionOffsets, FetchOffsets, OffsetToCommit
from broker.transactions.config import TransactionConfig
from broker.transactions.coordinator import TransactionCoordinator
from broker.transactions.events import (
    AddOffsets,
    AddPartitions,
    CommitOffsets,
    EndTransaction,
    InitProducerId,
)
from tests.simulation.coordinator_world import Checker, Client, Marker, Rates, World, require

CONCURRENT = 51
IDS = ("x", "y")
PARTITIONS = tuple(("t", number) for number in range(3))


class Promises(Checker):
    """What logs and answers must agree on. A `uid` names one transaction of one producer."""

    def __init__(self) -> None:
        self.world: World
        self.producer_of: dict[int, str] = {}  # request -> who asked
        self.owner: dict[tuple[int, int], str] = {}  # (producer id, epoch) -> who has it
        self.newest: dict[str, tuple[int, int]] = {}  # transactional id -> the pair last given
        self.id_of: dict[int, str] = {}  # producer id -> transactional id
        self.wrote: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.offsets: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.uid_of_value: dict[int, str] = {}
        self.asked_to_commit: set[str] = set()
        self.uid_of_request: dict[int, str] = {}
        self.counts = {"committed": 0, "aborted": 0, "markers": 0, "offsets": 0}

    def delivered(self, event: Any) -> None:
        if isinstance(event, EndTransaction) and event.commit:
            self.asked_to_commit.add(self.uid_of_request[event.request_id])

    def answered(self, event: Any, fields: dict[str, Any]) -> None:
        if isinstance(event, InitProducerId) and fields["error_code"] == 0:
            pair = (fields["producer_id"], fields["producer_epoch"])
            who = self.producer_of[event.request_id]
            other = self.owner.setdefault(pair, who)
            require(other == who, "one owner of a producer id and epoch", pair, who, other)
            self.newest[event.transactional_id] = pair
            self.id_of[pair[0]] = event.transactional_id
        if isinstance(event, FetchOffsets):
            for partition in fields["topics"][0]["partitions"]:
                self._visible(partition["committed_offset"])

    def _visible(self, value: int) -> None:
        if value >= 0:
            uid = self.uid_of_value[value]
            require(uid in self.asked_to_commit, "positions show only after a commit", uid)
            require(self.fates()[uid] != {False}, "aborted positions never show", uid)

    def marked(self, partition: tuple[str, int], marker: Marker) -> None:
        self.counts["markers"] += 1
        producer_id, epoch, commit = marker
        newest = self.newest[self.id_of[producer_id]]
        stale = newest[0] == producer_id and newest[1] > epoch
        require(not (commit and stale), "a fenced transaction never commits", marker, newest)

    def produced(self, pair: tuple[int, int], uid: str, partition: tuple[str, int]) -> None:
        newest = self.newest[self.id_of[pair[0]]]
        require(newest == pair, "a fenced producer never appends", pair, newest)
        self.wrote[uid].add(partition)

    def fates(self) -> dict[str, set[bool]]:
        """What became of each transaction, as a reader of the logs sees it."""
        fates: dict[str, set[bool]] = defaultdict(set)
        for log in self.world.logs.values():
            undecided: dict[int, set[str]] = defaultdict(set)
            for producer_id, _, what in log:
                if isinstance(what, str):
                    undecided[producer_id].add(what)
                else:
                    for uid in undecided.pop(producer_id, ()):
                        fates[uid].add(what)
        return fates

    def open_uids(self) -> set[str]:
        """Transactions with records in some log that no marker has decided."""
        found: set[str] = set()
        for log in self.world.logs.values():
            undecided: dict[int, set[str]] = defaultdict(set)
            for producer_id, _, what in log:
                if isinstance(what, str):
                    undecided[producer_id].add(what)
                else:
                    undecided.pop(producer_id, None)
            found.update(*undecided.values())
        return found

    def ended(self, uid: str, *, commit: bool) -> None:
        self.counts["committed" if commit else "aborted"] += 1
        require(uid not in self.open_uids(), "an answered end has reached every partition", uid)
        require(self.fates()[uid] == {commit}, "an answered end is the end", uid, commit)

    def at_the_end(self) -> None:
        fates = self.fates()
        for uid, outcomes in fates.items():
            require(len(outcomes) == 1, "a transaction commits or aborts, everywhere", uid)
        require(not self.open_uids(), "every transaction comes to its end", self.open_uids())
        groups: Any = self.world.cores["groups"]
        for offsets in groups._offsets.values():
            require(not offsets.pending, "no position stays pending", offsets.pending)
            for number, name in enumerate(IDS):
                done = [v for v, uid in self.offsets[name] if fates[uid] == {True}]
                row = offsets.committed.get(("in", number))
                seen = None if row is None else row.offset
                self.counts["offsets"] += seen is not None
                last = done[-1] if done else None
                require(seen == last, "the last committed position stands", name, seen, last)


def producer(world: World, promises: Promises, who: str, name: str) -> Client:
    """One owner of a transactional id, until it is told to go or is killed."""
    pair = yield from _init(promises, who, name, (-1, -1))
    while pair is not None:
        for number in range(world.random.randint(1, 6)):
            done = yield from _transaction(world, promises, name, pair, f"{who}/{pair}/{number}")
            if not done:
                return
        pair = yield from _init(promises, who, name, pair)


def _init(promises: Promises, who: str, name: str, pair: tuple[int, int]) -> Any:
    def build(request_id: int) -> InitProducerId:
        promises.producer_of[request_id] = who
        return InitProducerId(request_id, name, 5_000, *pair, knows_fenced=True)

    while True:
        answer = yield build
        if answer is not None and answer["error_code"] == 0:
            return answer["producer_id"], answer["producer_epoch"]
        if answer is not None and answer["error_code"] != CONCURRENT:
            return None


def _asked(build: Callable[[int], Any], error_of: Callable[[dict[str, Any]], int]) -> Any:
    """Ask until there is an answer that counts; True if it is a good one."""
    while True:
        answer = yield build
        if answer is not None and error_of(answer) != CONCURRENT:
            return error_of(answer) == 0


def _error(fields: dict[str, Any]) -> int:
    return fields["error_code"]


def _errors(key: str, inner: str, code: str) -> Callable[[dict[str, Any]], int]:
    return lambda fields: max(p[code] for t in fields[key] for p in t[inner])


_ADDED = _errors("results_by_topic_v3_and_below", "results_by_partition", "partition_error_code")
_COMMITTED = _errors("topics", "partitions", "error_code")


def _transaction(
    world: World, promises: Promises, name: str, pair: tuple[int, int], uid: str
) -> Any:
    chosen = tuple(world.random.sample(PARTITIONS, world.random.randint(1, 3)))
    for part in (chosen[:1], chosen[1:]):
        if part and not (yield from _asked(_adding(name, pair, part), _ADDED)):
            return False
        for partition in part:
            if world.random.random() < 0.3:  # a batch that travels for a while
                yield lambda request_id: FetchOffsets(request_id, "g", (("in", 0),))
            if not world.produce(partition, (*pair, uid)):
                return False
            promises.produced(pair, uid, partition)
    if world.random.random() < 0.6 and not (yield from _offsets(world, promises, name, pair, uid)):
        return False
    commit = world.random.random() < 0.7

    def build(request_id: int) -> EndTransaction:
        promises.uid_of_request[request_id] = uid
        return EndTransaction(request_id, name, *pair, commit, knows_fenced=True)

    if not (yield from _asked(build, _error)):
        return False
    promises.ended(uid, commit=commit)
    return True


def _adding(name: str, pair: tuple[int, int], part: tuple[Any, ...]) -> Callable[[int], Any]:
    return lambda request_id: AddPartitions(request_id, name, *pair, part)


def _offsets(world: World, promises: Promises, name: str, pair: tuple[int, int], uid: str) -> Any:
    value = len(promises.uid_of_value) + 1
    promises.uid_of_value[value] = uid
    added = yield from _asked(lambda rid: AddOffsets(rid, name, *pair, "g"), _error)
    if not added:
        return False
    position = (OffsetToCommit("in", IDS.index(name), value, -1, ""),)

    def build(request_id: int) -> CommitOffsets:
        request = CommitTransactionOffsets(request_id, "g", pair[0], position)
        return CommitOffsets(name, pair[1], request)

    if not (yield from _asked(build, _COMMITTED)):
        return False
    promises.offsets[name].append((value, uid))
    return True


def reader() -> Client:
    """Looks at the positions again and again."""
    while True:
        yield lambda request_id: FetchOffsets(request_id, "g", (("in", 0), ("in", 1)))


def names() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"producer-{number}"


def simulate(
    seed: int,
    steps: int = 700,
    transactions: type[TransactionCoordinator] = TransactionCoordinator,
    groups: type[GroupCoordinator] = GroupCoordinator,
    rates: Rates | None = None,
) -> Promises:
    """Run one history; raises `ViolationError` if a promise is broken."""
    promises, who = Promises(), names()
    cores = {
        "groups": lambda _services: groups(GroupConfig()),
        "transactions": lambda services: transactions(TransactionConfig(), services),
    }
    world = promises.world = World(seed, cores, promises, rates or Rates())

    def respawn() -> None:
        name = world.random.choice(IDS)
        someone = next(who)
        world.connect(someone, producer(world, promises, someone, name))

    world.respawn = respawn
    world.connect("reader", reader())
    for _ in range(3):
        respawn()
    world.run(steps)
    world.quiesce()
    promises.at_the_end()
    return promises
