"""The product's state with a million series, for `bench_restore.py`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from pipeline_stages import PARTITIONS, plan_of
from pipeline_traffic import Profile, Traffic

from streams.config import TaskSettings, Topology
from streams.task.processor import InputRecord, Processor
from topologies.deployment import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

RAW, PARTIALS = "telemetry.raw", "telemetry.partials"
SETTINGS = TaskSettings(snapshot_interval_ms=0, commit_interval_ms=1)
Blocks = dict[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Saved:
    """A task's state, as of `offset`, and the records that change a part of it."""

    blocks: Blocks
    offset: int
    more: list[InputRecord]


def topologies(profile: Profile) -> dict[str, Topology]:
    """The product's two, over the profile's definitions."""
    deployed = Deployment(plan_of(profile))
    config = PreaggregateConfig(
        deployed=deployed, sources=PARTITIONS, shard_partitions=PARTITIONS, key=bytes(16)
    )

    def before(topic: str, partition: int) -> Processor:
        return PreaggregateProcessor(config, topic, partition)

    def behind(topic: str, partition: int) -> Processor:
        return RollupProcessor(partition)

    return {
        RAW: Topology("preaggregate", before, (RAW,), settings=SETTINGS),
        PARTIALS: Topology("rollup", behind, (PARTIALS,), settings=SETTINGS),
    }


class Tasks:
    """All processors of one partition count, in this process, to make the state with."""

    def __init__(self, made: dict[str, Topology]) -> None:
        self.processors = {
            (topic, n): made[topic].factory(topic, n) for topic in made for n in range(PARTITIONS)
        }
        self.offsets: dict[tuple[str, int], int] = defaultdict(int)
        for processor in self.processors.values():
            processor.restore([])

    def feed(self, topic: str, partition: int, content: list[tuple[Any, Any, Any]]) -> None:
        """Records (key, value, headers) of one partition, and what follows from them."""
        records = self.numbered(topic, partition, content)
        self.offsets[topic, partition] += len(records)
        processor = self.processors[topic, partition]
        while records:
            records = records[processor.process(records) :]
        for out in processor.outputs():
            if out.topic == PARTIALS:
                self.feed(PARTIALS, out.partition or 0, [(out.key, out.value, out.headers)])

    def numbered(
        self, topic: str, partition: int, content: list[tuple[Any, Any, Any]]
    ) -> list[InputRecord]:
        """The same as records behind what was fed."""
        first = self.offsets[topic, partition]
        return [
            InputRecord(first + n, 0, key, value, tuple(headers))
            for n, (key, value, headers) in enumerate(content)
        ]


def make_state(profile: Profile) -> dict[tuple[str, int], Saved]:
    """Run the traffic; then come two fifths of another round."""
    tasks = Tasks(topologies(profile))
    traffic = Traffic(profile)
    waiting: dict[int, list[Any]] = defaultdict(list)
    for partition, key, value, headers in traffic.records(PARTITIONS):
        waiting[partition].append((key, value, headers))
        if len(waiting[partition]) == 256:
            tasks.feed(RAW, partition, waiting.pop(partition))
    for partition, content in waiting.items():
        tasks.feed(RAW, partition, content)
    saved = {
        at: (processor.snapshot(tasks.offsets[at]), tasks.offsets[at])
        for at, processor in tasks.processors.items()
    }
    more = more_of(profile, traffic)
    found: dict[tuple[str, int], Saved] = {}
    for partition in range(PARTITIONS):
        records = tasks.numbered(RAW, partition, more[partition])
        found[RAW, partition] = Saved(*saved[RAW, partition], records)
    for partition in range(PARTITIONS):
        found[PARTIALS, partition] = Saved(*saved[PARTIALS, partition], [])
    return found


def more_of(profile: Profile, traffic: Traffic) -> dict[int, list[Any]]:
    """Two fifths of the series in the next window, and a mark that seals it."""
    second = 10**9
    number = profile.rounds + 2 * profile.window // profile.interval
    content: dict[int, list[Any]] = defaultdict(list)
    for count, (key, value, received) in enumerate(traffic.round(number)):
        if count % 5 < 2:
            digest = number.to_bytes(4) + key[:12]
            headers = [("encoding", b"otlp"), ("tenant", b"acme"), ("digest", digest)]
            headers.append(("received", b"%d" % received))
            content[int.from_bytes(key[:8], "big") % PARTITIONS].append((key, value, headers))
    end = traffic.end() + (number * profile.interval + 2 * profile.window) * second
    for partition in range(PARTITIONS):
        mark = [("control", b"idle"), ("received", b"%d" % end)]
        content[partition].append((bytes(16), b'{"time": %d, "end": false}' % end, mark))
    return content
