"""The group leader's decision, against trying everything out on small cases.

`TIDEMILL_ASSIGNMENTS` sets the number of random cases.
"""

import json
import os
import random
from collections import Counter
from itertools import product

import numpy as np
import pytest

from streams.assignment.assign import ACCEPTABLE_LAG, Member, assign
from streams.assignment.claims import Claim, Held, How, Told
from streams.assignment.placing import FORBIDDEN, place

CASES = int(os.environ.get("TIDEMILL_ASSIGNMENTS", "100"))


def all_placements(costs, loads, kinds):
    """Every allowed placement -> (unevenness, unevenness of all, cost)."""
    units, members = costs.shape
    for at in product(range(members), repeat=units):
        if len({(kinds[unit], member) for unit, member in enumerate(at)}) < units:
            continue
        if any(costs[unit, member] == FORBIDDEN for unit, member in enumerate(at)):
            continue
        counts = np.bincount(at, minlength=members)
        yield (
            int((counts**2).sum()),
            int(((counts + loads) ** 2).sum()),
            int(sum(costs[unit, member] for unit, member in enumerate(at))),
        )


def test_a_placement_is_the_best_there_is():
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        units, members = int(rng.integers(1, 6)), int(rng.integers(1, 5))
        costs = rng.choice([0, 0, 1, 3, 1024, 1026, 1040], (units, members))
        costs[rng.random((units, members)) < 0.15] = FORBIDDEN
        costs[np.arange(units), rng.integers(0, members, units)] = 5  # each is allowed somewhere
        kinds = np.arange(units)
        if seed % 2:  # several copies of the same
            copies = np.minimum(rng.integers(1, 3, units), (costs < FORBIDDEN).sum(1))
            kinds = np.repeat(np.arange(units), copies)[:6]
            units, costs = len(kinds), costs[kinds]
        loads = rng.integers(0, 3, members)
        weights = rng.integers(0, 4, units)
        at = place(costs, weights, loads, np.zeros(members, np.int64), kinds)
        counts = np.bincount(at, minlength=members)
        got = (
            int((counts**2).sum()),
            int(((counts + loads) ** 2).sum()),
            int(costs[np.arange(units), at].sum()),
        )
        assert got == min(all_placements(costs, loads, kinds)), f"seed {seed}"


def test_weights_are_evened_out_where_that_costs_nothing():
    weights = np.array([8, 8, 1, 1], np.int64)
    at = place(np.zeros((4, 2), np.int64), weights, *np.zeros((2, 2), np.int64))
    assert sorted(np.bincount(at, weights)) == [9, 9]
    stays = np.full((4, 2), 7, np.int64)
    stays[[0, 1], 0] = stays[[2, 3], 1] = 0
    assert place(stays, weights, *np.zeros((2, 2), np.int64)).tolist() == [0, 0, 1, 1]


class Cluster:
    """Processes with state, and a group that forms again and again."""

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        self.partitions = {f"topic.{n}": rng.randint(1, 6) for n in range(rng.randint(1, 3))}
        self.standbys = rng.choice((0, 0, 1, 2))
        self.members: list[Member] = []
        self.disks: dict[str, dict] = {}
        self.number = 0

    def join(self):
        self.number += 1
        process = f"process-{self.rng.randint(0, 9)}"
        if process not in {m.claim.process for m in self.members}:
            self.members.append(self.member(process))

    def member(self, process):
        name = f"member-{self.rng.random()}"
        disk = self.disks.setdefault(process, {})
        return Member(name, frozenset(self.partitions), Claim(process, self.standbys, disk))

    def step(self):
        rng = self.rng
        if not self.members or rng.random() < 0.5:
            self.join()
        elif rng.random() < 0.5:
            gone = self.members.pop(rng.randrange(len(self.members)))
            disk = self.disks[gone.claim.process]
            for task, held in disk.items():
                disk[task] = Held(How.DORMANT, held.offset, held.bytes)
        if not self.members:
            return
        tasks = [(t, n) for t, count in self.partitions.items() for n in range(count)]
        records = {task: rng.randint(0, 10**12) for task in tasks if rng.random() < 0.9}
        shares = assign(rng.sample(self.members, len(self.members)), self.partitions, records)
        assert shares == assign(self.members, self.partitions, records)
        self.check(shares)
        self.run(shares)

    def check(self, shares):
        every = {(t, n) for t, count in self.partitions.items() for n in range(count)}
        assert sorted(task for s in shares.values() for task in s.running) == sorted(every)
        counts = [len(share.running) for share in shares.values()]
        assert max(counts) - min(counts) <= 1
        for topic in self.partitions:
            of_topic = [sum(t == topic for t, _ in s.running) for s in shares.values()]
            assert max(of_topic) - min(of_topic) <= 1
        copies = Counter(task for share in shares.values() for task in share.standbys)
        wanted = min(self.standbys, len(self.members) - 1)
        assert all(copies[task] == wanted for task in every)
        for share in shares.values():
            assert not set(share.running) & set(share.standbys)
            assert len(set(share.standbys)) == len(share.standbys)
        if wanted == 1 and len(self.members) > 2:
            of_both = [len(s.running) + len(s.standbys) for s in shares.values()]
            assert max(of_both) - min(of_both) <= 1

    def run(self, shares):
        """All read a little; the assignment of these members now moves nothing."""
        rng = self.rng
        for member in self.members:
            disk, share = self.disks[member.claim.process], shares[member.name]
            for task in [*share.running, *share.standbys]:
                disk[task] = Held(How.DORMANT, 10**9 + self.number, rng.randint(0, 1000))
            for task, held in disk.items():
                how = How.DORMANT
                if task in share.running:
                    how = How.RUNS
                elif task in share.standbys:
                    how = How.FOLLOWS
                disk[task] = Held(how, held.offset, held.bytes)
        before = {m.claim.process: shares[m.name] for m in self.members}
        self.members = [self.member(m.claim.process) for m in self.members]
        again = assign(self.members, self.partitions)
        assert {m.claim.process: again[m.name] for m in self.members} == before


def test_groups_that_come_and_go_are_balanced_and_nothing_moves_without_need():
    for seed in range(CASES // 2):
        try:
            cluster = Cluster(seed)
            for _ in range(8):
                cluster.step()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def member(name, held=None, *, standbys=0, topics=("raw",)):
    return Member(name, frozenset(topics), Claim(name, standbys, held or {}))


def runs(*partitions, offset=100, size=10):
    return {("raw", n): Held(How.RUNS, offset, size) for n in partitions}


def test_as_few_tasks_move_as_balance_asks_for():
    """Against every balanced assignment of one topic: how many tasks run where they ran."""
    for seed in range(CASES):
        rng = random.Random(seed)
        count, members = rng.randint(1, 6), rng.randint(1, 4)
        owner = [rng.randrange(members + 1) for _ in range(count)]  # the last one is gone
        held = [runs(*(p for p in range(count) if owner[p] == m)) for m in range(members)]
        group = [member(f"m{number}", held[number]) for number in range(members)]
        shares = assign(group, {"raw": count})
        kept = sum(len(set(shares[m.name].running) & set(m.claim.held)) for m in group)
        least, more = divmod(count, members)
        best = 0
        for at in product(range(members), repeat=count):
            counts = sorted(np.bincount(at, minlength=members).tolist())
            if counts == [least] * (members - more) + [least + 1] * more:
                best = max(best, sum(where == owner[p] for p, where in enumerate(at)))
        assert kept == best, f"seed {seed}"


def test_a_dead_workers_tasks_go_to_who_has_their_state():
    newest = 10**6
    warm = {("raw", n): Held(How.FOLLOWS, newest, 1) for n in (0, 1)}
    old = {("raw", n): Held(How.DORMANT, newest - 5 * ACCEPTABLE_LAG, 1) for n in (2, 3)}
    older = {("raw", n): Held(How.DORMANT, 10, 1) for n in (2, 3)}
    group = [member("a", warm | older), member("b", old), member("c", old)]
    shares = assign(group, {"raw": 4})
    assert set(shares["a"].running) == {("raw", 0), ("raw", 1)}
    two = assign([member("a", warm | older), member("b", old)], {"raw": 4})
    assert set(two["b"].running) == {("raw", 2), ("raw", 3)}


def test_large_state_is_spread_when_much_moves():
    held = {("raw", n): Held(How.RUNS, 5, size) for n, size in enumerate((900, 800, 10, 20))}
    shares = assign([member("a", held), member("b")], {"raw": 4})
    sizes = [sum(held[task].bytes for task in share.running) for share in shares.values()]
    assert sorted(sizes) == [820, 910]


def test_partitions_of_the_same_number_go_together():
    """They share a partition of the changelog."""
    topics = ("raw", "history.a", "history.b")
    group = [member(name, topics=topics) for name in "ab"]
    for share in assign(group, dict.fromkeys(topics, 4)).values():
        numbers = {topic: sorted(n for t, n in share.running if t == topic) for topic in topics}
        assert len(set(map(tuple, numbers.values()))) == 1


def test_a_topic_goes_to_those_who_subscribe_to_it():
    group = [member("old"), member("new", topics=("raw", "later")), member("none", topics=())]
    shares = assign(group, {"raw": 3, "later": 2, "unheard-of": 1})
    assert shares["none"].running == ()
    assert {t for t, _ in shares["old"].running} == {"raw"}
    assert set(shares["new"].running) >= {("later", 0), ("later", 1)}


def test_two_members_of_one_process_keep_no_copies_for_each_other():
    claims = [Claim("same", 1), Claim("same", 1)]
    group = [Member(f"m{n}", frozenset({"raw"}), claim) for n, claim in enumerate(claims)]
    shares = assign(group, {"raw": 4})
    assert [share.standbys for share in shares.values()] == [(), ()]


def test_of_two_that_say_they_run_a_task_the_one_further_on_keeps_it():
    zombie = member("a", runs(0, 1, offset=50))
    owner = member("b", runs(0, 1, offset=90))
    shares = assign([zombie, owner, member("c", runs(2))], {"raw": 3})
    assert set(shares["b"].running) < {("raw", 0), ("raw", 1)}
    assert shares["c"].running == (("raw", 2),)
    pair = assign([zombie, member("b", runs(0, offset=90))], {"raw": 2})
    assert pair["b"].running == (("raw", 0),)


CLAIM = Claim("p", 1, {("raw", 3): Held(How.RUNS, 12, 34), ("raw", 1): Held(How.FOLLOWS, 5, 6)})


def test_claims_and_standbys_travel_as_user_data():
    assert Claim.decode(CLAIM.encode(), "m") == CLAIM
    told = Told(frozenset(CLAIM.held), dict.fromkeys(CLAIM.held, "127.0.0.1:6066"))
    assert Told.decode(told.encode()) == told


def test_a_later_version_with_further_fields_is_read():
    fields = json.loads(CLAIM.encode())
    fields |= {"v": 2, "rack": "r1"}
    for rows in fields["tasks"].values():
        for row in rows:
            row.append("further")
    assert Claim.decode(json.dumps(fields).encode(), "m") == CLAIM
    later = {"v": 2, "standbys": {"raw": [1]}, "warm": []}
    assert Told.decode(json.dumps(later).encode()) == Told(frozenset({("raw", 1)}))


@pytest.mark.parametrize(
    "data", [b"", b"\xff\x00", b"[]", b"7", b'{"v":9}', b'{"process":"p","standbys":0,"tasks":[1]}']
)
def test_user_data_that_does_not_read_counts_as_nothing_said(data):
    assert Claim.decode(data, "m") == Claim("m")
    assert Told.decode(data) == Told()
    group = [member("a"), Member("b", frozenset({"raw"}), Claim.decode(data, "b"))]
    assert sorted(len(s.running) for s in assign(group, {"raw": 4}).values()) == [2, 2]


def test_traffic_is_evened_out_where_nothing_else_decides():
    records = {("raw", 0): 31, ("raw", 1): 20, ("raw", 2): 29, ("raw", 3): 20}
    shares = assign([member("a"), member("b")], {"raw": 4}, records)
    assert sorted(sum(records[t] for t in s.running) for s in shares.values()) == [49, 51]
    settled = [member("a", runs(0, 2)), member("b", runs(1, 3))]
    assert assign(settled, {"raw": 4}, records)["a"].running == (("raw", 0), ("raw", 2))


def test_state_and_traffic_weigh_alike():
    heavy = {("raw", n): Held(How.DORMANT, 50, size) for n, size in enumerate((900, 100, 0, 0))}
    records = {("raw", 0): 0, ("raw", 1): 0, ("raw", 2): 10**12, ("raw", 3): 0}
    both = [member("a", heavy), member("b", heavy)]
    for given, apart in ((records, {0, 2}), ({}, {0, 1})):
        shares = assign(both, {"raw": 4}, given)
        assert [len({n for _, n in s.running} & apart) for s in shares.values()] == [1, 1]


def test_a_large_group_is_assigned_within_a_moment():
    group = [member(f"m{n:02}", runs(*range(n * 12, n * 12 + 12))) for n in range(16)]
    group += [member(f"new{n}", standbys=1) for n in range(4)]
    shares = assign(group, {"raw": 192})
    assert {len(share.running) for share in shares.values()} == {9, 10}
    kept = sum(len(set(shares[m.name].running) & set(m.claim.held)) for m in group)
    assert kept == 16 * 9 + 12


def member_of(name, version, runs=(), topics=frozenset({"t"})):
    held = {("t", n): Held(How.RUNS, 100, 1) for n in runs}
    return Member(name, topics, Claim(f"disk-{name}", held=held, version=version))


def test_what_a_newer_version_runs_does_not_go_back_to_an_older_one():
    old, new = member_of("old", 1), member_of("new", 2, runs=range(4))
    assert assign([old, new], {"t": 4})["new"].running == tuple(("t", n) for n in range(4))
    old, new = member_of("old", 1, runs=range(4)), member_of("new", 2)
    shares = assign([old, new], {"t": 4})
    assert len(shares["old"].running) == len(shares["new"].running) == 2


def test_what_nobody_runs_goes_to_the_newest_and_with_these_gone_to_who_is_left():
    old, new = member_of("old", 1, runs=(0, 1)), member_of("new", 2)
    assert {("t", 2), ("t", 3)} <= set(assign([old, new], {"t": 4})["new"].running)
    assert len(assign([old], {"t": 4})["old"].running) == 4


def test_workers_that_do_not_say_a_version_are_older_than_those_that_do():
    silent = Claim.decode(Claim("disk").encode(), "name")
    assert silent.version == 0
    assert b"version" not in Claim("disk").encode()
    assert Claim.decode(Claim("disk", version=7).encode(), "name").version == 7


def test_while_workers_of_several_versions_come_and_go_no_task_goes_back():
    """Whatever was ever run by a version goes only to it or newer ones, while one of them is there
    (else who gets it stops); of members of one version the spread is as even as ever."""
    for seed in range(CASES):
        rng = random.Random(seed)
        count, stored, number = rng.randint(1, 6), {}, 0
        members = []
        for _ in range(12):
            if members and rng.random() < 0.4:
                members.pop(rng.randrange(len(members)))
            if not members or rng.random() < 0.8:
                number += 1
                members.append(member_of(f"m{number}", rng.randint(1, 3)))
            shares = assign(members, {"t": count})
            newest = max(member.claim.version for member in members)
            stops = set()
            for member in members:
                for task in shares[member.name].running:
                    version = member.claim.version
                    had = stored.setdefault(task, version)
                    assert version >= had or newest < had, f"seed {seed}: {task} went back"
                    stored[task] = max(version, had)
                    stops |= {member.name} if version < had else set()
            if len({member.claim.version for member in members}) == 1:
                counts = [len(shares[member.name].running) for member in members]
                assert max(counts) - min(counts) <= 1
            members = [
                member_of(m.name, m.claim.version, [n for _, n in shares[m.name].running])
                for m in members
                if m.name not in stops
            ]
