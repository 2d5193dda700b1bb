"""What a task writes in a transaction: records one by one, and many at once as columns.

A hundred thousand small records as objects take a hundred times what they take as columns, and
hold the interpreter, and with it the heartbeats, for tens of milliseconds when they are let go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.task.processor import OutputRecord


@dataclass(frozen=True, slots=True)
class Written:
    """n records as a codec writes them: the keys of those that have one, and the values.

    `keyed`: bool[n], whether a record has a key; of the others the row of `keys` is not read.
    """

    keys: BytesColumn
    keyed: npt.NDArray[np.bool_]
    values: BytesColumn

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        """(key, value) of each."""
        each = zip(self.keys, self.keyed.tolist(), self.values, strict=True)
        return ((key if there else None, value) for key, there, value in each)


def unkeyed(values: BytesColumn) -> Written:
    """Records without keys."""
    n = len(values)
    return Written(BytesColumn(np.zeros(n + 1, np.int64), b""), np.zeros(n, np.bool_), values)


def keyed_alike(values: BytesColumn, key: bytes) -> Written:
    """Records with one key."""
    n = len(values)
    keys = BytesColumn(np.arange(n + 1) * len(key), key * n)
    return Written(keys, np.ones(n, np.bool_), values)


@dataclass(frozen=True, slots=True)
class OutputRows:
    """Records of one topic; each goes where the hash of its key says, one without anywhere."""

    topic: str
    written: Written

    def __iter__(self) -> Iterator[OutputRecord]:
        return (OutputRecord(self.topic, None, key, value) for key, value in self.written)

    def __len__(self) -> int:
        return len(self.written)


Output = OutputRecord | OutputRows


class Outputs(Sequence[OutputRecord]):
    """Records in their order. `parts`: the same, some of them as columns."""

    def __init__(self, parts: Iterable[Output] = ()) -> None:
        self.parts: list[Output] = list(parts)

    def __iadd__(self, more: Iterable[Output]) -> Outputs:
        self.parts += more.parts if isinstance(more, Outputs) else more
        return self

    def __len__(self) -> int:
        return sum(len(part) if isinstance(part, OutputRows) else 1 for part in self.parts)

    def __iter__(self) -> Iterator[OutputRecord]:
        for part in self.parts:
            if isinstance(part, OutputRows):
                yield from part
            else:
                yield part

    @overload
    def __getitem__(self, index: int) -> OutputRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[OutputRecord]: ...
    def __getitem__(self, index: int | slice) -> OutputRecord | list[OutputRecord]:
        return list(self)[index]


def parts_of(outputs: Sequence[OutputRecord]) -> Sequence[Output]:
    """The records, those that are columns as these."""
    return outputs.parts if isinstance(outputs, Outputs) else outputs
