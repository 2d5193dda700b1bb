"""The running broker: logs, topics, coordinators, and what handlers may ask for."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

from broker.config import BrokerConfig
from broker.controller.topics import INTERNAL_TOPICS, Topic, TopicCatalog
from broker.coordination import Coordinator, Services
from broker.handlers.port import Api, Fields, Timer
from broker.log.compaction.dirt import measure
from broker.log.partition import PartitionLog
from broker.log.recovery import open_log
from broker.log.settings import UNLIMITED, LogSettings
from broker.protocol.errors import ErrorCode, MalformedRequestError
from broker.records.batch import Refusal
from broker.runtime.buffers import BufferPool
from broker.runtime.cleaner import Cleaner
from broker.runtime.clock import Clock
from broker.runtime.connection import Connection, Slot
from broker.runtime.coordinators import Admissions, Runner
from broker.runtime.data_folder import DataFolder, log_folder
from broker.runtime.flusher import Flusher
from broker.runtime.metrics import Metrics

log = logging.getLogger("broker.node")
CLOCK_ALARM_MS = 5000
CHECKPOINT_SECONDS = 1.0
"""Time for checkpoints at a stop; logs without one are scanned a little at the next start."""


class Node:
    """One broker process (`broker.handlers.port.Broker`). All of it runs on one thread."""

    def __init__(
        self,
        config: BrokerConfig,
        folder: DataFolder,
        apis: list[Api],
        factories: dict[str, Callable[[Services], Coordinator]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.config = config
        self.folder = folder
        self.apis = apis
        self.api_by_key = {api.key: api for api in apis}
        self.catalog = TopicCatalog(config.log)
        self.admissions = Admissions()
        self.cluster_id = folder.cluster_id
        self.node_id = config.node_id
        self.port = config.advertised_port or config.port
        self.metrics = Metrics()
        self.buffers = BufferPool()
        self.connections: set[Connection] = set()
        self.ready = False
        self._loop = loop
        self._logs: dict[str, list[PartitionLog]] = {}
        self._factories = factories
        self._runners: dict[str, Runner] = {}
        self._requests: dict[int, Slot] = {}
        self._request_ids = itertools.count(1)
        self._waiting: dict[PartitionLog, dict[int, Callable[[], bool]]] = {}
        self._wish_ids = itertools.count()
        self._clock = Clock()
        self._flusher = Flusher(
            loop, config.fsync, config.fsync_interval_ms, self.metrics, self._wake_readers
        )
        self._cleaner = Cleaner(
            loop,
            self._all_logs,
            self._flusher.flush_soon,
            config.cleaner_share,
            config.cleaner_map_bytes,
            self.metrics,
            self.now_ms,
        )

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Open every log and restore the coordinators. DataFolderError, OSError."""
        self.folder.read_topics(self.catalog)
        self.folder.remove_strays(self.catalog.topics.values())
        cores = {name: make(self) for name, make in self._factories.items()}
        missing = [core.topic for core in cores.values() if core.topic not in self.catalog.topics]
        for name in missing:
            self.catalog.create(name, uuid4(), 1, {"retention.ms": "-1"})
        if missing:
            self.folder.write_topics(self.catalog)
        for topic in self.catalog.topics.values():
            self._open_logs(topic)
        for name, core in cores.items():
            self._runners[name] = Runner(name, core, self, self._logs[core.topic][0])
        for runner in self._runners.values():
            runner.restore()

    async def stop(self) -> None:
        """Answer what is ready, sync, close. Nothing that was acknowledged depends on it."""
        for runner in self._runners.values():
            runner.close()
        self._cleaner.stop()
        await asyncio.sleep(0)  # what it did last is taken over
        await self._flusher.drain()
        for connection in list(self.connections):
            connection.close()
        self._flusher.stop()
        deadline = time.monotonic() + CHECKPOINT_SECONDS
        for logs in self._logs.values():
            for written in logs:
                in_time = time.monotonic() < deadline
                if in_time and written.failed is None and written.checkpoint_is_old():
                    job = written.begin_sync(checkpoint=True)
                    written.finish_sync(job, job.run())
                written.close()
        self.folder.close()

    def retain_all(self) -> None:
        """Apply retention to every log; without fsync, sync them in the background."""
        off = self._clock.follow()
        if abs(off) > CLOCK_ALARM_MS:
            log.warning("the wall clock jumped: %d ms ahead of the broker's, which follows", off)
        for logs in self._logs.values():
            for written in logs:
                self.retain(written)
                if written.dirty:
                    self._flusher.flush_soon(written)

    def clean(self) -> None:
        """Compact the log that needs it most, if none is being compacted."""
        self._cleaner.check()

    def _all_logs(self) -> Iterator[PartitionLog]:
        return (written for logs in self._logs.values() for written in logs)

    def retain(self, written: PartitionLog) -> None:
        try:
            gone = written.retain(self.now_ms())
        except OSError as problem:
            log.error("retention of %s: %s", written.folder, problem)
            return
        if gone:
            log.info("%s: %d old segments deleted", written.folder, gone)

    # --- connections and requests ---------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        self.connections.add(connection)
        self.metrics.connections += 1
        self.metrics.connections_opened += 1

    def disconnected(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.metrics.connections -= 1

    def next_request_id(self) -> int:
        return next(self._request_ids)

    def run(self, api: Api, slot: Slot) -> None:
        """Run a request's handler; whatever it raises becomes an answer."""
        if not api.raw:
            self._requests[slot.id] = slot
        try:
            fields = api.handle(self, slot)
            if fields is not None:
                slot.answer(fields)
        except MalformedRequestError:
            raise
        except Exception:
            log.exception("%s version %d from %s", api.name, slot.version, slot.client_host)
            self.metrics.requests[api.key].errors += 1
            self._answer_failure(api, slot)
        if slot.reply is not None and not api.raw:
            self._requests.pop(slot.id, None)

    def _answer_failure(self, api: Api, slot: Slot) -> None:
        if api.raw:
            slot.answer_raw([api.raw_failure(slot.body, slot.version)])
        else:
            slot.answer(api.failure(slot.body))

    def answer(self, request_id: int, fields: Fields) -> None:
        """Answer a request that a coordinator kept; nothing if its client is gone."""
        slot = self._requests.pop(request_id, None)
        if slot is not None:
            slot.answer(fields)

    def forget_request(self, request_id: int) -> None:
        self._requests.pop(request_id, None)

    # --- what handlers and coordinators ask for -------------------------------------------------

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def log(self, topic: str, partition: int) -> PartitionLog | None:
        logs = self._logs.get(topic)
        if logs is None or not 0 <= partition < len(logs):
            return None
        return logs[partition]

    def partition_exists(self, topic: str, partition: int) -> bool:
        return self.log(topic, partition) is not None

    def when_durable(self, logs: list[PartitionLog], then: Callable[[], None]) -> None:
        self._flusher.when_durable(logs, then)

    def when_visible(
        self, logs: list[PartitionLog], wake: Callable[[], bool]
    ) -> Callable[[], None]:
        wish = next(self._wish_ids)
        for written in logs:
            self._waiting.setdefault(written, {})[wish] = wake
        return lambda: self._forget_wish(logs, wish)

    def _forget_wish(self, logs: list[PartitionLog], wish: int) -> None:
        for written in logs:
            wishes = self._waiting.get(written)
            if wishes is not None:
                wishes.pop(wish, None)
                if not wishes:
                    del self._waiting[written]

    def _wake_readers(self, logs: list[PartitionLog]) -> None:
        done: set[int] = set()
        for written in logs:
            for wish, wake in list(self._waiting.get(written, {}).items()):
                if wish not in done and wake():
                    done.add(wish)
                    self._waiting.get(written, {}).pop(wish, None)

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        return self._loop.call_later(delay_ms / 1000, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def new_producer_id(self) -> int:
        return self.folder.new_producer_id()

    def tell(self, coordinator: str, event: Any) -> None:
        self._runners[coordinator].submit(event)

    # --- topics ---------------------------------------------------------------------------------

    def change_topics(self, change: Callable[[], object]) -> Refusal | None:
        before = dict(self.catalog.topics)
        change()
        after = self.catalog.topics
        changed = [topic for name, topic in after.items() if before.get(name) is not topic]
        try:
            for topic in changed:
                self._open_logs(topic)
            self.folder.write_topics(self.catalog)
        except OSError as problem:
            self.catalog.replace_all(before)
            for topic in changed:
                self._cut_logs(topic, before.get(topic.name))
            return Refusal(
                ErrorCode.kafka_storage_error, f"the topic table: {problem.strerror or problem}"
            )
        for name, topic in before.items():
            if name not in after:
                self._drop_logs(topic)
        for topic in changed:
            for written in self._logs[topic.name]:
                written.settings = self._settings(topic)
        return None

    def _settings(self, topic: Topic) -> LogSettings:
        settings = self.catalog.settings(topic)
        if topic.name in INTERNAL_TOPICS:
            return replace(settings, retention_ms=UNLIMITED, retention_bytes=UNLIMITED)
        return settings

    def _open_logs(self, topic: Topic) -> None:
        logs = self._logs.setdefault(topic.name, [])
        for index in range(len(logs), topic.partitions):
            logs.append(
                open_log(
                    self.folder.disk,
                    log_folder(topic, index),
                    self._settings(topic),
                    self.now_ms(),
                    visible_when_synced=self.config.fsync == "group",
                )
            )

    def _cut_logs(self, topic: Topic, before: Topic | None) -> None:
        """Undo what `_open_logs` did for a change that was not to be."""
        keep = 0 if before is None else before.partitions
        logs = self._logs[topic.name]
        for index in range(len(logs) - 1, keep - 1, -1):
            logs.pop().close()
            self.folder.disk.remove_folder(log_folder(topic, index))
        if before is None:
            del self._logs[topic.name]

    def _drop_logs(self, topic: Topic) -> None:
        for index, written in enumerate(self._logs.pop(topic.name)):
            written.close()
            self._wake_readers([written])
            self.folder.disk.remove_folder(log_folder(topic, index))

    def gauges(self) -> list[tuple[str, str, float]]:
        """(name, labels, value) of every partition's offsets and size, for the metrics page."""
        found: list[tuple[str, str, float]] = []
        for topic, logs in sorted(self._logs.items()):
            for index, written in enumerate(logs):
                labels = f'topic="{topic}",partition="{index}"'
                found += [
                    ("log_start_offset", labels, written.log_start),
                    ("log_high_watermark", labels, written.high_watermark),
                    ("log_last_stable_offset", labels, written.last_stable_offset()),
                    ("log_size_bytes", labels, written.size),
                    ("log_failed", labels, int(written.failed is not None)),
                ]
                if written.settings.compacts:
                    found += self._compaction_gauges(labels, written)
        return sorted(found, key=lambda gauge: gauge[0])

    def _compaction_gauges(
        self, labels: str, written: PartitionLog
    ) -> list[tuple[str, str, float]]:
        state, dirt = written.compaction, measure(written, self.now_ms())
        found: list[tuple[str, str, float]] = [
            ("log_dirty_ratio", labels, dirt.ratio),
            ("log_dirty_bytes", labels, dirt.dirty_bytes),
            ("log_first_dirty_offset", labels, dirt.first_dirty),
            ("log_uncleanable", labels, int(state.uncleanable is not None)),
        ]
        if state.cleaned_at_ms is not None:
            found.append(("log_last_cleaned_seconds", labels, state.cleaned_at_ms / 1000))
        return found
