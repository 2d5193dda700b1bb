"""What a codec is, and what several of them need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from streams.schema import Schema, Type
from streams.task.processor import InputRecord
from streams.values import Values, constant

I64 = npt.NDArray[np.int64]

Unit = Literal["ns", "us", "ms", "s"]
UNITS: dict[Unit, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
"""Nanoseconds in a unit."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that does not fit, of a record whose other rows do: it alone is a dead letter.

    Attributes:
        record: The index of the record.
        line: In its value, from 1.
        row: Its bytes.
    """

    record: int
    line: int
    row: bytes
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """Rows. records i64[n], ascending: the index of the record that each row came in."""

    columns: dict[str, Values]
    records: I64
    refused: tuple[Refused, ...] = ()


class Codec(Protocol):
    """Records to columns and back."""

    @property
    def schema(self) -> Schema:
        """Of the rows that are read."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that are in a record's key."""
        ...

    def bound(self, schema: Schema) -> Codec:
        """The same for writing such rows. Raises `TopologyError`."""
        ...

    def decode(self, records: Sequence[InputRecord]) -> Decoded:
        """All rows of the records. Raises `Rejected` with the index of a bad record."""
        ...

    def decode_keys(self, records: Sequence[InputRecord]) -> dict[str, Values]:
        """The key columns alone, a row a record (tombstones). Raises `Rejected`."""
        ...

    def encode(
        self, columns: Mapping[str, Values], n: int
    ) -> Iterable[tuple[bytes | None, bytes | None]]:
        """(key, value) of the records for n rows; `Written` where these are columns, too."""
        ...

    def describe(self) -> str:
        """For people."""
        ...


def placeholder(kind: Type, n: int) -> Values:
    """n rows that stand for nothing: the values of a tombstone."""
    empty: Any = "" if kind.is_text else 0
    return constant(kind, empty, n)
