"""What a derived definition is, over rows as the table holds them: plain Python, and Fractions.

Written from the README of `topologies/sink`, with nothing of the product's code.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

OVERFLOW = "otel.metric.overflow"


@dataclass(frozen=True)
class Row:
    """A row of the table, one revision of it. Times are whole seconds."""

    rollup: str
    version: str
    unit: str
    tenant: str
    resolution: int
    end: int
    labels: tuple[tuple[str, str], ...]
    value: float = math.nan
    revision: int = 1
    deleted: bool = False
    came: int = 0
    hop: int = 0
    zone: str = ""
    start: int = 0
    kind: str = ""
    count: int = 0
    sum: float = 0.0
    least: float = math.nan
    most: float = math.nan
    bounds: tuple[float, ...] = ()
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True)
class Input:
    """A definition that is read. `factor`: what its values are multiplied by."""

    name: str
    unit: str
    factor: Fraction = Fraction(1)
    summed: bool = False
    since: int | None = None


@dataclass(frozen=True)
class Derivation:
    how: str
    inputs: tuple[Input, ...]
    keep: tuple[str, ...]
    absent: str = "none"
    wait: int = 60
    parameter: float = 0.0


Key = tuple[str, int, int, str, int, tuple[tuple[str, str], ...]]
"""Tenant, resolution, hop, zone, end, labels."""


def latest(rows: list[Row]) -> list[Row]:
    """What is seen: of each row its last revision, unless that takes it away."""
    seen: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = (row.rollup, row.tenant, row.resolution, row.version, row.end, row.labels, row.hop,
               row.zone)  # fmt: skip
        if key not in seen or row.revision > seen[key].revision:
            seen[key] = row
    return [row for row in seen.values() if not row.deleted]


def derived(rows: list[Row], one: Derivation, now: int) -> dict[Key, Fraction]:
    """Every row there is, with its exact value."""
    windows: dict[tuple[str, int, int, str, int], list[Row]] = defaultdict(list)
    for row in latest(rows):
        if row.rollup in [given.name for given in one.inputs]:
            windows[row.tenant, row.resolution, row.hop, row.zone, row.end].append(row)
    found: dict[Key, Fraction] = {}
    for window, members in windows.items():
        for labels, value in _window(members, one, now):
            found[(*window, labels)] = value
    return found


def _window(
    members: list[Row], one: Derivation, now: int
) -> list[tuple[tuple[tuple[str, str], ...], Fraction]]:
    if one.how in ("mean", "share"):
        return _of_histograms(members, one)
    overflowing: set[str] = set()
    groups: dict[tuple[tuple[str, str], ...], dict[str, list[Row]]] = {}
    for row in members:
        if one.keep and OVERFLOW in dict(row.labels):
            overflowing.add(row.rollup)
            continue
        shown = tuple(pair for pair in row.labels if pair[0] in (*one.keep, "tenant"))
        groups.setdefault(shown, {}).setdefault(row.rollup, []).append(row)
    if one.keep and any(given.summed and given.name in overflowing for given in one.inputs):
        return []
    found: list[tuple[tuple[tuple[str, str], ...], Fraction]] = []
    for labels, cells in groups.items():
        numbers: list[Fraction] = []
        start = next(iter(cells.values()))[0].start
        came = max(row.came for cell in cells.values() for row in cell)
        for at, given in enumerate(one.inputs):
            rows = cells.get(given.name, [])
            if given.since is not None and start < given.since:
                break
            number = _number(rows, given)
            if not rows:
                zero = one.absent == "zero" and not (one.how == "ratio" and at == 1)
                zero = zero and given.name not in overflowing and came + one.wait <= now
                number = Fraction(0) if zero else None
            if number is None:
                break
            numbers.append(number)
        else:
            value = _combined(one.how, numbers)
            if value is not None and abs(value) < 2**1024:
                found.append((labels, value))
    return found


def _number(rows: list[Row], given: Input) -> Fraction | None:
    """None where a row is none that can be computed with."""
    if any(row.unit != given.unit or not math.isfinite(row.value) or row.kind for row in rows):
        return None
    if len({row.version for row in rows}) > 1:
        return None
    return sum((Fraction(row.value) for row in rows), Fraction(0)) * given.factor


def _combined(how: str, numbers: list[Fraction]) -> Fraction | None:
    first, *others = numbers
    if how == "ratio":
        return first / others[0] if others[0] else None
    return first + sum(others) if how == "sum" else first - sum(others)


def _of_histograms(
    members: list[Row], one: Derivation
) -> list[tuple[tuple[tuple[str, str], ...], Fraction]]:
    (given,) = one.inputs
    found: list[tuple[tuple[tuple[str, str], ...], Fraction]] = []
    for row in members:
        if row.unit != given.unit or row.kind != "explicit" or not row.count:
            continue
        if one.how == "mean":
            if math.isfinite(row.sum):
                found.append((row.labels, Fraction(row.sum) / row.count * given.factor))
        elif one.parameter in row.bounds:
            below = sum(row.buckets[: row.bounds.index(one.parameter) + 1])
            found.append((row.labels, Fraction(below, row.count) * given.factor))
    return found


def interpolated(row: Row, q: float) -> Fraction | None:
    """Prometheus' `histogram_quantile` of an explicit histogram: linear within the bucket in which
    the rank lies, minimum and maximum at the open ends."""
    rank, below = Fraction(q) * row.count, 0
    for at, count in enumerate(row.buckets):
        if count and below + count >= rank:
            low = row.bounds[at - 1] if at else row.least
            high = row.bounds[at] if at < len(row.bounds) else row.most
            low = min(0.0, high) if math.isnan(low) else low
            high = low if math.isnan(high) else high
            value = Fraction(low) + (rank - below) / count * (Fraction(high) - Fraction(low))
            for bound, choose in ((row.least, max), (row.most, min)):
                value = value if math.isnan(bound) else choose(value, Fraction(bound))
            return value
        below += count
    return None
