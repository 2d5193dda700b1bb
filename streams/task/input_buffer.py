"""Fetched input that waits to be processed, and how it is cut into batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from streams.config import TaskSettings
from streams.task.processor import InputRecord


class InputBuffer:
    """Bounded by records and bytes; the bound is asked for (`full`), not enforced.

    `next_offset`: where the consumer stands, behind everything buffered. `end`: the last stable
    offset as of the last fetch. `skipped`: offsets of dead-lettered records. `probe`: the offsets
    [low, high) among which there is a record that cannot be processed.
    """

    def __init__(self, settings: TaskSettings) -> None:
        self._settings = settings
        self._records: deque[InputRecord] = deque()
        self._bytes = 0
        self.next_offset = 0
        self.end = 0
        self.skipped: frozenset[int] = frozenset()
        self.probe: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def full(self) -> bool:
        settings = self._settings
        return len(self._records) >= settings.buffer_records or self._bytes > settings.buffer_bytes

    @property
    def behind(self) -> bool:
        """Another whole batch waits: the task is behind its input."""
        settings = self._settings
        return len(self._records) >= settings.batch_records or self._bytes >= settings.batch_bytes

    @property
    def ahead(self) -> int:
        """The offset of the first record, or where the consumer stands when there is none."""
        return self._records[0].offset if self._records else self.next_offset

    @property
    def read_to_end(self) -> bool:
        """Nothing is buffered and the consumer stands at the last stable offset."""
        return not self._records and self.next_offset >= self.end

    def clear(self) -> None:
        self._records.clear()
        self._bytes = 0

    def seek(self, offset: int) -> None:
        """Fetched records are of no use any more; the next come from this offset."""
        self.clear()
        self.next_offset = offset

    def add(self, records: Sequence[InputRecord], next_offset: int, end: int) -> None:
        """Append what was fetched."""
        self._records.extend(records)
        self._bytes += sum(len(record.value or b"") for record in records)
        self.next_offset, self.end = next_offset, end

    def pass_skipped(self) -> int | None:
        """Drop dead-lettered records at the front; the offset behind them, if there were any."""
        behind = None
        while self._records and self._records[0].offset in self.skipped:
            behind = self._pop().offset + 1
        return behind

    def next_batch(self, stops: Collection[int]) -> list[InputRecord]:
        """Records to process in one call, within the limits; none at or behind the next stop.

        One at a time where a poisonous record is looked for.
        """
        first = self._records[0].offset
        low, high = self.probe
        limit = 1 if low <= first < high else self._settings.batch_records
        stop = min((stop for stop in (*stops, low, high) if stop > first), default=None)
        batch: list[InputRecord] = []
        size = 0
        while self._records and len(batch) < limit and size < self._settings.batch_bytes:
            offset = self._records[0].offset
            if offset in self.skipped or (stop is not None and offset >= stop):
                break
            record = self._pop()
            size += len(record.value or b"")
            batch.append(record)
        return batch

    def give_back(self, records: Sequence[InputRecord]) -> None:
        """Put records that were taken and not consumed in front again."""
        self._records.extendleft(reversed(records))
        self._bytes += sum(len(record.value or b"") for record in records)

    def _pop(self) -> InputRecord:
        record = self._records.popleft()
        self._bytes -= len(record.value or b"")
        return record
