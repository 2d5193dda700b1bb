"""The progress topic is compacted: whoever reads what is left of it knows what it said.

Sources and reducers say it by the real processors over random logs; the log is cleaned as Kafka
does it, up to anywhere, and the manager reads it afresh, or goes on from a snapshot.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from streams.task.processor import InputRecord
from tests.simulation.test_topology_against_oracle import scenario, story
from tests.simulation.topology_world import SHARD_PARTITIONS, Pipeline, drive
from topologies.manager.processor import ManagerProcessor
from topologies.preaggregate.processor import PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

PROGRESS = "telemetry.progress"


def said(seed: int) -> list[InputRecord]:
    """The progress topic of a random log."""
    rng = random.Random(seed)
    told = scenario.loads(story(rng))
    pipeline = Pipeline(told.definitions, told.log, rng)
    partials: list[list[bytes]] = [[] for _ in range(SHARD_PARTITIONS)]
    found = []
    for (topic, number), log in told.log.items():
        records = [InputRecord(r.offset, 0, None, r.value, tuple(r.headers.items())) for r in log]

        def make(topic: str = topic, number: int = number) -> PreaggregateProcessor:
            return PreaggregateProcessor(pipeline._config(topic), topic, number)

        outputs, _ = drive(make, records, rng)
        found += [each for each in outputs if each.topic == PROGRESS]
        for each in outputs:
            if each.topic == "telemetry.partials":
                partials[each.partition].append(each.value)
    for number, values in enumerate(partials):
        records = [InputRecord(at, 0, None, value) for at, value in enumerate(values)]
        outputs, _ = drive(lambda number=number: RollupProcessor(number), records, rng)
        found += [each for each in outputs if each.topic == PROGRESS]
    return [InputRecord(at, 0, each.key, each.value) for at, each in enumerate(found)]


def cleaned(log: list[InputRecord], until: int) -> list[InputRecord]:
    """Of the records before `until` the newest of each key, and all from there on."""
    newest = {record.key: record.offset for record in log[:until]}
    return [r for r in log if r.offset >= until or newest[r.key] == r.offset]


def read(log: list[InputRecord], blocks: dict[bytes, bytes] | None = None) -> ManagerProcessor:
    """A manager that has read the log from where its snapshot says."""
    manager = ManagerProcessor()
    manager.restore((blocks or {}).items())
    first = manager.replay_from() or 0
    manager.process([record for record in log if record.offset >= first])
    return manager


@pytest.mark.parametrize("seed", range(8))
def test_a_manager_that_begins_afresh_knows_what_one_knows_that_heard_it_all(seed: int) -> None:
    log, rng = said(seed), random.Random(seed)
    whole = read(log).stats()
    assert whole["violations"] == 0
    assert whole["units"]
    for _ in range(4):
        left = cleaned(log, rng.randrange(len(log) + 1))
        assert read(left).stats() == whole
    assert len(cleaned(log, len(log))) < len(log)
    aged = log[rng.randrange(len(log)) :]  # what is past its retention is gone
    assert read(aged).stats()["violations"] == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_restart_goes_on_in_what_is_left(seed: int) -> None:
    log, rng = said(seed), random.Random(seed)
    whole = read(log).stats()
    for _ in range(4):
        at = rng.randrange(len(log) + 1)
        blocks = {k: v for k, v in read(log[:at]).snapshot(at).items() if v is not None}
        assert json.loads(blocks[b"meta"])["position"] == at
        assert read(cleaned(log, rng.randrange(len(log) + 1)), blocks).stats() == whole


def test_a_reducer_that_skips_windows_is_found_in_what_is_left() -> None:
    log = said(1)
    closings = [r for r in log if json.loads(r.value or b"")["kind"] == "closed"]
    key = json.loads(closings[-1].value or b"")["reducer"]
    mine = [r for r in closings if json.loads(r.value or b"")["reducer"] == key]
    assert len(mine) > 2
    without = [replace(r, offset=at) for at, r in enumerate(r for r in log if r is not mine[1])]
    assert read(cleaned(without, len(without))).stats()["violations"] == 1
