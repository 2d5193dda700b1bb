"""The product as one topology of the DSL: it computes what its parts do, and goes on with the state
of the release that put these together by hand.

`TIDEMILL_STORIES` sets the number of stories, a tenth of which are told here.
"""

import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import log as oracle_log
from oracle import scenario
from oracle.oracle import compute

from metric_registry.compile import compile_plan
from streams.config import TaskSettings, Topology
from streams.testing import MemoryLog, TaskDriver
from streams.topology.testing import TopologyTestDriver
from tests.simulation.comparison import compare, leave_out_histories
from tests.simulation.stories import settled, story
from tests.simulation.topology_world import SHARD_PARTITIONS, Rows, resolved
from tidemill.product import preaggregation, product
from tidemill.settings import Settings, topics
from topologies.deployment import Deployment
from topologies.manager.processor import ManagerProcessor
from topologies.preaggregate.processor import PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

STORIES = max(6, int(os.environ.get("TIDEMILL_STORIES", "0")) // 10)
SETTINGS = Settings(
    raw_partitions=2,
    shard_partitions=SHARD_PARTITIONS,
    key="00" * 16,
    idle_after_ms=1 << 40,
    snapshot_interval_ms=500,
)


def put_together_by_hand(settings, deployed):
    """What a worker of the release before the DSL ran."""
    config = preaggregation(settings, deployed)
    tasks = TaskSettings(
        snapshot_interval_ms=settings.snapshot_interval_ms, idle_after_ms=settings.idle_after_ms
    )
    later, history = r"telemetry\.raw\.e[1-9][0-9]*", r"telemetry\.history\..+"
    return [
        Topology(
            "preaggregate",
            lambda topic, partition: PreaggregateProcessor(config, topic, partition),
            pattern=rf"telemetry\.raw|{later}|{history}",
            settings=tasks,
            partitions=settings.raw_partitions,
            any_number=later,
        ),
        Topology(
            "rollup",
            lambda _, partition: RollupProcessor(partition),
            topics=("telemetry.partials",),
            settings=tasks,
            partitions=settings.shard_partitions,
        ),
        Topology("manager", lambda *_: ManagerProcessor(), ("telemetry.progress",), settings=tasks),
    ]


def told(seed):
    """A story that comes to rest, with two partitions in every topic."""
    rng = random.Random(f"product/{seed}")
    while not settled(text := story(rng)):
        pass
    text = text.replace("topic history.y 1", "topic history.y 2") + "\nhistory.y/1 end\n"
    found = scenario.loads(text)
    return found, Deployment(compile_plan([resolved(d) for d in found.definitions]))


def check(log, tasks, story):
    """What came out is what the oracle says; that revisions rise by one is checked on the way."""
    found = Rows()
    for partition in range(SHARD_PARTITIONS):
        for record in log.read("telemetry.rollups", partition):
            found.take(record.value)
    wanted = compute(oracle_log.read(story.log), story.definitions)
    if any(task.host.processor.stats().get("rows_refused") for task in tasks):
        leave_out_histories(wanted, found)  # live event time had dropped their windows
    compare(wanted, found, story.definitions, everything=True)


def records(story):
    """(topic, partition) -> its records, as `append` takes them."""
    return {
        at: [(record.value, tuple(record.headers.items())) for record in found]
        for at, found in story.log.items()
    }


@pytest.mark.parametrize("seed", range(STORIES))
def test_the_whole_product_in_one_test_driver_publishes_what_its_parts_do(seed):
    story, deployed = told(seed)
    plan = product(SETTINGS, deployed)
    given = {topic: 2 for topic, _ in story.log}
    chance = random.Random(seed)
    driver = TopologyTestDriver(plan, given, seed=seed)
    left = records(story)
    while any(left.values()):
        for (topic, partition), waiting in left.items():
            for _ in range(chance.randrange(1, 30)):
                if waiting:
                    value, headers = waiting.pop(0)
                    driver.pipe_record(topic, value, partition=partition, headers=headers)
        if chance.random() < 0.3:
            driver.run()
        if chance.random() < 0.2:
            driver.restart(lose_disk=chance.random() < 0.5)
    driver.run()
    check(driver.log, driver.tasks, story)


@pytest.mark.parametrize("seed", range(STORIES))
def test_state_of_the_release_before_goes_on_without_gap_or_recount(seed):
    """Tasks are taken over one at a time, in order or by a crash, with their disk or without."""
    story, deployed = told(seed)
    chance = random.Random(seed)
    log = MemoryLog({topic.name: topic.partitions or 1 for topic in topics(SETTINGS)})
    for topic, _ in story.log:
        log.create(topic, 2)
    left = records(story)

    def feed(most):
        for (topic, partition), waiting in left.items():
            for _ in range(min(len(waiting), chance.randrange(1, most))):
                value, headers = waiting.pop(0)
                log.append(topic, partition, value, headers=headers)

    def tasks(topologies):
        return {
            (topology.name, topic, partition): topology
            for topology in topologies
            for topic in log.topics()
            if topology.reads(topic)
            for partition in range(log.partitions(topic))
        }

    def run():
        for _ in range(4):
            for at in chance.sample(list(running), len(running)):
                running[at].settle()
                assert not running[at].task.ended, running[at].task.stats()

    def started(topology, at, disk=None):
        return TaskDriver(
            log, topology, *at[1:], app="tidemill", disk=disk, seed=chance.getrandbits(32)
        )

    feed(30)
    old, new = put_together_by_hand(SETTINGS, deployed), product(SETTINGS, deployed).topologies()
    assert [(t.name, t.topics, t.pattern, t.any_number, t.settings) for t in old] == [
        (t.name, t.topics, t.pattern, t.any_number, t.settings) for t in new
    ]
    running = {at: started(topology, at) for at, topology in tasks(old).items()}
    run()
    assert {task.task.committed is not None for task in running.values()} == {True}
    for at in chance.sample(list(running), len(running)):
        feed(10)
        before = running[at]
        if chance.random() < 0.5:
            before.close()
        else:
            before.crash(lose_disk=chance.random() < 0.3)
        running[at] = started(tasks(new)[at], at, before.disk)
        assert running[at].transactional_id == before.transactional_id
        assert running[at].changelog == before.changelog
        if chance.random() < 0.3:
            run()
        assert running[at].task.restarts == 0
    while any(left.values()):
        feed(30)
    run()
    check(log, running.values(), story)


def test_a_topic_that_the_product_declares_is_one_that_a_deployment_makes():
    deployed = Deployment(compile_plan([]))
    made = {topic.name: topic for topic in topics(SETTINGS)}
    for topic in product(SETTINGS, deployed).topics():
        assert made[topic.name] == topic
