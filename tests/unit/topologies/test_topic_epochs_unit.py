"""The bounds of topic epochs: who closes windows, who counts points, what is forgotten."""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from oracle import scenario

from metric_registry.compile import compile_plan
from streams.batch import decode_table
from streams.event_time.windows import EARLIEST, LATEST
from streams.task.processor import InputRecord
from tests.simulation.test_topic_epochs import ended, story
from tests.simulation.topology_world import resolved
from topologies.cardinality import share_of
from topologies.deployment import Deployment
from topologies.epochs import Bounds, Epoch, Sealed, domain_of, frontier, number_of, topic_of
from topologies.manager.units import Manager, SourceSealed
from topologies.partials import PartialRows
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.windows import Domain, Seals, Windows

SECOND = 1_000_000_000
PANE = "10/0/100"
FIRST, SECOND_TOPIC = "telemetry.raw", "telemetry.raw.e2"
EPOCHS = {FIRST: Epoch(2, until=20), SECOND_TOPIC: Epoch(1, since=20)}


def test_a_topic_names_its_domain_and_its_number():
    assert [topic_of(number) for number in (1, 2, 12)] == [FIRST, SECOND_TOPIC, f"{FIRST}.e12"]
    assert [number_of(topic) for topic in (FIRST, SECOND_TOPIC, f"{FIRST}.e12")] == [1, 2, 12]
    assert domain_of(f"{FIRST}.e12") == FIRST
    for other in ("telemetry.history.x.e2", "telemetry.raw.e", "telemetry.raw.e02x", "metrics"):
        assert (domain_of(other), number_of(other)) == (other, 1)


def test_bounds_are_read_as_they_were_written_and_only_then():
    for bounds in (Bounds(since=5, partitions=3), Bounds(until=7), Bounds(5, 7, 1)):
        assert Bounds.from_json(bounds.to_json()) == bounds
    for wrong in (b"{}", b"[]", b'{"since": "5"}', b'{"since": 5, "partitions": 0}', b'{"to": 1}'):
        with pytest.raises(ValueError):
            Bounds.from_json(wrong)


def test_windows_of_an_epoch_wait_until_the_one_before_has_come_to_its_end():
    def reached(*sealed: tuple[str, int, bool]) -> int:
        return frontier(EPOCHS, [Sealed(*one) for one in sealed])

    assert reached((FIRST, 30, False)) == EARLIEST  # of two
    assert reached((FIRST, 30, False), (FIRST, 10, False), (SECOND_TOPIC, 40, False)) == 10
    assert reached((FIRST, 30, False), (FIRST, 25, False)) == 20  # what is later is the next one's
    assert reached((FIRST, 30, False), (FIRST, 20, False), (SECOND_TOPIC, 40, False)) == 40
    assert reached((FIRST, 30, True), (FIRST, 25, False), (SECOND_TOPIC, 40, False)) == 30


@pytest.mark.parametrize("seed", range(100))
def test_a_seal_that_others_wait_with_is_told_without_asking_for_the_frontier(seed: int):
    dice = random.Random(seed)
    epochs = dice.choice([{FIRST: Epoch(3)}, {FIRST: Epoch(3, until=20)}, EPOCHS])
    domain = Domain(dict(epochs))
    for topic in epochs:
        for number in range(3):
            for pane in (PANE, "20/0/100"):
                if dice.random() < 0.9:
                    seals = domain.seals.setdefault((f"{topic}/{number}", pane), Seals())
                    seals.add(dice.randrange(0, 40), 1, False)
                    seals.holds = dice.random() < 0.3
    for until in (EARLIEST, *range(42)):
        waits, passes = domain.waits(PANE, until), domain.frontier(PANE) > until
        assert not (waits and passes), until
        if len(epochs) == 1 and len(domain.seals) == 6 and until < 20:
            assert waits != passes  # else nothing is saved


def test_the_state_of_windows_is_dropped_though_a_topic_that_has_ended_says_no_more():
    windows = Windows(["sum"], [share_of(1000)])
    hour = 3600 * SECOND
    old, new = Epoch(1, until=20 * hour), Epoch(1, since=20 * hour)
    windows.take(PANE, f"{FIRST}/0", rows(end=19 * hour), False)
    windows.sealed(old, f"{FIRST}/0", PANE, 20 * hour, 1, False, 18 * hour)
    windows.take(PANE, f"{SECOND_TOPIC}/0", rows(end=21 * hour), False)
    windows.sealed(new, f"{SECOND_TOPIC}/0", PANE, 30 * hour, 1, False, 28 * hour)
    assert windows.forget(FIRST, PANE) == []  # the old topic may still revise
    windows.sealed(old, f"{FIRST}/0", PANE, 22 * hour, 2, True, 20 * hour + 1)
    gone = windows.forget(FIRST, PANE)
    assert sorted(end for _, _, end in gone) == [19 * hour, 21 * hour]


def rows(end: int) -> PartialRows:
    empty = PartialRows.join([])
    return PartialRows(
        np.zeros(1, np.uint16), np.full(1, 10), np.full(1, end), np.ones(1, np.uint64),
        np.ones(1, np.uint64), type(empty.labels).of([b'{"tenant":"t"}']),
        np.ones((1, empty.rows.shape[1]), np.int64), {},
    )  # fmt: skip


def test_the_manager_counts_by_the_same_rule_as_reducers():
    manager = Manager()

    def seal(topic: str, partition: int, until: int) -> None:
        source = f"{topic}/{partition}"
        manager.step(SourceSealed(FIRST, source, EPOCHS[topic], PANE, until, 1, False, until))

    seal(FIRST, 0, 30)
    seal(SECOND_TOPIC, 0, 40)
    seal(FIRST, 1, 10)
    ready = manager.spans[FIRST, PANE]
    assert ready.ready == 10
    assert manager.holding(FIRST, PANE) == [(f"{FIRST}/1", 10)]
    seal(FIRST, 1, 20)
    assert ready.ready == 40
    assert manager.holding(FIRST, PANE) == [(f"{SECOND_TOPIC}/0", 40)]


def processor(topic: str, plan: str = "sizes=10s corrections=20s") -> PreaggregateProcessor:
    told = scenario.loads(f"define m over_time=sum over_space=sum metric=m {plan}")
    deployed = Deployment(compile_plan([resolved(one) for one in told.definitions]))
    config = PreaggregateConfig(deployed=deployed, sources=1, shard_partitions=1, key=bytes(16))
    made = PreaggregateProcessor(config, topic, 0)
    made.restore([])
    return made


def told_by(made: PreaggregateProcessor, text: str, place: str) -> list[dict]:
    """The metas of what the task sends on for the records of a story."""
    told = scenario.loads(text)
    records = [
        InputRecord(r.offset, 0, None, r.value, tuple(r.headers.items()))
        for r in told.log[place.rsplit("/", 1)[0], int(place[-1])]
    ]
    done = 0
    while done < len(records):
        done += made.process(records[done:])
        while (wanted := made.needs()) is not None:
            made.supply(records[wanted.start : wanted.end], True)
    return [decode_table(o.value).meta for o in made.outputs() if o.topic == "telemetry.partials"]


def test_a_later_topic_is_silent_until_it_has_been_told_where_it_begins():
    made = processor(SECOND_TOPIC)
    assert made.idle(5_000) == []
    assert told_by(made, "raw/0 at 5 m@5=1\nraw/0 at 50 m@50=1", f"{FIRST}/0") == []
    begun = processor(SECOND_TOPIC)
    text = "topic raw 1\nepoch 2 partitions 4 since 20\nraw.e2/0 at 41 m@41=1"
    (said,) = told_by(begun, text, f"{SECOND_TOPIC}/0")
    assert (said["after"], said["sources"]) == (scenario.nanoseconds("20"), 4)
    assert said["epoch"] == [scenario.nanoseconds("20"), LATEST]
    assert len(begun.idle(5_000)) == 1


def test_a_topic_that_has_ended_seals_on_until_nothing_of_it_can_change_and_then_no_more():
    made = processor(FIRST)
    text = """
    raw/0 at 5 m@5=1
    epoch 2 partitions 1 since 20
    raw/0 idle 21
    raw/0 idle 35
    raw/0 idle 41
    raw/0 idle 55
    raw/0 idle 65
    """
    said = told_by(made, text, f"{FIRST}/0")
    ends = [meta["until"] - scenario.EPOCH for meta in said]
    assert ends == [each * SECOND for each in (0, 20, 30, 40)]
    assert said[-1]["revisable"] > scenario.nanoseconds("20")


@pytest.mark.parametrize("seed", range(4))
def test_what_becomes_of_points_is_told_once_whatever_topics_they_went_to(seed: int):
    """Points, rejected ones and repeats, added up over all tasks, as if there were one topic."""
    made = story(random.Random(f"ledger/{seed}"), corrections=["1d"], forever=True)
    changed, unchanged = counts(ended(made.text())), counts(ended(made.unchanged()))
    assert changed == unchanged
    assert changed["points"]


def counts(text: str) -> Counter[str]:
    told = scenario.loads(text)
    total: Counter[str] = Counter()
    for topic, partition in told.log:
        made = processor(topic)
        told_by(made, text, f"{topic}/{partition}")
        total.update(asdict(made.ledger.counts))
    return Counter({name: total[name] for name in ("points", "rejected", "negative", "repeats")})
