"""Derived rows of rows that a trial has made, by plain Python: what `registry test` compares.

The store computes them by SQL (`topologies/sink/derived.py`); the two are held against each other.
A trial is over, so nothing is waited for, and all windows are of the versions that are tested.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from metric_registry.cases.comparing import Found
from metric_registry.derived.resolved import DerivedInput, ResolvedDerived
from metric_registry.granularities import Granularity
from tidemill.trial import Row
from topologies.sink.stored import FIELDS, StoredHistogram

OVERFLOW = "otel.metric.overflow"
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Window:
    """The rows of a tenant's window: by group, then by input; and whose groups overflow."""

    groups: dict[Labels, dict[str, list[Found]]] = field(
        default_factory=dict[Labels, dict[str, list[Found]]]
    )
    beyond: set[str] = field(default_factory=set[str])


def derived_rows(one: ResolvedDerived, rows: Iterable[Row]) -> list[Found]:
    """The rows of a derived definition, of the latest revisions of its inputs' rows."""
    latest: dict[tuple[str, Any], Row] = {}
    for row in rows:
        latest[row.definition, row.found.key] = row
    there = [row for row in latest.values() if not row.found.deleted]
    if one.kind:
        return [made for row in there for made in _of_histogram(one, row.found)]
    windows: dict[tuple[Granularity, int, str], _Window] = defaultdict(_Window)
    for name, found in there:
        window = windows[found.granularity, found.end, found.labels.get("tenant", "")]
        if one.keep and OVERFLOW in found.labels:
            window.beyond.add(name)
            continue
        kept = {key: text for key, text in found.labels.items() if key in one.group_by}
        group = window.groups.setdefault(tuple(sorted(kept.items())), {})
        group.setdefault(name, []).append(found)
    return [
        _row(size, end, dict(labels), value)
        for (size, end, _), window in windows.items()
        for labels, value in _of_window(one, window)
    ]


def _row(size: Granularity, end: int, labels: Mapping[str, str], value: float) -> Found:
    return Found(size, end, labels, value, points=0, late=0, revision=1)


def _of_window(one: ResolvedDerived, window: _Window) -> Iterator[tuple[Labels, float]]:
    if one.keep and any(given.summed and given.name in window.beyond for given in one.inputs):
        return
    for labels, cells in window.groups.items():
        numbers = [
            _number(one, at, cells.get(given.name, ()), window)
            for at, given in enumerate(one.inputs)
        ]
        known = [number for number in numbers if number is not None]
        value = _combined(one, known) if len(known) == len(numbers) else None
        if value is not None and (rounded := _rounded(value)) is not None:
            yield labels, rounded


def _number(
    one: ResolvedDerived, at: int, rows: Sequence[Found], window: _Window
) -> Fraction | None:
    """What an input counts as in a group; None: that is not known."""
    given = one.inputs[at]
    if not rows:
        divisor = one.how == "ratio" and at == 1
        known = one.absent == "zero" and not divisor and given.name not in window.beyond
        return Fraction(0) if known else None
    if not all(math.isfinite(row.value) for row in rows):
        return None
    return _scaled(sum((Fraction(row.value) for row in rows), Fraction(0)), given)


def _combined(one: ResolvedDerived, numbers: Sequence[Fraction]) -> Fraction | None:
    first, *others = numbers
    if one.how == "ratio":
        return first / others[0] if others[0] else None
    return first + sum(others) if one.how == "sum" else first - sum(others)


def _scaled(value: Fraction, given: DerivedInput) -> Fraction:
    return value * given.p / given.q


def _rounded(value: Fraction) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _of_histogram(one: ResolvedDerived, found: Found) -> Iterator[Found]:
    (given,) = one.inputs
    held = _stored(one.kind, found.histogram or {})
    if not held.count:
        return
    exact: Fraction | None = None
    if one.how == "quantile" and one.parameter is not None:
        exact = _finite(held.quantile(one.parameter))
    elif one.how == "mean" and (total := _finite(held.sum)) is not None:
        exact = total / held.count
    elif one.how == "share" and one.parameter in held.explicit_bounds:
        below = held.bucket_counts[: held.explicit_bounds.index(one.parameter) + 1]
        exact = Fraction(sum(below), held.count)
    value = None if exact is None else _rounded(_scaled(exact, given))
    if value is not None:
        yield _row(found.granularity, found.end, found.labels, value)


def _finite(value: float) -> Fraction | None:
    return Fraction(value) if math.isfinite(value) else None


def _stored(kind: str, said: Mapping[str, Any]) -> StoredHistogram:
    """A histogram by OTLP's names, as the table has it."""
    fields: dict[str, Any] = dict.fromkeys(FIELDS, 0)
    fields |= {"zero_threshold": 0.0, "explicit_bounds": (), "bucket_counts": ()}
    fields |= {name: value for name, value in said.items() if name in fields}
    for sign in ("positive", "negative"):
        side: Mapping[str, Any] = said.get(sign) or {}
        fields[f"{sign}_offset"] = side.get("offset", 0)
        fields[f"{sign}_bucket_counts"] = tuple(side.get("bucket_counts", ()))
    for name in ("sum", "min", "max"):
        fields[name] = float(said.get(name, math.nan))
    for name in ("explicit_bounds", "bucket_counts"):
        fields[name] = tuple(fields[name])
    return StoredHistogram(kind, **fields)
