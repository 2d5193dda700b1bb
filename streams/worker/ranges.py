"""Reading stretches of a partition that are chosen, without a group."""

from __future__ import annotations

from concurrent.futures import Executor

from streams.config import WorkerConfig
from streams.errors import Retriable
from streams.task.processor import InputRecord
from streams.worker.kafka import OffsetLookup, Partition
from streams.worker.pieces import FollowingConsumer, OffsetsGone

STOP_SECONDS = 3.0


class RangeReader:
    """Reads committed records of offset ranges without a group; one at a time."""

    def __init__(self, config: WorkerConfig, codec: Executor) -> None:
        """codec: Where records are unpacked, beside the event loop."""
        self._config = config
        self._codec = codec
        self._consumer: FollowingConsumer | None = None
        self._at: tuple[Partition, int] | None = None

    async def read(
        self, partition: Partition, start: int, end: int
    ) -> tuple[list[InputRecord], int]:
        """Some records of [start, end) in order, and where to go on; waits for at least a step.

        Closes itself at `end`. Raises `Retriable`.
        """
        try:
            consumer = await self._sought(partition, start)
            pieces = await consumer.poll([partition], 1.0)
        except OffsetsGone:
            # trimmed by retention meanwhile: what is left of the range begins later
            await self.close()
            return [], min(max(await self._first(partition), start), end)
        except Retriable as error:
            await self.close()
            what = f"cannot read {partition[0]}/{partition[1]}: {error.message}"
            raise Retriable(what) from error
        piece = pieces.get(partition)
        if piece is None:
            return [], start
        records = [record for record in piece.records if record.offset < end]
        next_offset = min(piece.next_offset, end)
        if next_offset >= end:
            await self.close()
        else:
            self._at = (partition, next_offset)
        return records, next_offset

    async def close(self) -> None:
        """Let go of the log; bounded."""
        consumer, self._consumer, self._at = self._consumer, None, None
        if consumer is not None:
            await consumer.stop(STOP_SECONDS)

    async def _sought(self, partition: Partition, start: int) -> FollowingConsumer:
        if self._consumer is None:
            consumer = FollowingConsumer(self._config, self._codec)
            await consumer.start()
            self._consumer = consumer
        if self._at != (partition, start):
            self._consumer.choose([partition])
            self._consumer.fetch_from(partition, start)
        return self._consumer

    async def _first(self, partition: Partition) -> int:
        lookup = OffsetLookup(self._config)
        try:
            return (await lookup.stable_bounds(partition))[0]
        finally:
            await lookup.stop()
