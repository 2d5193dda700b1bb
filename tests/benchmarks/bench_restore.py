"""How long a worker takes to get a million groups back, and how long a commit holds its event loop.

    .venv/bin/python tests/benchmarks/bench_restore.py [--series 1000000] [--keep FOLDER]

State as the real processors make it: every series is a group of its own, sealed minutes of them,
in four partitions of pre-aggregation and four of roll-up, which one worker's runners restore from a
real broker process: from the changelog into an empty folder, from that folder again, and from
copies that standbys kept. Then one commit in each task in turn, after a tenth of the series changed
in a new window. Seconds until the last task has its state, and the longest that the event loop did
not turn meanwhile (a tick each millisecond). `--keep` saves the state there, for another run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop
from pipeline_stages import PARTITIONS, plan_of
from pipeline_traffic import SCRAPES, Profile, Traffic

from streams.config import TaskSettings, Topology, WorkerConfig
from streams.kernels.compile import warm
from streams.state.changelog import ChangelogKeys, ChangelogWriter
from streams.state.position import Manifest, Position
from streams.task import events as ev
from streams.task.phase import Phase
from streams.task.processor import InputRecord, OutputRecord, Processor
from streams.worker.kafka import OffsetLookup, TransactionalProducer, create_topic
from streams.worker.standbys import Standbys
from streams.worker.task_runner import TaskOwner, TaskRunner
from streams.worker.threads import threads
from topologies.preaggregate.intake import Deployment
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

RAW, PARTIALS = "telemetry.raw", "telemetry.partials"
SETTINGS = TaskSettings(snapshot_interval_ms=0, commit_interval_ms=1)
COMPACTED = {"cleanup.policy": "compact", "max.message.bytes": str(10 << 20)}
ROUNDS = 5
Blocks = dict[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Saved:
    """A task's state, as of `offset`, and the records that change a tenth of it."""

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
    """Run the traffic, then a tenth of another round, of which the outputs are what comes next."""
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
    """A tenth of the series in the next window, and a mark that seals it."""
    second = 10**9
    number = profile.rounds + 2 * profile.window // profile.interval
    content: dict[int, list[Any]] = defaultdict(list)
    for count, (key, value, received) in enumerate(traffic.round(number)):
        if count % 10 == 0:
            digest = number.to_bytes(4) + key[:12]
            headers = [("encoding", b"otlp"), ("tenant", b"acme"), ("digest", digest)]
            headers.append(("received", b"%d" % received))
            content[int.from_bytes(key[:8], "big") % PARTITIONS].append((key, value, headers))
    end = traffic.end() + (number * profile.interval + 2 * profile.window) * second
    for partition in range(PARTITIONS):
        mark = [("control", b"idle"), ("received", b"%d" % end)]
        content[partition].append((bytes(16), b'{"time": %d, "end": false}' % end, mark))
    return content


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[str]:
    """HOST:PORT of a broker process."""
    words = ("--data", str(folder / "broker"), "--port", "0", "--metrics-port", "-1")
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "broker", *words], stdout=log, stderr=log)
    try:
        while (
            found := re.search(r"ready on [^:]+:(\d+)", (folder / "broker.log").read_text())
        ) is None:
            if process.poll() is not None:
                raise SystemExit((folder / "broker.log").read_text())
            time.sleep(0.1)
        yield f"127.0.0.1:{found[1]}"
    finally:
        process.kill()
        process.wait(10)


class Pulse:
    """The longest that the event loop did not turn, in ms."""

    def __init__(self) -> None:
        self.longest = 0.0

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[Pulse]:
        self.longest = 0.0
        task = asyncio.create_task(self._beat())
        await asyncio.sleep(0.01)
        yield self
        task.cancel()

    async def _beat(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.longest = max(self.longest, (now - last) * 1000)
            last = now


class Worker:
    """One worker's runners, without its group."""

    def __init__(self, config: WorkerConfig, made: dict[str, Topology]) -> None:
        self.config = config
        self.topologies = made
        self.lookup = OffsetLookup(config)
        self.closing = contextlib.ExitStack()
        self.threads = self.closing.enter_context(threads(config.compute_threads))
        self.progressed = asyncio.Event()
        self.failure: Exception | None = None
        self.runners: dict[tuple[str, int], TaskRunner] = {}

    def changelog(self, at: tuple[str, int]) -> tuple[str, int]:
        return f"bench-{self.topologies[at[0]].name}-changelog", at[1]

    def start(self, at: tuple[str, int]) -> TaskRunner:
        owner = TaskOwner(lambda *_: None, self.progressed.set, self._failed, self._failed)
        made = TaskRunner(
            self.config, self.topologies[at[0]], at, self.changelog(at), self.lookup,
            self.threads, owner,
        )  # fmt: skip
        self.runners[at] = made
        made.feed(ev.Assigned())
        return made

    def _failed(self, error: Exception) -> None:
        self.failure = error
        self.progressed.set()

    async def until(self, done: Any) -> None:
        """Look every few ms; raises what made a task fail."""
        while not done():
            self.progressed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.progressed.wait(), 0.02)
            if self.failure is not None:
                raise self.failure

    async def restored(self) -> None:
        ready = (Phase.REPLAYING, Phase.RUNNING)
        await self.until(lambda: all(r.task.phase in ready for r in self.runners.values()))

    async def stop(self) -> None:
        for runner in self.runners.values():
            runner.feed(ev.Close())
            await runner.ended.wait()
        self.runners.clear()
        await self.lookup.stop()
        self.closing.close()


async def write_changelogs(worker: Worker, saved: dict[tuple[str, int], Saved]) -> float:
    """What the tasks would have committed; the input is there as far as it was consumed.

    Returns the longest gap (ms).
    """
    longest = 0.0
    config = worker.config
    for topic in (RAW, PARTIALS, "telemetry.rollups", "metrics", "telemetry.ledger", "rollups"):
        await create_topic(config, topic, PARTITIONS, {})
    for topic in ("telemetry.progress", "telemetry.dead-letter", "telemetry.tasks"):
        await create_topic(config, topic, 1, {})
    for topology in worker.topologies.values():
        await create_topic(config, f"bench-{topology.name}-changelog", PARTITIONS, COMPACTED)
    for at, state in saved.items():
        manifest = Manifest()
        for key, value in state.blocks.items():
            manifest.put(key, value)
        position = Position(
            state.offset, state.offset, 0, "bench", manifest.blocks, manifest.digest
        )
        records = ChangelogWriter(ChangelogKeys(*at)).encode(state.blocks, position)
        producer = TransactionalProducer(config, f"fill-{at[0]}-{at[1]}", worker.threads.codec)
        await producer.start()
        fill = [OutputRecord(*at, None, b"") for _ in range(state.offset + len(state.more))]
        await producer.commit(fill, records[-1:], worker.changelog(at))
        async with Pulse().beating() as pulse:
            await producer.commit((), records, worker.changelog(at))
        longest = max(longest, pulse.longest)
        await producer.stop()
    return longest


async def restore(worker: Worker, saved: dict[tuple[str, int], Saved]) -> tuple[float, float]:
    """Seconds until every task has its state, and the longest gap (ms)."""
    async with Pulse().beating() as pulse:
        begin = time.perf_counter()
        for at in saved:
            worker.start(at)
        await worker.restored()
        return time.perf_counter() - begin, pulse.longest


async def take_over(
    worker: Worker, saved: dict[tuple[str, int], Saved]
) -> tuple[float, float, float]:
    """Seconds until copies are warm, until the tasks run on them, and the longest gap (ms)."""

    async def changelog_of(at: tuple[str, int]) -> tuple[str, int]:
        return worker.changelog(at)

    every = {
        topic: Standbys(
            worker.config, made, worker.lookup, worker.threads, changelog_of, lambda _: False
        )
        for topic, made in worker.topologies.items()
    }
    begin = time.perf_counter()
    loops = [asyncio.create_task(standbys.run()) for standbys in every.values()]
    for topic, standbys in every.items():
        standbys.want(frozenset(at for at in saved if at[0] == topic))

    def all_warm() -> bool:
        copies = [copy for standbys in every.values() for copy in standbys.stats().values()]
        whole = [c for c in copies if c["offset"] and not c["lag"] and c["bytes"]]
        return len(whole) == len(saved)

    await worker.until(all_warm)
    warm = time.perf_counter() - begin
    async with Pulse().beating() as pulse:
        begin = time.perf_counter()
        for at in saved:
            await every[at[0]].release(at)
            worker.start(at)
        await worker.restored()
        seconds, gap = time.perf_counter() - begin, pulse.longest
    for standbys in every.values():
        await standbys.stop()
    await asyncio.gather(*loops)
    return warm, seconds, gap


async def commit(worker: Worker, at: tuple[str, int], state: Saved) -> tuple[float, float, float]:
    """One window of a tenth of the series, sealed and committed: seconds, gap (ms), megabytes."""
    runner = worker.runners[at]
    end, before = state.offset + len(state.more), runner.held.offset
    async with Pulse().beating() as pulse:
        begin = time.perf_counter()
        runner.feed(ev.Fetched(runner.fetch, state.offset, state.more, end, end))

        def committed() -> bool:
            runner.feed(ev.Tick())
            found = runner.task.committed
            return found is not None and found.offset == end and runner.held.offset > before

        await worker.until(committed)
        return time.perf_counter() - begin, pulse.longest, runner.held.bytes / 1e6


async def measure(folder: Path, profile: Profile, saved: dict[tuple[str, int], Saved]) -> None:
    made = topologies(profile)
    size = sum(len(b or b"") for state in saved.values() for b in state.blocks.values())
    count = sum(len(state.blocks) for state in saved.values())
    print(f"{profile.series:,} series in {len(saved)} tasks: {size / 1e6:.0f} MB, {count:,} blocks")
    with broker(folder) as address:

        def worker(name: str) -> Worker:
            return Worker(WorkerConfig("bench", address, folder / name), made)

        first = worker("one")
        gap = await write_changelogs(first, saved)
        print(f"commit of whole states: longest gap {gap:.1f} ms")
        print("restore from            seconds   longest gap (ms)")
        print("changelog           {:10.2f} {:10.1f}".format(*await restore(first, saved)))
        await first.stop()
        again = worker("one")
        print("RocksDB             {:10.2f} {:10.1f}".format(*await restore(again, saved)))
        await again.stop()
        other = worker("two")
        warm, seconds, gap = await take_over(other, saved)
        print(f"a standby's copy    {seconds:10.2f} {gap:10.1f}   (was warm after {warm:.1f} s)")
        print("commit of a tenth       seconds   longest gap (ms)   state (MB)")
        for at, state in saved.items():
            if state.more:
                found = await commit(other, at, state)
                print("{:20}{:10.2f} {:10.1f} {:16.1f}".format(f"{at[0]}/{at[1]}", *found))
        await other.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=SCRAPES.series)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    profile = replace(SCRAPES, series=chosen.series, rounds=ROUNDS)
    kept = None if chosen.keep is None else chosen.keep / f"state-{chosen.series}.pickle"
    if kept is not None and kept.exists():
        saved = pickle.loads(kept.read_bytes())
    else:
        saved = make_state(profile)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(pickle.dumps(saved))
    warm()  # a worker has its kernels before it has tasks
    folder = Path(tempfile.mkdtemp(prefix="tidemill-restore-"))
    try:
        uvloop.run(measure(folder, profile, saved))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
