"""What differs between the rows that a test expects and those that were found."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from metric_registry.cases.models import Buckets, Histogram, Row
from metric_registry.cases.reading import Case
from metric_registry.cases.times import render
from metric_registry.granularities import Granularity, text_of
from metric_registry.syntax.nodes import Path
from metric_registry.values import granularity

Key = tuple[str, int, tuple[tuple[str, str], ...]]
"""Granularity, end of the window in unix ns, labels without the tenant `default`."""


@dataclass(frozen=True, slots=True)
class Found:
    """A revision of a row, as it was published.

    `end` is in unix ns; `value` is NaN where there is a histogram, by the names of OTLP.
    """

    granularity: Granularity
    end: int
    labels: Mapping[str, str]
    value: float
    points: int
    late: int
    revision: int
    deleted: bool = False
    histogram: Mapping[str, Any] | None = None

    @property
    def key(self) -> Key:
        return text_of(self.granularity), self.end, plain_labels(self.labels)


def plain_labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Labels as rows of a test have them."""
    return tuple(sorted(pair for pair in labels.items() if pair != ("tenant", "default")))


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not as it was expected. `details`: (what, expected, found)."""

    kind: str
    """`missing`, `unexpected` or `differs`."""
    row: str
    path: Path
    details: tuple[tuple[str, str, str], ...] = ()


def compare(case: Case, found: Sequence[Found]) -> list[Difference]:
    """What differs, in the order of the test; `found`: all revisions, in order."""
    history: dict[Key, list[Found]] = {}
    for one in found:
        history.setdefault(one.key, []).append(one)
    differences: list[Difference] = []
    start = case.document.start
    for size, rows in case.document.expect.items():
        text = text_of(granularity(size))
        keys: set[Key] = set()
        for at, row in enumerate(rows):
            key = text, row.end.after(start), plain_labels(row.labels)
            keys.add(key)
            difference = _compared(row, history.get(key, []), ("expect", size, at), key, start)
            differences += [] if difference is None else [difference]
        for key in sorted(set(history) - keys):
            latest = history[key][-1]
            if key[0] == text and not latest.deleted:
                described = f"{described_key(key, start)}: {described_row(latest)}"
                differences.append(Difference("unexpected", described, ("expect", size)))
    return differences


def _compared(
    row: Row, revisions: Sequence[Found], path: Path, key: Key, start: int
) -> Difference | None:
    named = described_key(key, start)
    chosen = [one for one in revisions if row.revision in (None, one.revision)][-1:]
    if not chosen or (row.revision is None and chosen[0].deleted and not row.deleted):
        numbers = ", ".join(str(one.revision) for one in revisions)
        why = ()
        if chosen:
            why = (("row", "there", f"taken away by revision {chosen[0].revision}"),)
        elif revisions:
            why = (("revision", str(row.revision), numbers),)
        return Difference("missing", named, path, why)
    details = tuple(_details(row, chosen[0]))
    return Difference("differs", named, path, details) if details else None


def _details(row: Row, found: Found) -> Iterator[tuple[str, str, str]]:
    if row.deleted != found.deleted:
        words = {True: "taken away", False: "there"}
        yield "row", words[row.deleted], words[found.deleted]
        return
    if row.value is not None:
        if found.histogram is not None:
            yield "value", shown(row.value), "a histogram"
        elif not equal(row.value, found.value, row.within):
            yield "value", _with(row), shown(found.value)
    if row.histogram is not None:
        if found.histogram is None:
            yield "histogram", "a histogram", shown(found.value)
        else:
            yield from _histogram(row.histogram, found.histogram)
    for name in ("points", "late"):
        expected, actual = getattr(row, name), getattr(found, name)
        if expected is not None and expected != actual:
            yield name, str(expected), str(actual)


def _with(row: Row) -> str:
    text = shown(row.value)
    if row.within is None:
        return text
    much, relative = row.within
    return f"{text} within {f'{much * 100:g}%' if relative else f'{much:g}'}"


def equal(expected: float, found: float | str, within: tuple[float, bool] | None = None) -> bool:
    """Whether a published double is what was written, to the bit; or as near as allowed.

    An integer that no double is equals none.
    """
    actual = float(found)
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    if within is None or math.isinf(expected) or math.isinf(actual):
        exact = float(expected)
        return exact == expected and struct.pack("<d", exact) == struct.pack("<d", actual)
    much, relative = within
    allowed = Fraction(much) * (abs(Fraction(expected)) if relative else 1)
    return abs(Fraction(expected) - Fraction(actual)) <= allowed


def _histogram(expected: Histogram, found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in Histogram.model_fields:
        wanted: Any = getattr(expected, name)
        if wanted is None:
            continue
        actual: Any = found.get(name)
        if isinstance(wanted, Buckets):
            wanted = wanted.model_dump()
        if not _same(wanted, actual):
            yield f"histogram.{name}", shown(wanted), shown(actual)


def _same(expected: Any, found: Any) -> bool:
    if found is None:
        return False
    if isinstance(expected, list):
        wanted = cast("list[Any]", expected)
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    if isinstance(expected, dict):
        fields = cast("dict[str, Any]", expected)
        return all(_same(value, found[name]) for name, value in fields.items())
    return equal(expected, found)


def shown(value: Any) -> str:
    """A value as a test writes it: numbers by the shortest text that is exactly them."""
    if value is None:
        return "none"
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan"
        return repr(value).replace("inf", ".inf")
    if isinstance(value, list):
        return f"[{', '.join(map(shown, cast('list[Any]', value)))}]"
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return f"{{{', '.join(f'{name}: {shown(one)}' for name, one in fields.items())}}}"
    return str(value)


def described_key(key: Key, start: int) -> str:
    """A row's window and group."""
    size, end, labels = key
    group = ", ".join(f"{name}: {value}" for name, value in labels)
    return f"{size} to {render(end - start)} {{{group}}}"


def described_row(found: Found) -> str:
    """What a row says."""
    value = shown(found.value)
    if found.histogram is not None:
        value = f"histogram {shown(dict(found.histogram))}"
    return f"{value}, points {found.points}, late {found.late}, revision {found.revision}"
