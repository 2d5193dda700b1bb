"""The codecs of the DSL that read text."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence

from streams.codecs import Csv
from streams.errors import Rejected
from streams.schema import Schema, f64, i64, string
from streams.task.processor import InputRecord
from tests.fuzz.subject import Outcome, shown

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
Row = tuple[str, int, float]


class CsvLines:
    """Rows of text, integers and doubles; the reference is Python's csv module, cell by cell."""

    def corpus(self) -> list[bytes]:
        return [
            b'a,1,0.5\r\n"b ""c""",-22,1e300\r\n\r\n,+3,.25\n',
            '"é,\n",9223372036854775807,"7."\n€,0,-0.0\rx,12'.encode(),
            b"s,1,2\nt,-9223372036854775808,5e-324\n" * 3,
        ]

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        codec = Csv(Schema(s=string, n=i64, x=f64))
        for message in messages:
            theirs, failed = _by_csv(message)
            try:
                found = codec.decode([InputRecord(0, 0, None, message)])
            except Rejected:
                if theirs:
                    differences.append(shown(message, "rejected", theirs))
                continue
            lists = [values.to_list() for values in found.columns.values()]
            ours: list[Row] = list(zip(*lists, strict=True))
            accepted += bool(ours)
            if failed:  # it goes no further than the first malformed line
                ours = ours[: len(theirs)]
            if list(map(repr, ours)) != list(map(repr, theirs)):
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)


def _by_csv(message: bytes) -> tuple[list[Row], bool]:
    """The rows that fit, and whether the module refused one. A byte is a character."""
    reader = csv.reader(io.StringIO(message.decode("latin-1"), newline=""), strict=True)
    rows: list[Row] = []
    try:
        for cells in reader:
            row = _row(cells)
            if row is not None:
                rows.append(row)
    except csv.Error:
        return rows, True
    return rows, False


def _row(cells: list[str]) -> Row | None:
    if len(cells) != 3 or not _INTEGER.fullmatch(cells[1]):
        return None
    digits = cells[1].lstrip("+-").lstrip("0")[:20] or "0"  # Python reads no 4,300 of them
    number = -int(digits) if cells[1].startswith("-") else int(digits)
    if not -(2**63) <= number < 2**63:
        return None
    try:
        text = cells[0].encode("latin-1").decode()
    except UnicodeDecodeError:
        return None
    if _NUMBER.fullmatch(cells[2]):
        return text, number, float(cells[2])
    word = cells[2].lower()
    if word.lstrip("+-") in ("nan", "inf", "infinity") and len(word.lstrip("+-")) >= len(word) - 1:
        return text, number, math.nan if "nan" in word else float(word)
    return None
