"""One byte string a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from streams.codecs.port import Decoded
from streams.errors import Rejected
from streams.schema import Schema, TopologyError, binary
from streams.task.outputs import Written
from streams.task.processor import InputRecord
from streams.values import Values, values_of


class Raw:
    """The bytes of a record's value, and of its key."""

    key: tuple[str, ...] = ("key",)
    schema = Schema(key=binary.optional, value=binary)

    def bound(self, schema: Schema) -> Raw:
        if any(name not in schema or not schema[name].is_text for name in ("key", "value")):
            raise TopologyError(
                f"a Raw codec writes byte columns `key` and `value`; there are {schema}"
            )
        return self

    def decode(self, records: Sequence[InputRecord]) -> Decoded:
        for index, record in enumerate(records):
            if record.value is None:
                raise Rejected("no-value", "the record has no value", index=index)
        columns = self.decode_keys(records)
        columns["value"] = values_of(binary, [record.value for record in records])
        return Decoded(columns, np.arange(len(records)))

    def decode_keys(self, records: Sequence[InputRecord]) -> dict[str, Values]:
        return {"key": values_of(binary.optional, [record.key for record in records])}

    def encode(self, columns: Mapping[str, Values], n: int) -> Written:
        keys = columns["key"]
        return Written(keys.texts, keys.is_valid(), columns["value"].texts)

    def describe(self) -> str:
        return "Raw"
