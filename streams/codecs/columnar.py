"""Many rows a record, as a table of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from streams.batch import BytesColumn, MalformedTable, decode_table, encode_table
from streams.codecs.port import Decoded
from streams.errors import Rejected
from streams.schema import Schema
from streams.task.outputs import Written, unkeyed
from streams.task.processor import InputRecord
from streams.values import Values, concatenated, from_table, to_table


class Columnar:
    """Many rows a record, as `streams.batch.Table`: the fastest."""

    key: tuple[str, ...] = ()

    def __init__(self, schema: Schema | None = None) -> None:
        """The schema is needed for reading only."""
        self.schema = Schema() if schema is None else schema

    def bound(self, schema: Schema) -> Columnar:
        return Columnar(schema)

    def decode(self, records: Sequence[InputRecord]) -> Decoded:
        parts: list[dict[str, Values]] = []
        counts: list[int] = []
        for index, record in enumerate(records):
            try:
                table = decode_table(record.value or b"")
                parts.append(from_table(table, self.schema))
            except MalformedTable as error:
                raise Rejected("malformed-table", str(error), index=index) from error
            counts.append(table.rows)
        origin = np.repeat(np.arange(len(counts)), counts)
        return Decoded(concatenated(parts, self.schema), origin)

    def decode_keys(self, records: Sequence[InputRecord]) -> dict[str, Values]:
        return {}

    def encode(self, columns: Mapping[str, Values], n: int) -> Written:
        return unkeyed(BytesColumn.of([encode_table(to_table(columns))] if n else []))

    def describe(self) -> str:
        return "Columnar"
