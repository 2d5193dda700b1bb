"""The batches of a transaction; records that are columns are written without an object for each."""

from __future__ import annotations

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.kernels.records import partitions_by_key, write_records
from streams.task.outputs import Output, OutputRows, Written
from streams.worker.batches import HEADER, Entry, ReadyBatch, encode, whole_batch

I64 = npt.NDArray[np.int64]

_RECORD_BYTES = 32
"""More than a record takes beside its key and its value."""


class Batches:
    """By partition, in the order in which the records came."""

    def __init__(self, batch_bytes: int, largest: int, transactional: bool) -> None:
        """Sizes in bytes: of a batch before compression, and of a record's value."""
        self._size = batch_bytes
        self._largest = largest
        self._transactional = transactional
        self._waiting: defaultdict[tuple[str, int], list[Entry]] = defaultdict(list)
        self._ready: defaultdict[tuple[str, int], list[ReadyBatch]] = defaultdict(list)

    def add(self, out: Output, partitions: int) -> None:
        """Records of a task, whose topic has so many partitions where they go by their key.

        Raises:
            ValueError: A record is too large.
        """
        if not isinstance(out, OutputRows):
            self._check(out.topic, len(out.value or b""))
            number = out.partition
            if number is None:
                number = chosen_partition(out.key, partitions)
            self.add_to((out.topic, number), Entry(out.key, out.value, out.headers))
            return
        written = out.written
        if len(written):
            self._check(out.topic, int(np.diff(written.values.offsets).max()))
        for number, rows in shares(written, partitions):
            at = out.topic, number
            self._encode_waiting(at)
            self._ready[at] += encode_rows(
                written, rows, self._size, transactional=self._transactional
            )

    def add_to(self, at: tuple[str, int], entry: Entry) -> None:
        """A record of a partition."""
        self._waiting[at].append(entry)

    def finish(self) -> dict[tuple[str, int], list[ReadyBatch]]:
        """All of them."""
        for at in list(self._waiting):
            self._encode_waiting(at)
        return self._ready

    def _encode_waiting(self, at: tuple[str, int]) -> None:
        if entries := self._waiting.pop(at, None):
            self._ready[at] += encode(entries, self._size, transactional=self._transactional)

    def _check(self, topic: str, size: int) -> None:
        if size > self._largest:
            what = f"a record for {topic} has {size} bytes"
            raise ValueError(f"{what}, and max_request_bytes is {self._largest}")


def goes_by_key(out: Output) -> bool:
    """Whether the hash of a key says to which partition records go."""
    return isinstance(out, OutputRows) or out.partition is None


def chosen_partition(key: bytes | None, count: int) -> int:
    """Where Kafka's clients put a record by default: murmur2 of the key, or anywhere."""
    return random.randrange(count) if key is None else _hash(key) % count


@lru_cache(1 << 16)
def _hash(key: bytes) -> int:
    out = np.empty(1, np.int64)
    offsets = np.array([0, len(key)], np.int64)
    partitions_by_key(np.frombuffer(key, np.uint8), offsets, 1 << 31, out)
    return int(out[0])


def shares(written: Written, partitions: int) -> Iterator[tuple[int, I64]]:
    """(partition, rows) of the records: as their keys' hashes say; those without one together."""
    offsets = np.array(written.keys.offsets, np.int64)
    to = np.empty(len(written), np.int64)
    partitions_by_key(np.frombuffer(written.keys.data, np.uint8), offsets, partitions, to)
    to[~written.keyed] = random.randrange(partitions)
    if partitions == 1:
        yield 0, np.arange(len(to))
        return
    order = np.argsort(to, kind="stable")
    cuts = np.searchsorted(to[order], np.arange(1, partitions))
    for partition, rows in enumerate(np.split(order, cuts)):
        if len(rows):
            yield partition, rows


def encode_rows(
    written: Written, rows: I64, batch_bytes: int, *, transactional: bool
) -> list[ReadyBatch]:
    """These records in their order, as `streams.worker.batches.encode` does it."""
    now = time.time_ns() // 1_000_000
    keys, key_offsets = _arrays(written.keys)
    values, value_offsets = _arrays(written.values)
    keyed = written.keyed.astype(np.uint8)
    ready: list[ReadyBatch] = []
    first = 0
    while first < len(rows):
        room, chosen = batch_bytes - HEADER.size, rows
        while True:
            out = bytearray(room)
            count, size = write_records(
                chosen, first, keys, key_offsets, keyed, values, value_offsets,
                np.frombuffer(out, np.uint8),
            )  # fmt: skip
            if count:
                break
            row = rows[first]  # one that is larger than a batch goes alone
            sizes = (each[row + 1] - each[row] for each in (key_offsets, value_offsets))
            room, chosen = int(sum(sizes)) + _RECORD_BYTES, rows[: first + 1]
        batch = whole_batch(memoryview(out)[:size], count, now, transactional=transactional)
        ready.append(ReadyBatch(batch, count))
        first += count
    return ready


def _arrays(column: BytesColumn) -> tuple[npt.NDArray[np.uint8], I64]:
    return np.frombuffer(column.data, np.uint8), np.array(column.offsets, np.int64)
