"""Aggregates, one file each: exact, and the same to the bit in any order."""

from streams.aggregates.all import All
from streams.aggregates.any import Any
from streams.aggregates.count import Count
from streams.aggregates.distinct import DistinctCount
from streams.aggregates.encoding import UnreadableState
from streams.aggregates.explicit import ExplicitHistogram
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.first import First
from streams.aggregates.heaviest import TopK
from streams.aggregates.histogram_count import HistogramCount
from streams.aggregates.histogram_mean import HistogramMean
from streams.aggregates.histogram_sum import HistogramSum
from streams.aggregates.increase import Increase
from streams.aggregates.last import Last
from streams.aggregates.max import Max
from streams.aggregates.mean import Mean
from streams.aggregates.min import Min
from streams.aggregates.port import Aggregate, Points
from streams.aggregates.quantile import Quantile
from streams.aggregates.rate import Rate
from streams.aggregates.registry import (
    DuplicateAggregate,
    NotAnAggregate,
    UnknownAggregate,
    aggregate,
    close,
    families,
    made,
    names,
    register,
    register_family,
    shipped,
)
from streams.aggregates.stddev import StandardDeviation
from streams.aggregates.sum import Sum
from streams.aggregates.variance import Variance

__all__ = [
    "Aggregate",
    "DuplicateAggregate",
    "NotAnAggregate",
    "Points",
    "UnknownAggregate",
    "UnreadableState",
    "aggregate",
    "families",
    "made",
    "names",
    "register",
    "register_family",
    "shipped",
]

for _each in (
    Count(),
    Sum(),
    Mean(),
    Min(),
    Max(),
    First(),
    Last(),
    Variance(),
    Variance(sample=True),
    StandardDeviation(),
    StandardDeviation(sample=True),
    Increase(),
    Rate(),
    Any(),
    All(),
    ExplicitHistogram(),
    ExponentialHistogram(),
    HistogramCount(),
    HistogramMean(),
    HistogramSum(),
    Quantile("p50", 0.5),
    Quantile("p90", 0.9),
    Quantile("p99", 0.99),
    DistinctCount(),
    TopK(),
):
    register(_each)

register_family("quantile", lambda q: Quantile("quantile", q))
register_family("distinct_count", lambda lg_k: DistinctCount(lg_k=lg_k))
register_family("top_k", lambda k: TopK(k=k))
register_family("explicit_histogram", lambda bounds: ExplicitHistogram(bounds=bounds))
register_family("exponential_histogram", lambda size: ExponentialHistogram(max_size=size))
close()
