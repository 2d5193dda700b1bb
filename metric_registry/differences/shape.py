"""What readers of a definition find: the series of the final topic, and the columns of its view.

Everything here follows from the resolved definition. It is said a second time, as topologies write
it; that the two agree is shown by runs (`tests/simulation/test_registry_differences.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from metric_registry.granularities import Granularity, is_calendar, is_hopping, text_of
from metric_registry.plan import Instrument, ResolvedDefinition

HISTOGRAMS = ("histogram", "exponential_histogram")
_SUMMARY = ("count", "sum", "min", "max")
COLUMNS: dict[str, tuple[str, ...]] = {
    "histogram": (*_SUMMARY, "explicit_bounds", "bucket_counts"),
    "exponential_histogram": (
        *_SUMMARY,
        "scale",
        "zero_count",
        "zero_threshold",
        "positive_offset",
        "positive_bucket_counts",
        "negative_offset",
        "negative_bucket_counts",
    ),
}
"""Of a definition's view beside those that all views have, by instrument."""
_GROWING = ("increase", "count", "histogram_count")
"""Aggregates, over time or over points, whose sums never go down."""


@dataclass(frozen=True, slots=True)
class Series:
    """What tells streams of the final topic apart, but for the values of labels.

    That is what OpenTelemetry's data model calls identity: the scope's attributes (name, version,
    interval, zone), the metric's name and unit, its data, temporality and monotonicity, and the
    attributes of points.

    Attributes:
        zone: Empty for UTC.
        temporality: Empty for gauges.
    """

    name: str
    version: str
    interval: str
    zone: str
    unit: str
    data: Instrument
    temporality: str
    monotonic: bool
    labels: tuple[str, ...]


def series_of(one: ResolvedDefinition, size: Granularity) -> Series | None:
    """The series of a granularity; None: there are none on the final topic."""
    data = one.instrument
    if not one.publish_final or (is_hopping(size) and data in HISTOGRAMS):
        return None
    if is_hopping(size):
        data = "gauge"  # what overlaps cannot be added up
    growing = (one.over_points or one.over_time) in _GROWING
    return Series(
        name=one.name,
        version=one.version,
        interval=text_of(size),
        zone=zone_of(one, size),
        unit=one.unit,
        data=data,
        temporality="" if data == "gauge" else one.publish_temporality,
        monotonic=data == "sum" and growing and one.publish_late == "drop",
        labels=one.group_by,
    )


def zone_of(one: ResolvedDefinition, size: Granularity) -> str:
    """The zone whose days a granularity follows; empty for UTC, and for what follows none."""
    return one.zone if is_calendar(size) and one.zone != "UTC" else ""


def adds_up(one: ResolvedDefinition) -> bool:
    """Whether its points on the final topic are of a sum or a histogram."""
    return one.instrument != "gauge"


def is_cumulative(one: ResolvedDefinition) -> bool:
    """Whether its points on the final topic count from the start of a run."""
    return adds_up(one) and one.publish_temporality == "cumulative"


def carries(one: ResolvedDefinition) -> bool:
    """Whether its points on the final topic carry what late points have changed."""
    return one.instrument == "sum" and one.publish_late == "carry"


def contract(one: ResolvedDefinition) -> tuple[object, ...]:
    """What cannot change without every series of the definition beginning anew."""
    return one.publish_final, is_cumulative(one), carries(one), one.publish_expire_after
