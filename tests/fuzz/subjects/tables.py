"""Columnar messages: `decode_table` and the `Columnar` codec, beside a naive reader."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from streams.batch import BytesColumn, MalformedTable, Table, decode_table, encode_table
from streams.codecs import Columnar
from streams.errors import Rejected
from streams.schema import Schema, boolean, f64, i64, string
from streams.task.processor import InputRecord
from streams.values import to_table, values_of
from tests.fuzz.subject import Outcome, shown

_FORMATS = {
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "f4": "f", "f8": "d",
}  # fmt: skip
_SCHEMA = Schema(word=string, n=i64, x=f64.optional, ok=boolean)


class Tables:
    """Tables of every column type; those that are rows of a schema go by way of the codec, too."""

    def __init__(self) -> None:
        self._codec = Columnar(_SCHEMA)

    def corpus(self) -> list[bytes]:
        columns: dict[str, Any] = {f"c{kind}": np.arange(3).astype(f"<{kind}") for kind in _FORMATS}
        columns["text"] = BytesColumn.of([b"ab", b"", b"\xff\0z"])
        rows = {
            "word": values_of(string, ["a", "", "é"]),
            "n": values_of(i64, [1, -1, 2**63 - 1]),
            "x": values_of(f64.optional, [1.5, None, -0.0]),
            "ok": values_of(boolean, [True, False, True]),
        }
        tables = [
            Table(columns, {"kind": "rows", "sources": {"a/0": 7}, "é": [None, 1.5]}),
            Table({}, {}),
            Table({"only": np.zeros(0)}, {"end": 10**18}),
            Table({"b": BytesColumn.of([b"x" * 40])}, {}),
            to_table(rows),
            to_table({name: values for name, values in rows.items() if name != "x"}),
        ]
        return [encode_table(table) for table in tables] + [encode_table(to_table(rows))] * 3

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                ours: Any = _plain(decode_table(message))
                accepted += 1
            except MalformedTable:
                ours = None
            try:
                theirs: Any = naive(message)
            except (ValueError, KeyError, TypeError, struct.error, RecursionError):
                theirs = None
            if ours is not None and repr(ours) != repr(theirs):
                differences.append(shown(message, ours, theirs))
            differences += self._rows(message, theirs)
        return Outcome(accepted, differences)

    def _rows(self, message: bytes, naively: Any) -> list[str]:
        try:
            found = self._codec.decode([InputRecord(0, 0, None, message)])
        except Rejected:
            return []
        n = found.columns["n"].to_list()
        words = [text.encode() for text in found.columns["word"].to_list()]
        if naively is None or (n, words) != (naively[1]["n"], naively[1]["word"]):
            return [shown(message, (n, words), naively)]
        return []


def _plain(table: Table) -> tuple[Any, dict[str, list[Any]]]:
    columns = {
        name: list(column) if isinstance(column, BytesColumn) else column.tolist()
        for name, column in table.columns.items()
    }
    return table.meta, columns


def naive(raw: bytes) -> tuple[Any, dict[str, list[Any]]]:
    """Meta and columns, a value at a time; raises one thing or another where there is no table."""
    magic, length = struct.unpack_from("<4sI", raw)
    if magic != b"TMT1" or 8 + length > len(raw):
        raise ValueError("magic or length")
    header = json.loads(raw[8 : 8 + length].decode(), parse_constant=_no_constant)
    at = (8 + length + 7) // 8 * 8
    columns: dict[str, list[Any]] = {}
    for name, kind, rows, size in header["columns"]:
        if at + size > len(raw) or size < 0 or rows < 0:
            raise ValueError("past the end")
        if kind == "bytes":
            offsets = struct.unpack_from(f"<{rows + 1}q", raw[at : at + size])
            text = raw[at + 8 * (rows + 1) : at + size]
            if offsets[0] != 0 or offsets[-1] != len(text) or sorted(offsets) != list(offsets):
                raise ValueError("offsets")
            columns[name] = [text[a:b] for a, b in itertools.pairwise(offsets)]
        else:
            columns[name] = list(struct.unpack(f"<{rows}{_FORMATS[kind]}", raw[at : at + size]))
        at += (size + 7) // 8 * 8
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("lengths")
    return header["meta"], columns


def _no_constant(text: str) -> Any:
    raise ValueError(text)
