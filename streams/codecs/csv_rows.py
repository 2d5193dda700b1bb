"""Rows as lines of delimited text (RFC 4180)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.codecs.json_texts import Cells, cells_of, put_rows
from streams.codecs.port import I64, UNITS, Decoded, Refused, Unit
from streams.errors import Rejected
from streams.kernels.delimited import (
    ERROR,
    FIRST,
    GOOD,
    NOTHING,
    OTHER,
    PLAIN,
    RECORD,
    ROW_WIDTH,
    UNCLOSED,
    VALUE,
    classify_numbers,
    copy_fields,
    measure_cells,
    measure_fields,
    read_integers,
    read_words,
    split_rows,
    write_cells,
)
from streams.schema import Schema, TopologyError, Type
from streams.task.outputs import Written, unkeyed
from streams.task.processor import InputRecord
from streams.values import Bools, Values, check_utf8, masked

U8 = npt.NDArray[np.uint8]

_SLICE = 4096  # doubles read at once: msgspec holds the interpreter's lock meanwhile
_NUMBERS = msgspec.json.Decoder(list[float])
_WORD = np.iinfo(np.int64)
_WANTED = {
    "i64": "is no integer of 64 bits",
    "time": "is no integer of 64 bits",
    "f64": "is no number",
    "bool": "is neither true nor false",
    "string": "is no text in UTF-8",
}


class Csv:
    """Lines of fields, one or many a record; a row that does not fit is refused alone.

    Fields are separated by `delimiter` and may be quoted; within quotes a quote stands twice. Lines
    end with LF, CR LF or CR; blank ones are passed over. Spaces belong to their field. An empty
    field without quotes is no value; in a column of strings that must have one it is the empty
    string. Booleans are `true` and `false`, or 1 and 0; times are integers in `times`.
    """

    key: tuple[str, ...] = ()

    def __init__(
        self,
        schema: Schema | None = None,
        *,
        columns: Sequence[str] | None = None,
        header: bool = False,
        delimiter: str = ",",
        times: Unit = "ns",
    ) -> None:
        """The schema is needed for reading only.

        `columns`: the names of the fields in their order, those that are passed over among them; by
        default the schema's. `header`: the first line of each record says so instead; what is
        written begins with one.

        Raises:
            TopologyError: A column of the schema is not there, or holds bytes; or the delimiter is
                not one ASCII character, or a quote or line end.
        """
        self.schema = Schema() if schema is None else schema
        self._columns = tuple(self.schema) if columns is None else tuple(columns)
        self._header = header
        self._delimiter = delimiter
        self._times: Unit = times
        self._scale = UNITS[times]
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
            raise TopologyError(f"a Csv codec cannot separate fields by {delimiter!r}")
        for name, kind in self.schema.items():
            if kind.kind == "bytes":
                raise TopologyError(f"column {name!r} of a Csv codec holds bytes: make it text")
            if not header and name not in self._columns:
                raise TopologyError(f"column {name!r} of a Csv codec is not among its fields")

    def bound(self, schema: Schema) -> Csv:
        if len(schema) == 1 and next(iter(schema.values())).nullable:
            raise TopologyError(
                f"a Csv codec cannot write {schema}: a row without its only value is a blank line"
            )
        return Csv(schema, header=self._header, delimiter=self._delimiter, times=self._times)

    # ------------------------------------------------------------ read

    def decode(self, records: Sequence[InputRecord]) -> Decoded:
        text = _split([record.value or b"" for record in records], ord(self._delimiter))
        empty = np.bincount(text.rows[:, RECORD], minlength=len(records)) == 0
        if empty.any():
            where = int(np.flatnonzero(empty)[0])
            raise Rejected("malformed-csv", "the record has no lines", index=where)
        rows, places, widths = self._placed(text)
        reasons: dict[int, tuple[str, str]] = {}
        good = self._whole(text, rows, widths, reasons)
        found: dict[str, tuple[Values, U8]] = {}
        for number, (name, kind) in enumerate(self.schema.items()):
            which = np.where(good, text.rows[rows, FIRST] + places[:, number], 0)
            found[name] = values, status = self._column(text, kind, which)
            missing = status == NOTHING
            wrong = (status == OTHER) | (missing if not kind.nullable else False)
            for row in np.flatnonzero(wrong & good).tolist():
                cell = text.field(int(which[row]))[:80]
                why = "has no value" if missing[row] else f"{cell!r} {_WANTED[kind.kind]}"
                reasons.setdefault(row, ("malformed-field", f"column {name!r}: {why}"))
            good &= ~wrong
        kept = np.flatnonzero(good)
        columns: dict[str, Values] = {}
        for name, (values, status) in found.items():
            chosen = values if len(kept) == len(rows) else values.take(kept)
            valid = None if not values.type.nullable else status[kept] == VALUE
            columns[name] = masked(values.type, chosen.data, valid)
        refused = tuple(text.refused(int(rows[row]), *reasons[row]) for row in sorted(reasons))
        return Decoded(columns, text.rows[rows[kept], RECORD], refused)

    def _placed(self, text: _Text) -> tuple[I64, I64, I64]:
        """The rows that are no header; of each, where the schema's fields are, and how many."""
        every = np.arange(len(text.rows))
        if not self._header:
            at = self._places(self._columns, 0)
            return every, np.tile(at, (len(every), 1)), np.full(len(every), len(self._columns))
        of = text.rows[:, RECORD]
        first = np.ones(len(of), np.bool_)
        first[1:] = of[1:] != of[:-1]
        heads = np.flatnonzero(first).tolist()
        places = np.empty((len(heads), len(self.schema)), np.int64)
        widths = np.empty(len(heads), np.int64)
        for record, row in enumerate(heads):
            if text.rows[row, ERROR] != GOOD:
                raise Rejected("malformed-csv", "its header is cut short", index=record)
            names = text.names(row)
            places[record], widths[record] = self._places(names, record), len(names)
        rows = np.flatnonzero(~first)
        return rows, places[of[rows]], widths[of[rows]]

    def _places(self, names: Sequence[str], record: int) -> I64:
        """Where the schema's columns are among these. Raises `Rejected`."""
        for name in self.schema:
            if names.count(name) != 1:
                said = f"the header names {name!r} {names.count(name)} times, and not once"
                raise Rejected("malformed-csv", said, index=record)
        return np.array([names.index(name) for name in self.schema], np.int64)

    def _whole(
        self, text: _Text, rows: I64, widths: I64, reasons: dict[int, tuple[str, str]]
    ) -> Bools:
        """Which rows are well formed, and have as many fields as there should be."""
        ends = np.append(text.rows[1:, FIRST], len(text.starts))
        counts = (ends - text.rows[:, FIRST])[rows]
        errors = text.rows[rows, ERROR]
        good = (errors == GOOD) & (counts == widths)
        for row in np.flatnonzero(~good).tolist():
            why = f"it has {counts[row]} fields and should have {widths[row]}"
            if errors[row] != GOOD:
                closed = errors[row] != UNCLOSED
                why = "text follows a closing quote" if closed else "a quote is not closed"
            reasons[row] = ("malformed-row", why)
        return good

    def _column(self, text: _Text, kind: Type, which: I64) -> tuple[Values, U8]:
        """The values of these fields, and whether each is one: VALUE, NOTHING, OTHER."""
        status = np.zeros(len(which), np.uint8)
        if kind.kind == "string":
            if kind.nullable:
                plain = text.kinds[which] == PLAIN
                status[plain & (text.starts[which] == text.ends[which])] = NOTHING
            return Values(kind, _strings(text, which, status)), status
        if kind.kind == "f64":
            return Values(kind, _doubles(text, which, status)), status
        numbers = np.empty(len(which), np.int64)
        read = read_words if kind.kind == "bool" else read_integers
        read(text.data, text.starts, text.ends, which, numbers, status)
        if kind.kind == "bool":
            return Values(kind, numbers.astype(np.bool_)), status
        if kind.kind == "time" and self._scale != 1:
            far = np.abs(numbers // 2) > _WORD.max // self._scale // 2
            status[far & (status == VALUE)] = OTHER
            numbers = np.where(far, 0, numbers) * self._scale
        return Values(kind, numbers), status

    def decode_keys(self, records: Sequence[InputRecord]) -> dict[str, Values]:
        return {}

    # ------------------------------------------------------------ write

    def encode(self, columns: Mapping[str, Values], n: int) -> Written:
        cells = [self._cells(values) for values in columns.values()]
        between = self._delimiter.encode()
        before = [b""] + [between] * (len(cells) - 1) if cells else []
        if self._header and cells:
            names = between.join(name.encode() for name in columns)
            before[0] = names + b"\n"
        return unkeyed(put_rows(before, cells, b"\n", n))

    def _cells(self, values: Values) -> Cells:
        if values.type.is_text:
            strings = values.texts
            check_utf8(strings)
            valid = values.is_valid().astype(np.uint8)
            data, offsets = np.frombuffer(strings.data, np.uint8), strings.offsets.copy()
            ends = np.empty(len(values) + 1, np.int64)
            measure_cells(data, offsets, valid, ord(self._delimiter), ends)
            out = np.empty(int(ends[-1]), np.uint8)
            write_cells(data, offsets, valid, out, ends)
            return Cells(out, ends)
        if values.type.kind == "f64":
            if values.valid is None and bool(np.isfinite(values.numbers).all()):
                return cells_of(values)
            texts = BytesColumn.of([repr(value).encode() for value in values.numbers.tolist()])
        else:
            if values.type.kind == "time":
                values = Values(values.type, values.numbers // self._scale, values.valid)
            made = cells_of(Values(values.type, values.numbers))
            texts = BytesColumn(made.ends, made.texts[: int(made.ends[-1])].tobytes())
        texts = masked(values.type, texts, values.valid).texts
        return Cells(np.frombuffer(texts.data, np.uint8), texts.offsets)

    def describe(self) -> str:
        return "Csv(header)" if self._header else "Csv"


class _Text(NamedTuple):
    """Bytes and where their rows and fields are; see `streams.kernels.delimited`."""

    data: U8
    starts: I64
    ends: I64
    kinds: U8
    rows: I64

    def field(self, number: int) -> str:
        """For people, and of a header."""
        raw = self.data[self.starts[number] : self.ends[number]].tobytes()
        if self.kinds[number] != PLAIN:
            raw = raw.replace(b'""', b'"')
        return raw.decode(errors="replace")

    def names(self, row: int) -> tuple[str, ...]:
        """The fields of a row."""
        first = int(self.rows[row, FIRST])
        last = int(self.rows[row + 1, FIRST]) if row + 1 < len(self.rows) else len(self.starts)
        return tuple(self.field(number) for number in range(first, last))

    def refused(self, row: int, code: str, reason: str) -> Refused:
        record, _, line, begin, end, _ = self.rows[row].tolist()
        return Refused(record, line, self.data[begin:end].tobytes(), code, reason)


def _split(values: Sequence[bytes], delimiter: int) -> _Text:
    data = np.frombuffer(b"".join(values), np.uint8)
    bounds = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=bounds[1:])
    lines = int(((data == 0x0A) | (data == 0x0D)).sum()) + len(values)
    fields = int((data == delimiter).sum()) + lines
    starts, ends = np.empty(fields, np.int64), np.empty(fields, np.int64)
    kinds = np.empty(fields, np.uint8)
    rows = np.empty((lines, ROW_WIDTH), np.int64)
    count, found = split_rows(data, bounds, delimiter, starts, ends, kinds, rows)
    return _Text(data, starts[:found], ends[:found], kinds[:found], rows[:count])


def _strings(text: _Text, which: I64, status: U8) -> BytesColumn:
    offsets = np.empty(len(which) + 1, np.int64)
    measure_fields(text.data, text.starts, text.ends, text.kinds, which, offsets)
    out = np.empty(int(offsets[-1]), np.uint8)
    copy_fields(text.data, text.starts, text.ends, text.kinds, which, offsets, out)
    column = BytesColumn(offsets, out.tobytes())
    try:
        check_utf8(column)
    except UnicodeDecodeError:
        for row, string in enumerate(column):
            try:
                string.decode()
            except UnicodeDecodeError:
                status[row] = OTHER
    return column


def _doubles(text: _Text, which: I64, status: U8) -> npt.NDArray[np.float64]:
    """Numbers as JSON writes them some thousands at a time, the others one by one."""
    classify_numbers(text.data, text.starts, text.ends, which, status)
    out = np.zeros(len(which))
    plain = np.flatnonzero(status == VALUE)
    for first in range(0, len(plain), _SLICE):
        rows = plain[first : first + _SLICE]
        out[rows] = _listed(text, which[rows])
    for row in np.flatnonzero(status == OTHER).tolist():
        found = _double(text.field(int(which[row])))
        if found is not None:
            out[row], status[row] = found, VALUE
    return out


def _listed(text: _Text, which: I64) -> list[float]:
    offsets = np.empty(len(which) + 1, np.int64)
    measure_fields(text.data, text.starts, text.ends, text.kinds, which, offsets)
    joined = np.full(int(offsets[-1]) + len(which) + 1, 0x2C, np.uint8)
    to = offsets[:-1] + np.arange(1, len(which) + 1)
    copy_fields(text.data, text.starts, text.ends, text.kinds, which, to, joined)
    joined[0], joined[-1] = 0x5B, 0x5D
    try:
        return _NUMBERS.decode(joined.tobytes())
    except msgspec.MsgspecError:  # past the largest double
        return [float(text.field(number)) for number in which.tolist()]


@lru_cache(1024)
def _double(field: str) -> float | None:
    """What Python reads, but for what only Python does: spaces, underscores, other digits."""
    if "_" in field or not field.isascii() or field != field.strip():
        return None
    try:
        return float(field)
    except ValueError:
        return None
