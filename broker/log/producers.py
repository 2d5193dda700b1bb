"""What a partition remembers of its producers: sequences for idempotence, open transactions,
aborted ones. A state machine over batch headers, rebuilt from them; snapshots shorten that.

Rules are those of Kafka's ProducerStateManager (KIP-98, KIP-360): five batches are remembered a
producer, an unknown producer may begin with any sequence, a new epoch begins with sequence 0.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crc32c import crc32c

from broker.protocol.errors import ErrorCode
from broker.records.batch import MAX_INT32, BatchHeader, Refusal

REMEMBERED_BATCHES = 5


class KnownBatch(NamedTuple):
    first_sequence: int
    last_sequence: int
    base_offset: int
    timestamp: int


class AbortedTransaction(NamedTuple):
    """`last_offset` is the abort marker's."""

    producer_id: int
    first_offset: int
    last_offset: int


class Duplicate(NamedTuple):
    """The batch is in the log already, at this offset."""

    base_offset: int
    next_offset: int
    timestamp: int


@dataclass(slots=True)
class Producer:
    epoch: int
    batches: deque[KnownBatch] = field(default_factory=lambda: deque(maxlen=REMEMBERED_BATCHES))
    last_seen_ms: int = 0
    transaction_start: int | None = None
    coordinator_epoch: int = -1


class ProducerTable:
    """State of all producers of one partition at its log end."""

    def __init__(self) -> None:
        self.producers: dict[int, Producer] = {}
        self.aborted: list[AbortedTransaction] = []
        self._open: dict[int, int] = {}  # producer id -> first offset, in order of first offset
        self._ending: deque[tuple[int, int]] = deque()  # (first offset, marker offset)

    def check(self, header: BatchHeader) -> Refusal | Duplicate | None:
        """Whether a client's batch may be appended (None), is a repeat, or must be refused."""
        known = self.producers.get(header.producer_id)
        if known is None:
            return None
        if header.producer_epoch < known.epoch:
            return Refusal(
                ErrorCode.invalid_producer_epoch,
                f"producer {header.producer_id} has epoch {known.epoch}, "
                f"this batch {header.producer_epoch}",
            )
        if header.producer_epoch > known.epoch:
            if header.base_sequence == 0:
                return None
            return Refusal(
                ErrorCode.out_of_order_sequence_number,
                f"a new epoch begins with sequence {header.base_sequence}",
            )
        return self._check_sequence(header, known)

    def _check_sequence(self, header: BatchHeader, known: Producer) -> Refusal | Duplicate | None:
        first, last = header.base_sequence, header.last_sequence
        for batch in known.batches:
            if batch.first_sequence == first and batch.last_sequence == last:
                count = header.last_offset_delta + 1
                return Duplicate(batch.base_offset, batch.base_offset + count, batch.timestamp)
        expected = 0
        if known.batches:
            expected = (known.batches[-1].last_sequence + 1) & MAX_INT32
        if first == expected:
            return None
        return Refusal(
            ErrorCode.out_of_order_sequence_number,
            f"producer {header.producer_id} sent sequence {first}, {expected} is next",
        )

    def record(self, header: BatchHeader, base_offset: int, now_ms: int) -> None:
        """Take note of a data batch that was appended at `base_offset`."""
        known = self.producers.get(header.producer_id)
        if known is None:
            known = self.producers[header.producer_id] = Producer(header.producer_epoch)
        elif header.producer_epoch != known.epoch:
            known.epoch = header.producer_epoch
            known.batches.clear()
        known.batches.append(
            KnownBatch(
                header.base_sequence,
                header.last_sequence,
                base_offset,
                header.max_timestamp,
            )
        )
        known.last_seen_ms = now_ms
        if header.is_transactional and known.transaction_start is None:
            known.transaction_start = base_offset
            self._open[header.producer_id] = base_offset

    def record_marker(
        self,
        header: BatchHeader,
        base_offset: int,
        now_ms: int,
        *,
        commit: bool,
        coordinator_epoch: int,
    ) -> None:
        """Take note of a control batch that was appended at `base_offset`."""
        known = self.producers.get(header.producer_id)
        if known is None:
            known = self.producers[header.producer_id] = Producer(header.producer_epoch)
        elif header.producer_epoch > known.epoch:
            known.epoch = header.producer_epoch
            known.batches.clear()
        known.last_seen_ms = now_ms
        known.coordinator_epoch = coordinator_epoch
        first = known.transaction_start
        if first is None:
            return
        known.transaction_start = None
        del self._open[header.producer_id]
        self._ending.append((first, base_offset))
        if not commit:
            self.aborted.append(AbortedTransaction(header.producer_id, first, base_offset))

    def last_stable_offset(self, high_watermark: int) -> int:
        """The first offset of the earliest transaction that is open, or whose marker is not yet
        visible; the high watermark if there is none."""
        while self._ending and self._ending[0][1] < high_watermark:
            self._ending.popleft()
        stable = high_watermark
        if self._open:
            stable = min(stable, next(iter(self._open.values())))
        for first, marker in self._ending:
            if marker >= high_watermark:
                stable = min(stable, first)
        return stable

    def aborted_between(self, first: int, end: int) -> list[tuple[int, int]]:
        """(producer id, first offset) of aborted transactions that touch offsets [first, end)."""
        at = bisect_left(self.aborted, first, key=lambda item: item.last_offset)
        return [
            (item.producer_id, item.first_offset)
            for item in self.aborted[at:]
            if item.first_offset < end
        ]

    def forget_aborted(self, markers: Container[int]) -> None:
        """Drop the aborted transactions whose markers, at these offsets, are gone from the log."""
        self.aborted = [item for item in self.aborted if item.last_offset not in markers]

    def is_open(self, producer_id: int) -> bool:
        return producer_id in self._open

    def forget_before(self, log_start: int, expired_before_ms: int) -> None:
        """Drop aborted transactions below the log's start and producers that went silent."""
        at = bisect_left(self.aborted, log_start, key=lambda item: item.last_offset)
        del self.aborted[:at]
        silent = [
            producer_id
            for producer_id, known in self.producers.items()
            if known.last_seen_ms < expired_before_ms and known.transaction_start is None
        ]
        for producer_id in silent:
            del self.producers[producer_id]

    def encode(self, offset: int) -> bytes:
        """A snapshot of the state at `offset`, with its checksum."""
        state = {
            "offset": offset,
            "producers": [
                [
                    producer_id,
                    known.epoch,
                    known.last_seen_ms,
                    known.transaction_start,
                    known.coordinator_epoch,
                    list(known.batches),
                ]
                for producer_id, known in self.producers.items()
            ],
            "aborted": self.aborted,
            "ending": list(self._ending),
        }
        body = json.dumps(state).encode()
        return crc32c(body).to_bytes(4, "big") + body

    @classmethod
    def decode(cls, data: bytes, offset: int) -> ProducerTable | None:
        """The state in a snapshot for `offset`, None if the bytes are not whole."""
        if len(data) < 4 or crc32c(data[4:]) != int.from_bytes(data[:4], "big"):
            return None
        state: dict[str, Any] = json.loads(data[4:])
        if state["offset"] != offset:
            return None
        table = cls()
        for producer_id, epoch, seen, start, coordinator_epoch, batches in state["producers"]:
            known = Producer(epoch, last_seen_ms=seen, transaction_start=start)
            known.coordinator_epoch = coordinator_epoch
            known.batches.extend(KnownBatch(*batch) for batch in batches)
            table.producers[producer_id] = known
        started = [
            (known.transaction_start, producer_id)
            for producer_id, known in table.producers.items()
            if known.transaction_start is not None
        ]
        table._open = {producer_id: first for first, producer_id in sorted(started)}
        table.aborted = [AbortedTransaction(*item) for item in state["aborted"]]
        table._ending = deque((first, marker) for first, marker in state["ending"])
        return table
