"""Compacts one log at a time in a thread of its own, for a bounded share of a core.

The thread works for `SLICE_SECONDS` and then sleeps until that was its share of the time, so the
event loop waits for the interpreter no longer than that. What is to be cleaned is decided, and what
was made is taken over, on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from time import perf_counter, thread_time

from broker.log.compaction.cleaning import (
    Cleaned,
    Outcome,
    Pass,
    StoppedError,
    Swapped,
    UncleanableError,
    finish,
)
from broker.log.compaction.dirt import choose, may_be_cleaned, roll_if_due
from broker.log.partition import PartitionLog
from broker.runtime.metrics import Metrics

log = logging.getLogger("broker.cleaner")
SLICE_SECONDS = 0.001
SWITCH_SECONDS = 0.0005
"""How long one thread of the process may keep the interpreter from another that wants it."""


class Pace:
    """Called every few records by the thread; sleeps so that it works for `share` of the time."""

    def __init__(self, share: float) -> None:
        self._rest = (1 - share) / share
        self._stop = threading.Event()
        self._since = 0.0

    def begin(self) -> None:
        self._since = perf_counter()

    def stop(self) -> None:
        """From any thread: the next call raises StoppedError."""
        self._stop.set()

    def __call__(self) -> None:
        worked = perf_counter() - self._since
        if worked >= SLICE_SECONDS:
            self._stop.wait(worked * self._rest)
            if self._stop.is_set():
                raise StoppedError
            self._since = perf_counter()


class Cleaner:
    """`logs`: all there are. `sync_soon`: called with a log that it gave a new segment.
    `map_bytes`: memory of a pass's offset map. `share`: of one core's time, at most."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        logs: Callable[[], Iterable[PartitionLog]],
        sync_soon: Callable[[PartitionLog], None],
        share: float,
        map_bytes: int,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._logs = logs
        self._sync_soon = sync_soon
        self._map_bytes = map_bytes
        self._metrics = metrics
        self._now_ms = now_ms
        self._pace = Pace(share)
        self._running: PartitionLog | None = None
        self._work: queue.SimpleQueue[Pass | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="cleaner", daemon=True)
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()

    def check(self) -> None:
        """Begin with the log that needs it most, unless one is being cleaned."""
        if self._running is not None:
            return
        now_ms = self._now_ms()
        logs = [written for written in self._logs() if may_be_cleaned(written, now_ms)]
        for written in logs:
            self._roll(written, now_ms)
        dirt = choose(logs, now_ms)
        if dirt is None:
            return
        self._running = dirt.log
        dirt.log.compaction.running = True
        self._work.put(
            Pass(dirt.log, dirt, now_ms, self._map_bytes, self._swapped_in_thread, self._pace)
        )

    def stop(self) -> None:
        """Give up what is being done; nothing is lost by it."""
        self._pace.stop()
        self._work.put(None)
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            started, used = perf_counter(), thread_time()
            self._pace.begin()
            outcome = _outcome(work)
            took, used = perf_counter() - started, thread_time() - used
            self._loop.call_soon_threadsafe(self._done, work.log, outcome, took, used)

    def _swapped_in_thread(self, swapped: Swapped) -> None:
        self._loop.call_soon_threadsafe(self._swapped, swapped)

    def _swapped(self, swapped: Swapped) -> None:
        if self._running is not None:
            self._running.swap_in(*swapped)

    def _done(self, written: PartitionLog, outcome: Outcome, took: float, used: float) -> None:
        self._running = None
        finish(written, outcome, self._now_ms())
        metrics = self._metrics
        metrics.cleaner_seconds += used
        if isinstance(outcome, Cleaned):
            metrics.cleanings += 1
            metrics.cleaner_read_bytes += outcome.read_bytes
            metrics.cleaner_written_bytes += outcome.written_bytes
            metrics.cleaner_removed_records += outcome.removed_records
            log.info(
                "%s cleaned up to offset %d in %.1f s: %d records removed, %d bytes now",
                written.folder,
                outcome.checkpoint.first_dirty,
                took,
                outcome.removed_records,
                written.size,
            )
            self.check()
        elif not isinstance(outcome, StoppedError) and not written.closed:
            metrics.cleaner_failures += 1
            log.error("cleaning of %s: %s", written.folder, outcome)

    def _roll(self, written: PartitionLog, now_ms: int) -> None:
        try:
            if roll_if_due(written, now_ms):
                self._sync_soon(written)
        except OSError as problem:
            log.warning("%s: no new segment now: %s", written.folder, problem)


def _outcome(work: Pass) -> Outcome:
    try:
        return work.run()
    except (UncleanableError, OSError, StoppedError) as problem:
        return problem
    except Exception as problem:
        log.exception("cleaning of %s", work.log.folder)
        return UncleanableError(f"{work.log.folder}: {problem!r}")
