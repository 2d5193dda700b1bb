"""A transaction's records become batches on threads, and a large changelog while it is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import Executor

from streams.config import WorkerConfig
from streams.state.changelog import ChangelogRecord
from streams.task.outputs import parts_of
from streams.task.processor import OutputRecord
from streams.worker.batches import Entry, ReadyBatch, encode
from streams.worker.row_batches import Batches

PIECE_BYTES = 4 << 20
AHEAD = 2
"""Pieces that are encoded while another is sent: the threads have others to serve as well."""


class Encoding:
    """Of one transaction."""

    def __init__(self, config: WorkerConfig, codec: Executor, *, transactional: bool) -> None:
        self._config = config
        self._codec = codec
        self._transactional = transactional

    async def batches(
        self, outputs: Sequence[OutputRecord], counts: Mapping[str, int]
    ) -> dict[tuple[str, int], list[ReadyBatch]]:
        """By partition. `counts`: partitions of the topics whose records go by their key.

        Raises:
            ValueError: A record is too large.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._codec, self._outputs, outputs, counts)

    async def pieces(
        self, records: Sequence[ChangelogRecord]
    ) -> AsyncGenerator[Sequence[ReadyBatch]]:
        """The changelog's, in order."""
        loop = asyncio.get_running_loop()
        at_work: deque[asyncio.Future[list[ReadyBatch]]] = deque()
        try:
            for piece in cut(records):
                at_work.append(loop.run_in_executor(self._codec, self._changelog, piece))
                if len(at_work) > AHEAD:
                    yield await at_work.popleft()
            while at_work:
                yield await at_work.popleft()
        finally:
            for each in at_work:
                each.cancel()

    def _outputs(
        self, outputs: Sequence[OutputRecord], counts: Mapping[str, int]
    ) -> dict[tuple[str, int], list[ReadyBatch]]:
        config = self._config
        batches = Batches(config.batch_bytes, config.max_request_bytes, self._transactional)
        for out in parts_of(outputs):
            batches.add(out, counts.get(out.topic, 1))
        return batches.finish()

    def _changelog(self, records: Sequence[ChangelogRecord]) -> list[ReadyBatch]:
        entries = [Entry(record.key, record.value) for record in records]
        return encode(entries, self._config.batch_bytes, transactional=self._transactional)


def cut(records: Sequence[ChangelogRecord]) -> Iterator[Sequence[ChangelogRecord]]:
    """The records in pieces of at least so many bytes, but for the last."""
    first = size = 0
    for at, record in enumerate(records):
        size += len(record.value or b"")
        if size >= PIECE_BYTES:
            yield records[first : at + 1]
            first, size = at + 1, 0
    if first < len(records):
        yield records[first:]
