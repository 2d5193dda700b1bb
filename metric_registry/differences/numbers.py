"""Whether numbers are the same as if a definition had not changed.

`same` is a promise about every point that can come; `may differ` says that some points make it so.
"""

from __future__ import annotations

from typing import Any, Literal

from metric_registry.cardinality import groups_at_most
from metric_registry.differences.shape import adds_up, carries, is_cumulative
from metric_registry.granularities import Granularity, is_calendar
from metric_registry.plan import ResolvedDefinition

Numbers = Literal["", "same", "may differ"]
"""Empty: there is nothing to compare with."""
ONE_SHARD = 4_096
"""A limit of groups that is spread over several shards leaves at least so many to each."""

_COUNTED = (
    *("sources", "patterns", "where", "attributes", "source_unit", "source_instrument"),
    *("read_unit", "unit", "keep", "over_time", "over_space", "over_points"),
)

_GROUPED = (
    *("sources", "patterns", "where", "attributes", "source_instrument", "keep", "series_limit"),
)


def in_tables(
    was: ResolvedDefinition, now: ResolvedDefinition, size: Granularity, other: Granularity
) -> Numbers:
    """Of latest revisions in the store. size, other: the granularity before and after."""
    if _horizon(was) != _horizon(now):
        return "may differ"
    return _of_points_in_time(was, now, size, other)


def on_the_final_topic(
    was: ResolvedDefinition, now: ResolvedDefinition, size: Granularity, other: Granularity
) -> Numbers:
    """Of points, one a window: what a window's first publication says."""
    if carries(was) != carries(now) or was.grace_ns != now.grace_ns:
        return "may differ"
    if carries(now) and _horizon(was) != _horizon(now):
        return "may differ"
    if (adds_up(was) or adds_up(now)) and was.publish_temporality != now.publish_temporality:
        return "may differ"
    if is_cumulative(now) and began_anew(was, now):
        return "may differ"
    return _of_points_in_time(was, now, size, other)


def groups_of_streams(was: ResolvedDefinition, now: ResolvedDefinition) -> Numbers:
    """Whether the groups that have rows are the same: of the same streams, by the same labels."""
    same = all(getattr(was, field) == getattr(now, field) for field in _GROUPED)
    return "same" if same else "may differ"


def began_anew(was: ResolvedDefinition, now: ResolvedDefinition) -> bool:
    """Whether series on the final topic know nothing of what those before have said."""
    return was.version != now.version or was.publish_expire_after != now.publish_expire_after


def most_groups(one: ResolvedDefinition) -> int | None:
    """Groups of a tenant and window at most, as far as conditions and maps bound them."""
    where: dict[str, Any] = dict(one.where)
    return groups_at_most(one.keep, where, one.attributes)


def _horizon(one: ResolvedDefinition) -> tuple[int, int]:
    """What decides which late points count: they are late by the finest windows."""
    return one.corrections_ns, one.finest


def _of_points_in_time(
    was: ResolvedDefinition, now: ResolvedDefinition, size: Granularity, other: Granularity
) -> Numbers:
    """Where every point comes in time."""
    if any(getattr(was, field) != getattr(now, field) for field in _COUNTED):
        return "may differ"
    if size != other or (is_calendar(size) and was.zone_rules != now.zone_rules):
        return "may differ"
    if was.series_limit != now.series_limit:
        known, least = most_groups(now), min(was.series_limit, now.series_limit, ONE_SHARD)
        if known is None or known > least:
            return "may differ"
    return "same"
