"""What flows between operators: rows as columns, and the time that records moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.event_time.windows import EARLIEST
from streams.schema import Type
from streams.values import Values, concatenated

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Clock:
    """The watermarks of the records of one call, in order. Unix nanoseconds.

    Attributes:
        before: i64[r], of the source that a record came from, before the record: who is late.
        after: i64[r], ascending, of the slowest source, after the record: what closes.
    """

    before: I64
    after: I64

    def delayed(self, by: int) -> Clock:
        """The clock of an operator whose rows come so much after their time."""
        return Clock(shifted(self.before, by), shifted(self.after, by))


def shifted(times: I64, by: int) -> I64:
    """The times less `by`; EARLIEST stays EARLIEST."""
    return np.where(times < EARLIEST + by, EARLIEST, times - by)


@dataclass(frozen=True, slots=True)
class Batch:
    """n rows.

    Attributes:
        columns: By name, n rows each.
        times: i64[n], event time.
        records: i64[n], ascending: the record of the `Clock` that a row came with.
    """

    columns: Mapping[str, Values]
    times: I64
    records: I64

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: I64) -> Batch:
        """The rows at these indexes, in their order."""
        columns = {name: values.take(rows) for name, values in self.columns.items()}
        return Batch(columns, self.times[rows], self.records[rows])

    def slice(self, first: int, end: int) -> Batch:
        """The rows from `first` up to, without, `end`."""
        if first == 0 and end == len(self):
            return self
        return self.take(np.arange(first, end))

    def replaced(self, columns: Mapping[str, Values]) -> Batch:
        """The same rows with other columns."""
        return Batch(columns, self.times, self.records)

    @classmethod
    def join(cls, parts: Sequence[Batch], schema: Mapping[str, Type]) -> Batch:
        """The rows of all, in their order."""
        if len(parts) == 1:
            return parts[0]
        none = np.zeros(0, np.int64)
        return cls(
            concatenated([part.columns for part in parts], schema),
            np.concatenate([none, *(part.times for part in parts)]),
            np.concatenate([none, *(part.records for part in parts)]),
        )
