"""The same set of points gives the same bytes, whatever way it took.

One random set (gauges, delta and cumulative sums, integers and doubles, resets, new starts, ties,
a gap, NaN, infinities, integers past 2**53) goes through the whole topology in 1, 2, 5 and 16
partitions, in many orders, with restarts: streamed, replayed from the start of the same log by
fresh tasks, loaded as history, half and half, and with a change of the number of partitions in
their midst. The bytes of every latest row (group hash,
labels, value bits, points) are the same, and the oracle's.

What does differ, and must: `revision` (how often a row changed on the way), `late` (what came after
the first publication) and the certificate (offsets, domain, idle marks) tell how the points came.
A replay repeats all of these but `revision`, which also tells in which order the sources of a
window were heard; so it is compared too.

TIDEMILL_POINT_SETS, TIDEMILL_ORDERS and TIDEMILL_SEED make it longer, or another.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import epochs, scenario
from oracle.definitions import SECOND, Definition
from oracle.histograms import mark
from oracle.log import LIVE, Record
from oracle.log import read as read_log
from oracle.oracle import compute

from tests.simulation.topology_world import Pipeline, Rows, again
from topologies.edge.cut import partition_of
from topologies.identity.split import canonical_resource_key, split_by_resource

SETS = int(os.environ.get("TIDEMILL_POINT_SETS", "1"))
ORDERS = int(os.environ.get("TIDEMILL_ORDERS", "1"))
SEED = int(os.environ.get("TIDEMILL_SEED", "1"))
PARTITIONS = (1, 2, 5, 16)
HOSTS = tuple(f"h{number}" for number in range(12))
HISTORY = "telemetry.history.x"
TENANT = "t"
CHANGE = 3600  # seconds: a boundary of every window, in the midst of the points
LATER = "telemetry.raw.e2"

HARD = ["0.0", "-0.0", "0.1", "-3.25", "7i", "9007199254740993i", "9007199254740992.0", "1e100"]
HARD += ["-1e100", "5e-324", "inf", "-inf", "nan", "1.7e308", "-9223372036854775808i"]
DEFINITIONS = """
define increase over_time=increase over_space=sum metric=m keep=g sizes=10s,30s corrections=1d
define of-hosts over_time=increase over_space=max metric=m keep=host sizes=10s,1m grace=2s
define total over_time=sum over_space=sum metric=n keep=g sizes=10s,20s grace=5s corrections=1d
define mean over_time=avg over_space=avg metric=n keep= sizes=5s,1h corrections=1d
define last over_time=last over_space=last metric=n keep=g,host sizes=10s,1m corrections=1d
define most over_time=max over_space=min metric=m keep=g sizes=20s corrections=1d
define far over_points=p99 metric=n keep=g sizes=10s,1m corrections=1d
define away over_points=stddev_sample metric=n keep= sizes=10s,1h corrections=1d
define kinds over_points=distinct_count metric=m keep=host sizes=20s corrections=1d
define every over_points=all metric=n keep=g sizes=5s,30s corrections=1d
define earliest over_points=first metric=m keep=g sizes=10s,20s corrections=1d
define points over_points=avg metric=n keep= sizes=10s corrections=1d
define shape over_points=exponential_histogram:16 metric=n keep=g sizes=10s,1m corrections=1d
define shares over_points=explicit_histogram:[0,1,5.5] metric=m keep= sizes=20s corrections=1d
define speed over_time=rate over_space=sum metric=m keep=g sizes=10s,1m corrections=1d
define how-many over_time=count over_space=sum metric=m keep= sizes=10s corrections=1d
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One point: `token` is how a scenario writes it, `time` is in seconds of the story."""

    host: str
    token: str
    time: float


# ---------------------------------------------------------------- the set of points


def definitions() -> list[Definition]:
    """Every pair of steps that may go wrong: exact sums, means, order, resets, counts."""
    text = DEFINITIONS.replace("grace=2s", "grace=2s corrections=1d")
    return scenario.loads(text).definitions


def point_set(rng: random.Random) -> list[Told]:
    """Points of some streams of every host, by time; no two are equal in everything."""
    points: dict[tuple[str, str], Told] = {}
    for host in HOSTS:
        for name in "mn":
            for labels in rng.sample(["{g=a}", "{g=b}", "{g=a,s=1}", ""], 2):
                for told in _stream(rng, host, name + labels):
                    points[told.host, told.token] = told
    return sorted(points.values(), key=lambda told: (told.time, told.host, told.token))


def _stream(rng: random.Random, host: str, name: str) -> Iterator[Told]:
    kind = rng.choice(["gauge", "delta", "cumulative", "cumulative", "cumulative"])
    hard = rng.random() < 0.4
    first = 2 * (CHANGE - 60)
    times = sorted(rng.sample(range(first + 1, first + 240), rng.randint(4, 10)))
    if rng.random() < 0.3:  # silent for longer than a stream is remembered
        times += sorted(rng.sample(range(first + 2200, first + 2320), rng.randint(1, 4)))
    count, start = rng.choice([0, 2**53 - 3]), rng.choice(["-", "0", f"{CHANGE - 59}"])
    for half in times:
        if kind == "cumulative" and rng.random() < 0.2:
            count = 0
            start = rng.choice([start, f"{half / 2 - 0.5}"])
        count += rng.randint(0, 9)
        for _ in range(2 if rng.random() < 0.15 else 1):  # a tie: one time, two values
            tame = count + rng.randint(0, 2)
            value = rng.choice([f"{tame}i", repr(tame + 0.5)])
            if hard:
                value = rng.choice(HARD)
            middle = {"gauge": "=", "delta": "+=", "cumulative": "="}[kind]
            end = f"^{start}" if kind == "cumulative" else ""
            yield Told(host, f"{name}@{half / 2}{middle}{value}{end}", half / 2)


# ---------------------------------------------------------------- the ways it can take


def ordered(points: Sequence[Told], order: int, rng: random.Random) -> list[Told]:
    """0: by time; else a little shuffled, or in any order at all, in turn."""
    if order == 0:
        return list(points)
    spread = rng.choice([3.0, 15.0, 60.0])
    if order % 2:
        return sorted(points, key=lambda told: told.time + rng.uniform(0, spread))
    return rng.sample(points, len(points))


def records_of(
    points: Sequence[Told], rng: random.Random
) -> Iterator[tuple[bytes, bytes, tuple[float, ...]]]:
    """(routing key, request, times): points of a host travel together, a few at a time."""
    waiting: dict[str, list[Told]] = defaultdict(list)

    def sent(host: str) -> tuple[bytes, bytes, tuple[float, ...]]:
        told = waiting.pop(host)
        value = scenario.request(f"[host={host}] {' '.join(one.token for one in told)}")
        ((resource, _),) = split_by_resource(value)
        return canonical_resource_key(TENANT, resource), value, tuple(one.time for one in told)

    for told in points:
        waiting[told.host].append(told)
        if rng.random() < 0.3:
            yield sent(told.host)
    for host in list(waiting):
        yield sent(host)


class Log:
    """What lies on the topics; the partition follows from the resource, as the edge routes it.

    If `LATER` is among the topics, the live domain goes on there from `CHANGE` on.
    """

    def __init__(self, topics: dict[str, int]) -> None:
        self.topics = topics
        self.records: dict[tuple[str, int], list[Record]] = {
            (topic, number): [] for topic, count in topics.items() for number in range(count)
        }
        if LATER in topics:
            since = _at(CHANGE)
            for place in self.records:
                bounds = {"until": since}
                if place[0] == LATER:
                    bounds = {"since": since, "partitions": topics[LATER]}
                self._append(place, {"control": b"epoch"}, json.dumps(bounds).encode())

    def topics_of(self, topic: str, times: Sequence[float]) -> list[str]:
        """Where a record with points of these times goes."""
        if topic != LIVE or LATER not in self.topics:
            return [topic]
        numbers = epochs.topics_for([_at(time) for time in times], [_at(CHANGE)])
        return [(LIVE, LATER)[number - 1] for number in numbers]

    def data(self, topic: str, key: bytes, value: bytes, received: int) -> tuple[str, int]:
        """Append a request; returns its partition."""
        place = topic, partition_of(key, self.topics[topic])
        digest = hashlib.blake2b(TENANT.encode() + b"\0" + value, digest_size=16).digest()
        headers = {"encoding": b"otlp", "tenant": TENANT.encode(), "digest": digest}
        self._append(place, headers | {"received": str(received).encode()}, value)
        return place

    def control(self, place: tuple[str, int], time: int, end: bool = False) -> None:
        """Append an idle mark, or to a history a marker."""
        kind = b"idle" if place[0] in (LIVE, LATER) else b"marker"
        self._append(place, {"control": kind}, json.dumps({"time": time, "end": end}).encode())

    def _append(self, place: tuple[str, int], headers: dict[str, bytes], value: bytes) -> None:
        records = self.records[place]
        records.append(Record(len(records), headers, value))


def laid_down(
    points: Sequence[Told],
    topic_of: dict[str, str],
    partitions: int,
    rng: random.Random,
    later: int = 0,
) -> Log:
    """The points in this order on the topics of their hosts, with marks, repeats and an end.

    later: how many partitions the live domain has from `CHANGE` on; 0: no change.
    """
    log = Log(dict.fromkeys(topic_of.values(), partitions) | ({LATER: later} if later else {}))
    newest, received = 0.0, 0
    sent: list[tuple[list[str], bytes, bytes, int]] = []
    by_key = {}
    for host, topic in topic_of.items():
        ((resource, _),) = split_by_resource(scenario.request(f"[host={host}] m@1=1"))
        by_key[canonical_resource_key(TENANT, resource)] = topic
    for key, value, times in records_of(points, rng):
        newest = max(newest, *times)
        received = max(received, _at(newest - rng.uniform(0, 60)))
        targets = log.topics_of(by_key[key], times)
        (place, *_) = [log.data(topic, key, value, received) for topic in targets]
        sent.append((targets, key, value, received))
        if rng.random() < 0.1:  # its agent never saw the answer
            targets, again, body, seen = rng.choice(sent)
            if received - seen < 500 * SECOND:
                for topic in targets:
                    log.data(topic, again, body, received)
        if rng.random() < 0.05:
            log.control(place, _at(newest - rng.uniform(-30, 30)))
    for place in log.records:
        if place[0] in (LIVE, LATER):
            log.control(place, _at(8000))  # all windows seal,
            log.control(place, _at(8010))  # and what came late has settled
        else:
            log.control(place, 0, end=True)
    return log


def _at(second: float) -> int:
    return scenario.EPOCH + round(max(0.5, second) * SECOND)


# ---------------------------------------------------------------- what must be equal


@cache
def the_set(seed: int) -> tuple[Told, ...]:
    return tuple(point_set(random.Random(f"points/{seed}")))


@cache
def expected(seed: int) -> tuple[Counter, dict, dict[object, bytes]]:
    """The points as the log's reader sees them; the oracle's latest; bytes of an in-order run."""
    log = laid_down(the_set(seed), dict.fromkeys(HOSTS, LIVE), 1, random.Random(seed))
    partitions = read_log(log.records)
    latest = {
        key: (mark(cell.value), cell.points)
        for key, cell in compute(partitions, definitions()).latest.items()
    }
    rows = Pipeline(definitions(), log.records, random.Random(seed)).run()
    return accepted(log), latest, rows.raw


def accepted(log: Log) -> Counter:
    """Every accepted point; no other may be there but repeats, and counters below zero."""
    points = [
        point
        for partition in read_log(log.records)
        for point in partition.points
        if epochs.owns(partition, point.time)
    ]
    assert {point.fate for point in points} <= {"accepted", "repeat", "negative"}
    return Counter(
        (point.stream, point.time, point.start, mark(point.value), str(point.value))
        for point in points
        if point.fate == "accepted"
    )


def run(log: Log, seed: int, way: str) -> Rows:
    """Through the topology; the latest rows must be what the set of points demands."""
    points, latest, raw = expected(seed)
    assert accepted(log) == points, f"{way}: not the same points"
    rows = Pipeline(definitions(), log.records, random.Random(f"{seed}/{way}")).run()
    assert rows.refused == 0
    for key, wanted in latest.items():
        assert rows.latest.get(key) == wanted, f"{way}: {key}"
    assert rows.latest == latest, f"{way}: rows that nothing demands"
    assert rows.raw == raw, f"{way}: other bytes"
    return rows


def topics_of(way: str, rng: random.Random) -> dict[str, str]:
    """The topic of every host: a stream's points stay together."""
    if way == "both":
        return {host: rng.choice([LIVE, HISTORY, "telemetry.history.y"]) for host in HOSTS}
    return dict.fromkeys(HOSTS, LIVE if way == "streamed" else HISTORY)


def certificates(rows: Rows) -> set[str]:
    """Of every window and domain, in one spelling."""
    return {json.dumps(certificate, sort_keys=True) for certificate in rows.certificates}


@pytest.mark.parametrize("order", range(ORDERS))
@pytest.mark.parametrize("partitions", PARTITIONS)
@pytest.mark.parametrize("seed", range(SEED, SEED + SETS))
def test_the_bytes_of_the_latest_rows_do_not_tell_how_the_points_came(
    seed: int, partitions: int, order: int
):
    name = (
        f"the_bytes_of_the_latest_rows_do_not_tell_how_the_points_came[{seed}-{partitions}-{order}]"
    )
    with again(__file__, name, SEED=seed, ORDERS=order + 1):
        every_way(seed, partitions, order)


def every_way(seed: int, partitions: int, order: int) -> None:
    """Streamed, replayed, loaded, half and half, and on more or fewer partitions after a time."""
    rng = random.Random(f"{seed}/{partitions}/{order}")
    points = ordered(the_set(seed), order + PARTITIONS.index(partitions), rng)
    streamed = laid_down(points, topics_of("streamed", rng), partitions, rng)
    live = run(streamed, seed, f"streamed {partitions} {order}")
    again = run(streamed, seed, f"replayed {partitions} {order}")
    assert again.first == live.first
    assert again.late == live.late
    assert certificates(again) == certificates(live)
    for way in ("history", "both"):
        log = laid_down(points, topics_of(way, rng), partitions, rng)
        run(log, seed, f"{way} {partitions} {order}")
    later = rng.choice([count for count in PARTITIONS if count != partitions])
    changed = laid_down(points, topics_of("streamed", rng), partitions, rng, later)
    run(changed, seed, f"changed {partitions} {later} {order}")


def test_the_set_holds_what_is_hard():
    """Else the test above would prove little."""
    tokens = [told.token for told in the_set(SEED)]
    streams = Counter((told.host, told.token.split("@")[0], told.time) for told in the_set(SEED))
    assert max(streams.values()) == 2, "ties"
    for what in ("nan", "inf", "9007199254740993i", "5e-324", "+=", "^0", ".5^", "i^"):
        assert any(what in token for token in tokens), what
    _, latest, _ = expected(SEED)
    assert len(latest) > 300
    assert {key.definition for key in latest} == {d.name for d in definitions()}
