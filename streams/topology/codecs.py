"""How rows are written in records. A codec reads many records into columns, and back.

| codec | value of a record | key of a record |
|---|---|---|
| `Json` | a JSON object, or several, a line each | the `key` columns: text, or a JSON array |
| `Columnar` | many rows as one `streams.batch.Table` | none |
| `Text` | one string | none |
| `Raw` | one byte string | one byte string, or none |

A record that cannot be read is `Rejected`: it goes to the dead-letter topic, and the rest counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from streams.batch import MalformedTable, decode_table, encode_table
from streams.errors import Rejected
from streams.schema import Schema, TopologyError, Type, binary, string
from streams.task.processor import InputRecord
from streams.values import Values, concatenated, constant, from_table, to_table, values_of

I64 = npt.NDArray[np.int64]

Unit = Literal["ns", "us", "ms", "s"]
_UNITS: dict[Unit, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_KEYS = ("i64", "string", "time")
_WORD = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_FIELDS: dict[str, Any] = {
    "i64": _WORD, "f64": float, "bool": bool, "string": str, "bytes": bytes, "time": _WORD,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decoded:
    """Rows. records i64[n], ascending: the index of the record that each row came in."""

    columns: dict[str, Values]
    records: I64


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
    ) -> list[tuple[bytes | None, bytes | None]]:
        """(key, value) of the records for n rows."""
        ...

    def describe(self) -> str:
        """For people."""
        ...


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
        self._scale = _UNITS[times]
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
            except (msgspec.DecodeError, UnicodeDecodeError):
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
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            first = error
        try:
            rows = [self._decoder.decode(line) for line in value.split(b"\n") if line.strip()]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
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
            except (ValueError, OverflowError, msgspec.DecodeError) as error:
                raise Rejected(
                    "malformed-key", f"its key does not fit: {error}", index=index
                ) from error
        return {n: self._scaled([row[i] for row in rows], n) for i, n in enumerate(self.key)}

    def _key_of(self, key: bytes | None) -> list[Any]:
        if key is None:
            raise ValueError("it has none")
        parts: list[Any] = [key.decode()]
        if len(self.key) > 1:
            parts = msgspec.json.decode(key, type=list[Any])
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

    def encode(
        self, columns: Mapping[str, Values], n: int
    ) -> list[tuple[bytes | None, bytes | None]]:
        written: dict[str, list[Any]] = {}
        for name, values in columns.items():
            if values.type.kind == "time" and self._scale != 1:
                values = Values(values.type, values.numbers // self._scale, values.valid)
            written[name] = values.to_list()
        names = list(written)
        encoder = msgspec.json.Encoder()
        rows = zip(*written.values(), strict=True) if names else [()] * n
        out = [encoder.encode(dict(zip(names, row, strict=True))) for row in rows]
        keys: list[bytes | None] = [None] * n
        if len(self.key) == 1:
            keys = [None if k is None else str(k).encode() for k in written[self.key[0]]]
        elif self.key:
            keys = [
                encoder.encode(row) for row in zip(*(written[k] for k in self.key), strict=True)
            ]
        return list(zip(keys, out, strict=True))

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

    def encode(
        self, columns: Mapping[str, Values], n: int
    ) -> list[tuple[bytes | None, bytes | None]]:
        return [(None, encode_table(to_table(columns)))] if n else []

    def describe(self) -> str:
        return "Columnar"


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

    def encode(
        self, columns: Mapping[str, Values], n: int
    ) -> list[tuple[bytes | None, bytes | None]]:
        return [(None, row) for row in columns[self._column].texts]

    def describe(self) -> str:
        return "Text"


def _utf8(value: bytes | None, index: int) -> None:
    if value is None:
        raise Rejected("no-value", "the record has no value", index=index)
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise Rejected("not-utf8", f"the record is no text: {error}", index=index) from error


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

    def encode(
        self, columns: Mapping[str, Values], n: int
    ) -> list[tuple[bytes | None, bytes | None]]:
        keys = columns["key"].is_valid().tolist()
        rows = zip(columns["key"].texts, keys, columns["value"].texts, strict=True)
        return [(key if there else None, value) for key, there, value in rows]

    def describe(self) -> str:
        return "Raw"


def placeholder(kind: Type, n: int) -> Values:
    """n rows that stand for nothing: the values of a tombstone."""
    empty: Any = "" if kind.is_text else 0
    return constant(kind, empty, n)
