"""CSV rows to samples, and rows that are none to where they stand and why (C)."""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from topologies.load.config import Columns, LoadError, TimeFormat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS = re.compile(r"(.*[.,]\d{6})(\d{1,3})(\D.*|)")
_LATEST_NS = 2**63 - 1
Attributes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What tells series apart within a load: the resource, the metric, the points' attributes."""

    resource: Attributes
    metric: str
    unit: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that holds no sample: where it stands (the line it ends on), as written, and why."""

    file: str
    line: int
    text: bytes
    reason: str


def _times() -> array[int]:
    return array("q")


def _values() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Samples:
    """The samples of one series: unix nanoseconds and values, as long as each other."""

    times: array[int] = field(default_factory=_times)
    values: array[float] = field(default_factory=_values)


class _Lines:
    """Hands lines to the CSV reader and remembers those of the row it is at."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.taken.append(line)
        return line


def read_rows(
    file: str,
    lines: Iterable[str],
    columns: Columns,
    key_of: Callable[[Attributes, Attributes], SeriesKey],
    into: dict[SeriesKey, Samples],
) -> tuple[int, list[BadRow]]:
    """Add a file's samples to `into`; how many rows there were, and the bad ones.

    `lines` are decoded with surrogateescape; `key_of` makes a series of (resource attributes, point
    attributes) of a row. Raises LoadError when the head lacks a column.
    """
    source = _Lines(lines)
    reader = csv.reader(source)
    head = _next_row(reader)
    if not isinstance(head, list):
        raise LoadError(f"{file} is empty: its first line must name the columns")
    at = _column_indexes(file, head, columns)
    rows, bad = 0, list[BadRow]()
    while True:
        source.taken.clear()
        row = _next_row(reader)
        if row is None:
            return rows, bad
        if row == []:
            continue  # a blank line
        rows += 1
        try:
            if isinstance(row, csv.Error):
                raise ValueError(str(row))
            time, value, resource, attributes = _sample(row, len(head), at, columns)
        except ValueError as error:
            text = "".join(source.taken).encode("utf-8", "surrogateescape")
            bad.append(BadRow(file, reader.line_num, text, str(error)))
            continue
        samples = into.setdefault(key_of(resource, attributes), Samples())
        samples.times.append(time)
        samples.values.append(value)


def parse_time(text: str, kind: TimeFormat) -> int:
    """Unix nanoseconds of a time as written; UTC where no zone is given. Raises ValueError."""
    if kind == "iso":
        nanos = 0
        if finer := _NANOS.fullmatch(text):
            text = finer[1] + finer[3]
            nanos = int(finer[2].ljust(3, "0"))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text[:40]!r} is no time") from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        past = moment - _EPOCH
        time = ((past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds) * 1000 + nanos
    else:
        digits = {"unix-s": 9, "unix-ms": 6, "unix-us": 3, "unix-ns": 0}[kind]
        whole, _, fraction = text.partition(".")
        if not re.fullmatch(r"\d{1,19}", whole, re.ASCII) or not re.fullmatch(
            rf"\d{{0,{digits}}}0*", fraction, re.ASCII
        ):
            raise ValueError(f"{text[:40]!r} is no time in {kind}")
        time = int(whole) * 10**digits + int(fraction[:digits].ljust(digits, "0") or "0")
    if not 0 < time <= _LATEST_NS:
        raise ValueError(f"{text[:40]!r} is not between 1970 and 2262")
    return time


def parse_value(text: str) -> float:
    """A finite number as written. Raises ValueError."""
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no number") from error
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"{text[:40]!r} is no finite number")
    return value


def _next_row(reader: Iterator[list[str]]) -> list[str] | csv.Error | None:
    try:
        return next(reader)
    except StopIteration:
        return None
    except csv.Error as error:
        return error


def _column_indexes(file: str, head: list[str], columns: Columns) -> dict[str, int]:
    names = [name.strip().removeprefix("\ufeff") for name in head]
    wanted = (columns.time, columns.value, *columns.attributes, *columns.resource)
    if missing := [name for name in wanted if name not in names]:
        raise LoadError(
            f"{file} has no column {', '.join(missing)}, only {', '.join(names)[:200]}: "
            "say which columns hold what with --time, --value and --attribute"
        )
    return {name: names.index(name) for name in wanted}


def _sample(
    row: list[str], width: int, at: dict[str, int], columns: Columns
) -> tuple[int, float, Attributes, Attributes]:
    if len(row) != width:
        raise ValueError(f"it has {len(row)} fields, the head {width}")
    time = parse_time(row[at[columns.time]].strip(), columns.time_format)
    value = parse_value(row[at[columns.value]].strip())
    return time, value, _given(row, at, columns.resource), _given(row, at, columns.attributes)


def _given(row: list[str], at: dict[str, int], names: tuple[str, ...]) -> Attributes:
    given = tuple((name, row[at[name]]) for name in names if row[at[name]])
    for name, text in given:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"the field {name} is not UTF-8") from error
    return given
