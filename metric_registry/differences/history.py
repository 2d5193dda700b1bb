"""What a change leaves behind: base lines of counters, and windows that began before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from metric_registry.derive import Derivation
from metric_registry.differences.numbers import most_groups
from metric_registry.differences.outcomes import Outcome
from metric_registry.granularities import Granularity, step_of, text_of
from metric_registry.plan import ResolvedDefinition

BaseLines = Literal["not needed", "known", "known of some", "from the announcement on"]
"""What increases of cumulative streams begin with. known: a definition that was there has counted
all its streams, in the same unit, finest windows, grace and corrections. of some: those that one
has counted so. The others count from their first sample after the announcement on."""
SHARDED = 8_192
"""From this limit on groups are kept shard by shard, up to a tenth more in all, and each of at most
64 shards has a row of the others."""
_SHARDS = 64


@dataclass(frozen=True, slots=True)
class Backfill:
    """Rows that a definition would have of the past, had it always been there.

    Attributes:
        seconds: So far back rows are kept, so that there could be any.
        windows: So many of them, and so many begin while raw points are kept (None: unknown).
        groups: Rows of a tenant and window at most.
        bounded_by: What bounds them.
        rows: windows times groups: rows of a tenant at most.
    """

    granularity: str
    seconds: int
    windows: int
    windows_in_log: int | None
    groups: int
    bounded_by: Literal["limits.series", "source"]
    rows: int


def base_lines(before: Iterable[ResolvedDefinition], now: ResolvedDefinition) -> BaseLines:
    """What its first increases begin with, if it is new among these."""
    if now.over_time not in ("increase", "rate") and not now.source_instrument:
        return "not needed"
    alike = [one for one in before if _same_number(one, now)]
    if any(_counts_all(one, now) for one in alike):
        return "known"
    some = any(_counts_some(one, now) for one in alike)
    return "known of some" if some else "from the announcement on"


def backfills(
    now: ResolvedDefinition, found: Iterable[Outcome], log_seconds: int | None
) -> tuple[Backfill, ...]:
    """Of the granularities whose past would be another, or is not there.

    log_seconds: how long raw points are kept.
    """
    sizes = {text_of(size): size for size in now.granularities}
    return tuple(
        _backfill(now, sizes[one.granularity], log_seconds) for one in found if _is_missed(one)
    )


def _is_missed(one: Outcome) -> bool:
    return one.rows == "begin" or (one.rows == "new version" and one.numbers == "may differ")


def _backfill(now: ResolvedDefinition, size: Granularity, log_seconds: int | None) -> Backfill:
    kept, step = dict(now.retention)[size], step_of(size)
    known, limit = most_groups(now), _limit(now.series_limit)
    groups = limit if known is None else min(known, limit)
    windows = kept // step
    return Backfill(
        granularity=text_of(size),
        seconds=kept,
        windows=windows,
        windows_in_log=None if log_seconds is None else min(windows, log_seconds // step),
        groups=groups,
        bounded_by="limits.series" if groups == limit else "source",
        rows=windows * groups,
    )


def _limit(series: int) -> int:
    """Rows of a tenant and window that a limit leaves, with those of the others."""
    if series < SHARDED:
        return series + 1
    return series + series // 10 + _SHARDS


def _same_number(one: ResolvedDefinition, now: ResolvedDefinition) -> bool:
    """Whether a stream that both count is the same number to them, in the same panes."""
    panes = (one.finest, one.grace_ns, one.corrections_ns)
    if panes != (now.finest, now.grace_ns, now.corrections_ns):
        return False
    read = (one.source_instrument, one.read_unit)
    if read != (now.source_instrument, now.read_unit):
        return False
    if now.source_instrument:
        return one.over_points == now.over_points
    return not one.over_points  # which takes no samples of cumulative streams


def _counts_some(one: ResolvedDefinition, now: ResolvedDefinition) -> bool:
    """Whether there may be streams that both count."""
    return bool({*one.sources} & {*now.sources} or one.patterns or now.patterns)


def _counts_all(one: ResolvedDefinition, now: ResolvedDefinition) -> bool:
    """Whether every stream that `now` counts is one of `one`."""
    named = {*now.sources} <= {*one.sources} and {*now.patterns} <= {*one.patterns}
    return named and one.source_unit == now.source_unit and _admits_all(one, now)


def _admits_all(one: ResolvedDefinition, now: ResolvedDefinition) -> bool:
    """Whether the conditions of `one` are met wherever those of `now` are."""
    asked = dict(now.where)
    return all(
        attribute in asked
        and set(asked[attribute]) <= set(values)
        and _made(one, attribute) == _made(now, attribute)
        for attribute, values in one.where
    )


def _made(one: ResolvedDefinition, attribute: str) -> Derivation | None:
    return next((made for made in one.attributes if made.name == attribute), None)
