"""CSV files of samples: one metric a file, or a column that names the metric of each row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidemill.traffic.requests import Sample
from topologies.load.config import LoadError, Naming
from topologies.load.naming import name_of
from topologies.load.rows import parse_time, parse_value

_TIMES = ("timestamp", "time", "ts", "date", "datetime")
_VALUES = ("value", "val")
_METRICS = ("metric_name", "metric", "__name__")
_ONE_OF_A_KIND = ("labels_raw",)
"""Columns that repeat what others say."""
_BLANKS = (2.0**31, 2.0**47, 2.0**63)
"""DCGM's markers of a sample that is missing (dcgm_structs.h, `DCGM_INT32_BLANK` and others) lie at
these, or at most `_BLANK_KINDS` below."""
_BLANK_KINDS = 16


class NoSamples(ValueError):
    """The head of a CSV file does not say where its samples are."""


@dataclass(slots=True)
class Rows:
    """How many rows of a file hold a sample, and why the first of the others do not."""

    taken: int = 0
    left_out: int = 0
    blank: int = 0
    first: str = ""


def is_samples(head: str) -> bool:
    """Whether the first line of a file names a column of times and one of values."""
    names = [name.strip().lower() for name in head.lstrip("\ufeff").split(",")]
    return any(n in _TIMES for n in names) and any(n in _VALUES for n in names)


def samples_of(path: Path, rows: Rows) -> Iterator[Sample]:
    """The samples of a file, in its order; rows without one are counted in `rows`.

    Raises:
        NoSamples: Neither a column nor the file's name says which metric it is.
        OSError: It cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        reader = csv.reader(lines)
        head = [name.strip().removeprefix("\ufeff") for name in next(reader, list[str]())]
        columns = _Columns.of(path, head)
        for row in reader:
            if row:
                sample = _sample(path, reader.line_num, row, columns, rows)
                if sample is not None:
                    yield sample


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where what is: indexes of columns; `named` is what the file's name says."""

    time: int
    value: int
    metric: int | None
    attributes: tuple[tuple[str, int], ...]
    named: Sample

    @classmethod
    def of(cls, path: Path, head: list[str]) -> _Columns:
        lower = [name.lower() for name in head]
        at = {name: index for index, name in reversed([*enumerate(lower)])}
        time = next(at[name] for name in _TIMES if name in at)
        value = next(at[name] for name in _VALUES if name in at)
        metric = next((at[name] for name in _METRICS if name in at), None)
        used = {time, value, metric}
        attributes = tuple(
            (name, index)
            for index, name in enumerate(head)
            if index not in used and name and name not in _ONE_OF_A_KIND
        )
        named = Sample("", "", (), (), 0, 0.0)
        if metric is None:
            try:
                found = name_of(path.name, Naming())
            except LoadError as error:
                said = f"{error}; or have a column `metric_name`"
                raise NoSamples(said.replace("give the metric's name with --metric", "")) from None
            named = Sample(found.metric, found.unit, found.resource, (), 0, 0.0)
        return cls(time, value, metric, attributes, named)


def _sample(path: Path, line: int, row: list[str], columns: _Columns, rows: Rows) -> Sample | None:
    try:
        time, value = _time(row[columns.time].strip()), parse_value(row[columns.value].strip())
        metric = columns.named.metric if columns.metric is None else row[columns.metric].strip()
        attributes = tuple((name, row[index]) for name, index in columns.attributes if row[index])
    except (ValueError, IndexError) as error:
        rows.left_out += 1
        rows.first = rows.first or f"{path}:{line}: {error}"
        return None
    if metric.startswith("DCGM_") and any(0 <= top - value <= _BLANK_KINDS for top in _BLANKS):
        rows.blank += 1
        return None
    rows.taken += 1
    named = columns.named
    return Sample(metric, named.unit, named.resource, attributes, time, value)


def _time(text: str) -> int:
    """As text, or as a number of seconds or parts of one, whichever puts it near our time."""
    if not text.replace(".", "", 1).isdigit():
        return parse_time(text, "iso")
    digits = len(text.partition(".")[0])
    kinds = ((11, "unix-s"), (14, "unix-ms"), (17, "unix-us"), (20, "unix-ns"))
    kind = next((name for most, name in kinds if digits <= most), "unix-ns")
    return parse_time(text, kind)  # pyright: ignore[reportArgumentType]
