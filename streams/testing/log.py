"""A log in memory: topics, transactions, compaction, and producers that are fenced."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.errors import Fenced
from streams.task.processor import InputRecord, OutputRecord


@dataclass(slots=True)
class _Transaction:
    partitions: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    state: str = "open"


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    record: InputRecord | None  # None: a commit or abort marker
    transaction: _Transaction | None


@dataclass(slots=True)
class _Partition:
    entries: list[_Entry] = field(default_factory=list[_Entry])
    in_transactions: deque[_Entry] = field(default_factory=deque[_Entry])
    start: int = 0
    end: int = 0

    def append(self, record: InputRecord | None, transaction: _Transaction | None) -> int:
        entry = _Entry(self.end, record, transaction)
        self.entries.append(entry)
        if transaction is not None and transaction.state == "open":
            self.in_transactions.append(entry)
        self.end += 1
        return self.end - 1

    def stable(self) -> int:
        waiting = self.in_transactions
        while waiting and (first := waiting[0]).transaction is not None:
            if first.transaction.state == "open":
                return first.offset
            waiting.popleft()
        return self.end


@dataclass(frozen=True, slots=True)
class ProducerSession:
    """What `init_producer` hands out; an older epoch is fenced."""

    transactional_id: str
    epoch: int


class MemoryLog:
    """Topics, transactions with fencing, markers that take offsets, last stable offset."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self._topics: dict[str, list[_Partition]] = {}
        self._epochs: dict[str, int] = {}
        self._open: dict[str, _Transaction] = {}
        for topic, partitions in (topics or {}).items():
            self.create(topic, partitions)

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic; no effect when it is there."""
        self._topics.setdefault(topic, [_Partition() for _ in range(partitions)])

    def topics(self) -> list[str]:
        """All of them, in the order in which they were made."""
        return list(self._topics)

    def partitions(self, topic: str) -> int:
        return len(self._topics[topic])

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: tuple[tuple[str, bytes], ...] = (),
        timestamp_ms: int = 0,
    ) -> int:
        """Write one record outside any transaction; returns its offset."""
        target = self._topics[topic][partition]
        record = InputRecord(target.end, timestamp_ms, key, value, headers)
        return target.append(record, None)

    def init_producer(self, transactional_id: str) -> ProducerSession:
        """Register: older sessions are fenced, their open transaction is aborted."""
        self._end(transactional_id, "aborted")
        epoch = self._epochs[transactional_id] = self._epochs.get(transactional_id, -1) + 1
        return ProducerSession(transactional_id, epoch)

    def begin(self, session: ProducerSession) -> None:
        self._check(session)
        self._open[session.transactional_id] = _Transaction()

    def send(self, session: ProducerSession, record: OutputRecord) -> tuple[int, int]:
        """Write one record of the open transaction; returns (partition, offset)."""
        self._check(session)
        transaction = self._open[session.transactional_id]
        number, offset = self._write(record, transaction)
        transaction.partitions.add((record.topic, number))
        return number, offset

    def write(self, record: OutputRecord) -> tuple[int, int]:
        """Write one record outside any transaction; returns (partition, offset)."""
        return self._write(record, None)

    def _write(self, record: OutputRecord, transaction: _Transaction | None) -> tuple[int, int]:
        partitions = self._topics[record.topic]
        number = record.partition
        if number is None:
            number = zlib.crc32(record.key or b"") % len(partitions)
        target = partitions[number]
        entry = InputRecord(target.end, 0, record.key, record.value, record.headers)
        return number, target.append(entry, transaction)

    def commit(self, session: ProducerSession) -> None:
        self._check(session)
        self._end(session.transactional_id, "committed")

    def abort(self, session: ProducerSession) -> None:
        self._check(session)
        self._end(session.transactional_id, "aborted")

    def time_out(self, transactional_id: str) -> None:
        """What the coordinator does to a transaction that stays open: abort, and fence."""
        if transactional_id in self._open:
            self._end(transactional_id, "aborted")
            self._epochs[transactional_id] += 1

    def bounds(self, topic: str, partition: int, *, committed: bool = True) -> tuple[int, int]:
        """Offsets [start, end): to the last stable offset, or to the high watermark."""
        target = self._topics[topic][partition]
        return target.start, target.stable() if committed else target.end

    def fetch(
        self, topic: str, partition: int, offset: int, limit: int, *, end: int | None = None
    ) -> tuple[list[InputRecord], int]:
        """Up to `limit` committed records from `offset` on, and where to go on."""
        target = self._topics[topic][partition]
        stop = min(target.stable(), target.end if end is None else end)
        entries = target.entries
        at = bisect_left(entries, max(offset, target.start), key=lambda entry: entry.offset)
        records: list[InputRecord] = []
        next_offset = max(offset, target.start)
        while at < len(entries) and entries[at].offset < stop and len(records) < limit:
            entry = entries[at]
            aborted = entry.transaction is not None and entry.transaction.state == "aborted"
            if entry.record is not None and not aborted:
                records.append(entry.record)
            next_offset = entry.offset + 1
            at += 1
        if at == len(entries) or entries[at].offset >= stop:
            next_offset = max(next_offset, stop)  # past markers, and what compaction removed
        return records, next_offset

    def read(self, topic: str, partition: int = 0) -> list[InputRecord]:
        """Everything that a read_committed consumer sees."""
        return self.fetch(topic, partition, 0, 1 << 62)[0]

    def trim(self, topic: str, partition: int, start: int) -> None:
        """Retention: forget records before `start`."""
        target = self._topics[topic][partition]
        target.start = max(target.start, start)
        target.entries = [entry for entry in target.entries if entry.offset >= start]

    def compact(self, topic: str, partition: int) -> None:
        """Keep the last committed record of each key; offsets stay."""
        target = self._topics[topic][partition]
        stable = target.stable()
        last: dict[bytes | None, int] = {}
        for entry in target.entries:
            committed = entry.transaction is None or entry.transaction.state == "committed"
            if entry.record is not None and committed and entry.offset < stable:
                last[entry.record.key] = entry.offset
        keep = set(last.values())
        target.entries = [e for e in target.entries if e.offset in keep or e.offset >= stable]

    def remake(self, topic: str) -> None:
        """Somebody deletes the topic and makes it anew."""
        self._topics[topic] = [_Partition() for _ in self._topics[topic]]

    def _check(self, session: ProducerSession) -> None:
        if self._epochs[session.transactional_id] != session.epoch:
            raise Fenced(f"{session.transactional_id} has a newer owner")

    def _end(self, transactional_id: str, state: str) -> None:
        transaction = self._open.pop(transactional_id, None)
        if transaction is None:
            return
        transaction.state = state
        for topic, number in sorted(transaction.partitions):
            self._topics[topic][number].append(None, transaction)
