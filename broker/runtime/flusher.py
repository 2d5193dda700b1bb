"""Group commit: requests that wait for the disk share one round of syncs.

A round takes every log with unsynced bytes, syncs its files in a thread of its own, and then
answers everybody who waited for it; whoever appends meanwhile waits for the next round.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from broker.config import FsyncPolicy
from broker.log.partition import PartitionLog
from broker.log.sync import SyncJob, SyncResult
from broker.runtime.metrics import Metrics

log = logging.getLogger("broker.flusher")
Work = tuple[PartitionLog, SyncJob]
Then = Callable[[], None]
SYNC_THREADS = 4
"""Files synced side by side: they share the file system's journal commits (16 partitions a request:
1.1 to 17 times the requests of one after another, the more the busier the disk)."""


class Flusher:
    """Runs the rounds. `on_visible(logs)` is called whenever readers of logs may see more."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        policy: FsyncPolicy,
        interval_ms: int,
        metrics: Metrics,
        on_visible: Callable[[list[PartitionLog]], None],
    ) -> None:
        self._loop = loop
        self._policy = policy
        self._interval = interval_ms / 1000
        self._metrics = metrics
        self._on_visible = on_visible
        self._dirty: dict[PartitionLog, None] = {}
        self._next: list[Then] = []
        self._current: list[Then] = []
        self._running = False
        self._scheduled = False
        self._announced: dict[PartitionLog, None] = {}
        self._idle: list[asyncio.Future[None]] = []
        self._work: queue.SimpleQueue[list[Work] | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        self._thread = threading.Thread(target=self._serve, name="flusher", daemon=True)
        self._thread.start()

    def when_durable(self, logs: list[PartitionLog], then: Then) -> None:
        """See `broker.handlers.port.Broker.when_durable`."""
        if self._policy != "group":
            for written in logs:
                if written.dirty:
                    self._dirty[written] = None
                self._announce(written)
            if self._policy == "interval" and self._dirty and not self._scheduled:
                self._scheduled = True
                self._loop.call_later(self._interval, self._begin)
            then()
            return
        waits_for_next = waits_for_current = False
        for written in logs:
            if written.dirty:
                self._dirty[written] = None
                waits_for_next = True
            elif written.syncing:
                waits_for_current = True
        if waits_for_next:
            self._next.append(then)
            self._schedule()
        elif waits_for_current:
            self._current.append(then)
        else:
            then()

    def flush_soon(self, written: PartitionLog) -> None:
        """Sync a log some time soon; nobody waits."""
        self._dirty[written] = None
        self._schedule()

    async def drain(self) -> None:
        """Wait until everything appended so far was synced."""
        while self._running or self._dirty:
            self._schedule()
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(waiter)
            await waiter

    def stop(self) -> None:
        self._work.put(None)
        self._thread.join(timeout=5)
        self._pool.shutdown()

    def _announce(self, written: PartitionLog) -> None:
        if not self._announced:
            self._loop.call_soon(self._announce_all)
        self._announced[written] = None

    def _announce_all(self) -> None:
        logs = list(self._announced)
        self._announced.clear()
        self._on_visible(logs)

    def _schedule(self) -> None:
        if not self._scheduled and not self._running:
            self._scheduled = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        if self._running:
            return
        work = [(written, written.begin_sync()) for written in self._dirty if not written.closed]
        self._dirty.clear()
        self._current, self._next = self._next, []
        self._running = True
        self._work.put(work)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            started = perf_counter()
            results = self._run([job for _, job in work])
            elapsed = perf_counter() - started
            self._loop.call_soon_threadsafe(self._done, work, results, elapsed)

    def _run(self, jobs: list[SyncJob]) -> list[SyncResult]:
        if len(jobs) == 1:
            return [jobs[0].run()]
        return list(self._pool.map(SyncJob.run, jobs))

    def _done(self, work: list[Work], results: list[SyncResult], elapsed: float) -> None:
        self._running = False
        self._metrics.syncs += sum(len(job.files) for _, job in work)
        self._metrics.sync_seconds += elapsed
        for (written, job), result in zip(work, results, strict=True):
            written.finish_sync(job, result)
            if result.problem is not None:
                self._metrics.sync_failures += 1
                log.error("%s; it takes no more writes until the broker restarts", written.failed)
        waiting, self._current = self._current, []
        for then in waiting:
            then()
        self._on_visible([written for written, _ in work])
        if self._policy == "group" and (self._dirty or self._next):
            self._schedule()
        if not self._dirty:
            idle, self._idle = self._idle, []
            for waiter in idle:
                if not waiter.done():
                    waiter.set_result(None)
        elif self._idle:
            self._schedule()
