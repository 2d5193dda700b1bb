"""Rows as JSON objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from streams.codecs.json_texts import cells_of, framed
from streams.codecs.port import I64, UNITS, Decoded, Unit
from streams.errors import UNREADABLE_JSON, Rejected
from streams.schema import Schema, TopologyError
from streams.task.outputs import Written, unkeyed
from streams.task.processor import InputRecord
from streams.values import Values, values_of

_PARTS = msgspec.json.Decoder(list[Any])
_KEYS = ("i64", "string", "time")
_WORD = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_FIELDS: dict[str, Any] = {
    "i64": _WORD, "f64": float, "bool": bool, "string": str, "bytes": bytes, "time": _WORD,
}  # fmt: skip


class Json:
    """JSON objects, one a record or one a line of a record.

    Members that the schema does not name are passed over; one that may be null may be missing.
    Doubles that are no numbers are written as null. Times are numbers in `times`; bytes base64.
    """

    def __init__(
        self,
        schema: Schema | None = None,
        *,
        key: str | Sequence[str] = (),
        times: Unit = "ns",
    ) -> None:
        """The schema is needed for reading only. Raises `TopologyError`."""
        self.schema = Schema() if schema is None else schema
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self._times: Unit = times
        self._scale = UNITS[times]
        for name in self.key if schema is not None else ():
            if name not in self.schema or self.schema[name].kind not in _KEYS:
                raise TopologyError(
                    f"key column {name!r} of a Json codec is to be {', '.join(_KEYS)} in its schema"
                )
        self._fields = [name for name in self.schema if name not in self.key]
        self._decoder = msgspec.json.Decoder(_row_type(self.schema, self._fields))

    def bound(self, schema: Schema) -> Json:
        for name in self.key:
            if name not in schema:
                raise TopologyError(
                    f"key column {name!r} is not there; there are {', '.join(schema)}"
                )
        return Json(schema, key=self.key, times=self._times)

    def decode(self, records: Sequence[InputRecord]) -> Decoded:
        rows, origin = self._rows(records)
        columns: dict[str, Values] = {}
        for name in self._fields:
            columns[name] = self._scaled(list(map(attrgetter(name), rows)), name)
        if self.key:
            keys = self.decode_keys(records)
            columns |= {name: values.take(origin) for name, values in keys.items()}
        return Decoded({name: columns[name] for name in self.schema}, origin)

    def _scaled(self, given: list[Any], name: str) -> Values:
        kind = self.schema[name]
        values = values_of(kind, given)
        if kind.kind == "time" and self._scale != 1:
            return Values(kind, values.numbers * self._scale, values.valid)
        return values

    def _rows(self, records: Sequence[InputRecord]) -> tuple[list[Any], I64]:
        values = [record.value or b"" for record in records]
        joined = b"\n".join(values)
        if _objects(joined) == len(values):
            try:
                rows = self._decoder.decode_lines(joined)
            except UNREADABLE_JSON:
                rows = []
            if len(rows) == len(values):
                return rows, np.arange(len(values))
        found: list[Any] = []
        origin: list[int] = []
        for index, value in enumerate(values):
            each = self._one(value, index)
            found += each
            origin += [index] * len(each)
        return found, np.array(origin, np.int64)

    def _one(self, value: bytes, index: int) -> list[Any]:
        try:
            return [self._decoder.decode(value)]
        except UNREADABLE_JSON as error:
            first = error
        try:
            rows = [self._decoder.decode(line) for line in value.split(b"\n") if line.strip()]
        except UNREADABLE_JSON as error:
            shown = error if b"\n" in value.strip() else first
            raise Rejected(
                "malformed-json", f"the record does not fit: {shown}", index=index
            ) from error
        if not rows:
            raise Rejected("malformed-json", f"the record is empty: {first}", index=index)
        return rows

    def decode_keys(self, records: Sequence[InputRecord]) -> dict[str, Values]:
        rows: list[list[Any]] = []
        for index, record in enumerate(records):
            try:
                rows.append(self._key_of(record.key))
            except (ValueError, OverflowError, *UNREADABLE_JSON) as error:
                raise Rejected(
                    "malformed-key", f"its key does not fit: {error}", index=index
                ) from error
        return {n: self._scaled([row[i] for row in rows], n) for i, n in enumerate(self.key)}

    def _key_of(self, key: bytes | None) -> list[Any]:
        if key is None:
            raise ValueError("it has none")
        parts: list[Any] = [key.decode()]
        if len(self.key) > 1:
            parts = _PARTS.decode(key)
        if len(parts) != len(self.key):
            raise ValueError(f"it has {len(parts)} parts and should have {len(self.key)}")
        found: list[Any] = []
        for name, part in zip(self.key, parts, strict=True):
            if self.schema[name].kind != "string":
                found.append(int(np.int64(int(part))))
            elif isinstance(part, str):
                found.append(part)
            else:
                raise ValueError(f"{part!r} is no text")
        return found

    def encode(self, columns: Mapping[str, Values], n: int) -> Written:
        scaled = {name: self._unscaled(values) for name, values in columns.items()}
        cells = {name: cells_of(values) for name, values in scaled.items()}
        objects = framed(cells, n)
        keys = [cells[name] for name in self.key]
        if not keys:
            return unkeyed(objects)
        if len(keys) > 1:
            return Written(framed(keys, n), np.ones(n, np.bool_), objects)
        (key,) = (scaled[name] for name in self.key)
        texts = key.texts if key.type.is_text else keys[0].to_column()
        return Written(texts, key.is_valid(), objects)

    def _unscaled(self, values: Values) -> Values:
        """Times in the unit in which they are written."""
        if values.type.kind != "time" or self._scale == 1:
            return values
        return Values(values.type, values.numbers // self._scale, values.valid)

    def describe(self) -> str:
        return f"Json(key={', '.join(self.key)})" if self.key else "Json"


def _objects(joined: bytes) -> int:
    """How many lines there are, if each begins with `{` and ends with `}`; else 0.

    No JSON value has `}` and `{` side by side: no object of such lines goes on in the next.
    """
    lines = joined.count(b"\n") + 1
    plain = joined[:1] == b"{" and joined[-1:] == b"}" and joined.count(b"}\n{") == lines - 1
    return lines if plain else 0


def _row_type(schema: Schema, names: Sequence[str]) -> type[Any]:
    fields: list[Any] = []
    for name in names:
        kind = schema[name]
        of = _FIELDS[kind.kind]
        fields.append((name, of | None, None) if kind.nullable else (name, of))
    return msgspec.defstruct("Row", fields, kw_only=True, gc=False)
