"""What is published is the same whether or not a task lets go of streams that are gone."""

from __future__ import annotations

import os
import random
import struct
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.task.processor import InputRecord, OutputRecord
from topologies.deployment import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor

STORIES = int(os.environ.get("TIDEMILL_FORGETTING", "6"))
STEPS = 150
SECOND = 10**9
NEVER = 1 << 40
ONE = """
apiVersion: tidemill/v1
kind: Metric
name: test.{name}
description: A test
owner: test
source: {{metric: {metric}, unit: {unit}}}
space: {{keep: [{keep}]}}
time: {{granularities: [{sizes}], grace: 2s, corrections: {late}}}
aggregate: {{{how}}}
"""
TWO_STEPS = "over_time: {}, over_space: {}"
SHAPED = "s, instrument: histogram"
FILES = [
    ("calls", '"1"', "room", "10s", "20s", TWO_STEPS.format("increase", "sum")),
    ("calls", '"1"', "floor", "10s, 30s", "60s", TWO_STEPS.format("increase", "sum")),
    ("heat", "Cel", "floor", "10s, 30s", "60s", TWO_STEPS.format("avg", "max")),
    ("heat", "K", "room", "30s", "60s", TWO_STEPS.format("last", "sum")),
    ("heat", "Cel", "floor", "10s, 30s", "60s", "over_points: p90"),
    ("wait", SHAPED, "floor", "10s, 30s", "60s", "over_points: {explicit_histogram: [1, 5]}"),
    ("wait", SHAPED, "room", "30s", "60s", "over_points: avg"),
]


def processor(forget_above: int, keep_from: int) -> PreaggregateProcessor:
    texts = [
        ONE.format(name=f"n{n}", metric=m, unit=u, keep=k, sizes=s, late=c, how=h)
        for n, (m, u, k, s, c, h) in enumerate(FILES)
    ]
    files = [SourceFile(f"{n}.yaml", text.encode()) for n, text in enumerate(texts)]
    config = PreaggregateConfig(
        deployed=Deployment(compile_plan(check_files(files).definitions)), sources=1,
        shard_partitions=1, key=bytes(16), stream_gap=15 * SECOND, keep_from=keep_from * SECOND,
        forget_above=forget_above,
    )  # fmt: skip
    return PreaggregateProcessor(config, "telemetry.raw", 0)


class Room:
    """Reports for a while, and perhaps again much later."""

    def __init__(self, number: int, now: int) -> None:
        self.number, self.born, self.count = number, now, 0


def request(rooms: list[Room], now: int, chance: random.Random) -> bytes:
    """A round of reports; now and then one is older than the round."""
    message = ExportMetricsServiceRequest()
    block = message.resource_metrics.add()
    floor = rooms[0].number // 20
    block.resource.attributes.add(key="floor").value.string_value = str(floor)
    scope = block.scope_metrics.add()
    calls = scope.metrics.add(name="calls", unit="1").sum
    calls.aggregation_temporality, calls.is_monotonic = 2, True
    heat = scope.metrics.add(name="heat", unit="Cel").gauge
    wait = scope.metrics.add(name="wait", unit="s").histogram
    wait.aggregation_temporality = 2
    for room in rooms:
        at = now - (chance.choice((1, 5, 15, 40, 70, 200)) if chance.random() < 0.08 else 0)
        room.count += chance.randrange(5)
        for points, value in ((calls, float(room.count)), (heat, chance.gauss(20, 4))):
            point = points.data_points.add(time_unix_nano=at * SECOND, as_double=value)
            point.attributes.add(key="room").value.string_value = f"r{room.number}"
            if points is calls:
                point.start_time_unix_nano = room.born * SECOND
        counts = (room.count, room.count // 2, room.count // 3)
        point = wait.data_points.add(
            time_unix_nano=at * SECOND, start_time_unix_nano=room.born * SECOND,
            count=sum(counts), sum=room.count / 4, explicit_bounds=(1, 5), bucket_counts=counts,
        )  # fmt: skip
        point.attributes.add(key="room").value.string_value = f"r{room.number}"
    return message.SerializeToString()


def story(chance: random.Random) -> list[InputRecord]:
    now, rooms, records = 1_000, [Room(n, 990) for n in range(12)], []
    for _ in range(STEPS):
        now += chance.choice((1, 3, 5, 5, 10, 40)) if chance.random() < 0.97 else 300
        if chance.random() < 0.3:
            rooms = [room for room in rooms if chance.random() < 0.7]
        while len(rooms) < 4 or chance.random() < 0.4:
            rooms.append(Room(chance.randrange(200), now - 1))
        chosen = [room for room in rooms if chance.random() < 0.8] or rooms[:1]
        headers = (("encoding", b"otlp"), ("tenant", b"t"), ("received", b"%d" % (now * SECOND)))
        digest = ("digest", struct.pack(">QQ", len(records), 0))
        value = request(chosen, now, chance)
        records.append(InputRecord(len(records), 0, None, value, (*headers, digest)))
    for later in (500, 700, 900):
        mark = b'{"time": %d}' % ((now + later) * SECOND)
        records.append(InputRecord(len(records), 0, None, mark, (("control", b"idle"),)))
    return records


class Task:
    """A processor with its log; `restart` brings it back from its blocks."""

    def __init__(self, log: list[InputRecord], *how: int) -> None:
        self.log = log
        self.how = how
        self.made = processor(*how)
        self.blocks: dict[bytes, bytes] = {}
        self.at = 0
        self.most = 0

    def run(self, until: int) -> list[OutputRecord]:
        while self.at < until:
            self.at += self.made.process(self.log[self.at : until])
            while (wanted := self.made.needs()) is not None:
                self.made.supply(self.log[wanted.start : wanted.end], True)
        self.most = max(self.most, self.made.stats()["streams"])
        return self.made.outputs()

    def snapshot(self) -> None:
        for key, value in self.made.snapshot(self.at).items():
            self.blocks.pop(key, None)
            if value is not None:
                self.blocks[key] = value

    def restart(self) -> None:
        self.snapshot()
        self.made = processor(*self.how)
        self.made.restore(sorted(self.blocks.items()))
        begins, end = self.made.replay_from(), self.at
        assert begins is not None
        self.at = begins
        self.run(end)


def told(outputs: list[OutputRecord]) -> list[tuple[str, bytes | None, bytes | None]]:
    found = [(each.topic, each.key, each.value) for each in outputs]
    return [each for each in found if each[0] != "telemetry.ledger"]


def account(task: Task) -> dict[str, Any]:
    """All but that of resets: who comes back after it was forgotten has no gap, it begins."""
    return {key: value for key, value in task.made.ledger.body().items() if key != "resets"}


@pytest.mark.parametrize("seed", range(STORIES))
def test_what_is_published_does_not_depend_on_what_is_forgotten(seed: int):
    chance = random.Random(seed)
    log = story(chance)
    keep_from = 10 if seed % 2 else 300  # rows of sealed windows stay, or are made anew
    keeps, forgets = Task(log, NEVER, keep_from), Task(log, 0, keep_from)
    at, end = 0, len(log) - 3
    while at < end:
        at = min(end, at + chance.randrange(1, 12))
        assert told(forgets.run(at)) == told(keeps.run(at))
        assert account(forgets) == account(keeps)
        act = chance.random()
        if act < 0.2:
            forgets.restart()
        elif act < 0.5:
            forgets.snapshot()
    every = keeps.made.stats()["streams"]
    assert forgets.most < every
    forgets.restart()
    for at in range(end, len(log)):
        assert told(forgets.run(at + 1)) == told(keeps.run(at + 1))
    assert forgets.made.stats()["streams"] < every / 10  # all are silent by now
    assert size(forgets) < size(keeps) / 2


def size(task: Task) -> int:
    task.snapshot()
    return sum(map(len, task.blocks.values()))
