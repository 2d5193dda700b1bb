"""One string a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from streams.codecs.port import Decoded
from streams.errors import Rejected
from streams.schema import Schema, TopologyError, string
from streams.task.outputs import Written, unkeyed
from streams.task.processor import InputRecord
from streams.values import Values, values_of


class Text:
    """One string a record."""

    key: tuple[str, ...] = ()

    def __init__(self, column: str = "text") -> None:
        self._column = column
        self.schema = Schema({column: string})

    def bound(self, schema: Schema) -> Text:
        if list(schema.values()) != [string]:
            raise TopologyError(f"a Text codec writes one column of strings; there are {schema}")
        return Text(next(iter(schema)))

    def decode(self, records: Sequence[InputRecord]) -> Decoded:
        for index, record in enumerate(records):
            _utf8(record.value, index)
        column = values_of(string, [record.value for record in records])
        return Decoded({self._column: column}, np.arange(len(records)))

    def decode_keys(self, records: Sequence[InputRecord]) -> dict[str, Values]:
        return {}

    def encode(self, columns: Mapping[str, Values], n: int) -> Written:
        return unkeyed(columns[self._column].texts)

    def describe(self) -> str:
        return "Text"


def _utf8(value: bytes | None, index: int) -> None:
    if value is None:
        raise Rejected("no-value", "the record has no value", index=index)
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise Rejected("not-utf8", f"the record is no text: {error}", index=index) from error
