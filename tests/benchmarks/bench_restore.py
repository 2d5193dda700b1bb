"""How long a worker takes to get a million groups back, and how long a commit holds its event loop.

    .venv/bin/python tests/benchmarks/bench_restore.py [--series 1000000] [--keep FOLDER]

The product's state as its processors make it: every series is a group of its own, sealed minutes
of them, in four partitions of pre-aggregation and four of roll-up. And two aggregations of the DSL,
each a million groups in one task: totals of all time, and windows. One worker's runners restore it
from a real broker process: from the changelog into an empty folder, from that folder again, and
from copies that standbys kept (from when these are told to let go to the state, and to the first
committed output of a task: what a take-over takes beyond the session's time-out and the group's own
rounds). Then one commit in each task in turn, in which 100,000 groups changed. Seconds until the
last task has its state, and the longest that the event loop did not turn meanwhile (a tick each
millisecond); of a commit also the longest between two heartbeats of a group's member on that loop,
which are 50 ms apart. The kernels are loaded before, as they are where a worker has run, or kept
copies. And two worker processes, of which one is killed (`restore_takeover.py`).
`--keep` saves the product's state there, for another run.
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
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer
from pipeline_stages import PARTITIONS
from pipeline_traffic import SCRAPES
from restore_dsl import OUT, SHAPES, topology
from restore_dsl import make_state as make_dsl_state
from restore_state import PARTIALS, RAW, Saved, make_state, topologies
from restore_takeover import measure as measure_take_over
from restore_takeover import report

from streams.config import Topology, WorkerConfig
from streams.kernels.compile import warm
from streams.state.changelog import ChangelogKeys, ChangelogWriter
from streams.state.position import Manifest, Position
from streams.task import events as ev
from streams.task.phase import Phase
from streams.task.processor import OutputRecord
from streams.worker.kafka import OffsetLookup, TransactionalProducer, create_topic
from streams.worker.process import prepare
from streams.worker.standbys import Standbys
from streams.worker.task_runner import TaskOwner, TaskRunner
from streams.worker.threads import threads

HEARTBEAT_MS = 50
COMPACTED = {"cleanup.policy": "compact", "max.message.bytes": str(10 << 20)}
ROUNDS = 5
States = dict[tuple[str, int], Saved]


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


class Heart:
    """A member of a group on the same event loop: the longest between two answered heartbeats."""

    def __init__(self, config: WorkerConfig) -> None:
        self._member: Any = AIOKafkaConsumer(
            "telemetry.tasks",
            bootstrap_servers=config.bootstrap_servers,
            group_id="bench-heart",
            heartbeat_interval_ms=HEARTBEAT_MS,
        )
        self._last: float | None = None
        self.longest = 0.0

    async def start(self) -> None:
        await self._member.start()
        coordinator = self._member._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            answered = await beat()
            now = time.perf_counter()
            if self._last is not None:
                self.longest = max(self.longest, (now - self._last) * 1000)
            self._last = now
            return answered

        coordinator._do_heartbeat = noted

    async def stop(self) -> None:
        await self._member.stop()


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


async def write_changelogs(worker: Worker, saved: States) -> float:
    """What the tasks would have committed; the input is there as far as it was consumed.

    Returns the longest gap (ms).
    """
    longest = 0.0
    config = worker.config
    asked = (RAW, PARTIALS, "telemetry.rollups", "metrics", "telemetry.ledger", "rollups", OUT)
    for topic in {*asked, *(topic for topic, _ in saved)}:
        await create_topic(config, topic, PARTITIONS, {})
    for topic in ("telemetry.progress", "telemetry.dead-letter", "telemetry.tasks"):
        await create_topic(config, topic, 1, {})
    for made in worker.topologies.values():
        await create_topic(config, f"bench-{made.name}-changelog", PARTITIONS, COMPACTED)
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


async def restore(worker: Worker, saved: States) -> tuple[float, float]:
    """Seconds until every task has its state, and the longest gap (ms)."""
    async with Pulse().beating() as pulse:
        begin = time.perf_counter()
        for at in saved:
            worker.start(at)
        await worker.restored()
        return time.perf_counter() - begin, pulse.longest


async def take_over(worker: Worker, saved: States) -> tuple[float, float, float, float]:
    """When it began, seconds until copies were warm, and until the tasks run on them; the longest
    gap (ms)."""

    async def changelog_of(at: tuple[str, int]) -> tuple[str, int]:
        return worker.changelog(at)

    every = {
        topic: Standbys(
            worker.config, made, worker.lookup, worker.threads, changelog_of, lambda _: False
        )
        for topic, made in worker.topologies.items()
    }
    started = time.perf_counter()
    loops = [asyncio.create_task(standbys.run()) for standbys in every.values()]
    for topic, standbys in every.items():
        standbys.want(frozenset(at for at in saved if at[0] == topic))

    def all_warm() -> bool:
        copies = [copy for standbys in every.values() for copy in standbys.stats().values()]
        whole = [c for c in copies if c["offset"] and not c["lag"] and c["bytes"]]
        return len(whole) == len(saved)

    await worker.until(all_warm)
    warm_after = time.perf_counter() - started
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
    return begin, warm_after, seconds, gap


async def commit(worker: Worker, at: tuple[str, int], state: Saved) -> tuple[float, float, float]:
    """What changes 100,000 groups, committed and stored: seconds, gap (ms), megabytes."""
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


async def measure(folder: Path, made: dict[str, Topology], saved: States) -> None:
    size = sum(len(b or b"") for state in saved.values() for b in state.blocks.values())
    count = sum(len(state.blocks) for state in saved.values())
    print(f"{len(saved)} tasks: {size / 1e6:.0f} MB, {count:,} blocks")
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
        heart = Heart(other.config)
        await heart.start()
        begin, warm_after, seconds, gap = await take_over(other, saved)
        print(
            f"a standby's copy    {seconds:10.2f} {gap:10.1f}   (was warm after {warm_after:.1f} s)"
        )
        rows = ["commit of 100,000       seconds   gap (ms)   heartbeats (ms)   state (MB)"]
        for at, state in saved.items():
            if state.more:
                heart.longest = 0.0
                took, gap, size = await commit(other, at, state)
                if len(rows) == 1:
                    print(f"... its first output{time.perf_counter() - begin:10.2f}")
                name = f"{at[0]}/{at[1]}"
                rows.append(f"{name:20}{took:10.2f} {gap:10.1f} {heart.longest:17.1f} {size:12.1f}")
        print("\n".join(rows))
        await heart.stop()
        await other.stop()


def product_state(series: int, keep: Path | None) -> States:
    """Made, or as it was kept."""
    kept = None if keep is None else keep / f"state-{series}.pickle"
    if kept is not None and kept.exists():
        return pickle.loads(kept.read_bytes())
    saved = make_state(replace(SCRAPES, series=series, rounds=ROUNDS))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(saved))
    return saved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=SCRAPES.series)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", choices=("product", *SHAPES, "takeover"))
    chosen = parser.parse_args()
    prepare()  # as a worker
    warm()
    folder = Path(tempfile.mkdtemp(prefix="tidemill-restore-"))
    try:
        if chosen.only in (None, "product"):
            print(f"\nthe product, {chosen.series:,} series")
            profile = replace(SCRAPES, series=chosen.series, rounds=ROUNDS)
            saved = product_state(chosen.series, chosen.keep)
            (folder / "product").mkdir()
            uvloop.run(measure(folder / "product", topologies(profile), saved))
        for shape in SHAPES:
            if chosen.only in (None, shape):
                made = topology(shape)
                print(f"\n{shape} of the DSL, {chosen.series:,} groups")
                saved = make_dsl_state(made, chosen.series)
                (folder / shape).mkdir()
                uvloop.run(measure(folder / shape, {made.topics[0]: made}, saved))
        if chosen.only in (None, "takeover"):
            print(f"\na worker is killed, {chosen.series:,} groups a task")
            with broker(folder) as address:
                print(report(asyncio.run(measure_take_over(address, folder, chosen.series))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
