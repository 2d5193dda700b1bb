"""Histograms as they are read back from the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.aggregates.explicit import ExplicitHistogram, ExplicitPoints
from streams.aggregates.exponential import ExponentialHistogram
from streams.aggregates.exponential_points import ExponentialPoints


@dataclass(frozen=True, slots=True)
class StoredHistogram:
    """One histogram, by the names of OTLP; NaN: not known. `kind`: explicit, exponential."""

    kind: str
    count: int
    sum: float
    min: float
    max: float
    scale: int
    zero_count: int
    zero_threshold: float
    positive_offset: int
    negative_offset: int
    explicit_bounds: tuple[float, ...]
    bucket_counts: tuple[int, ...]
    positive_bucket_counts: tuple[int, ...]
    negative_bucket_counts: tuple[int, ...]

    def quantile(self, q: float) -> float:
        """As `streams.aggregates` defines it; NaN of no values.

        Raises:
            ValueError: q is not within 0 and 1.
        """
        if self.kind == "explicit":
            aggregate = ExplicitHistogram(bounds=self.explicit_bounds)
            return float(aggregate.finish(aggregate.load(self._explicit())).quantile(q)[0])
        most = max(4, len(self.positive_bucket_counts), len(self.negative_bucket_counts))
        shape = ExponentialHistogram(max_size=most)
        return float(shape.finish(shape.load(self._exponential())).quantile(q)[0])

    def said(self) -> dict[str, Any]:
        """Its fields by name, without those of the other kind."""
        names = ["count", "sum", "min", "max"]
        if self.kind == "explicit":
            names += ["explicit_bounds", "bucket_counts"]
        else:
            names += ["scale", "zero_count", "zero_threshold", "positive_offset"]
            names += ["positive_bucket_counts", "negative_offset", "negative_bucket_counts"]
        found = {name: getattr(self, name) for name in names}
        unknown = [name for name in ("sum", "min", "max") if np.isnan(found[name])]
        return found | dict.fromkeys(unknown)

    def _moments(self) -> dict[str, Any]:
        absent = int(np.isnan(self.sum))  # what else is not known is NaN
        return {
            "counts": np.array([self.count], np.int64),
            "sums": np.array([self.sum]),
            "lowest": np.array([self.min]),
            "highest": np.array([self.max]),
            "absent": np.array([absent], np.uint8),
        }

    def _explicit(self) -> ExplicitPoints:
        bounds, buckets = self.explicit_bounds, self.bucket_counts
        return ExplicitPoints(
            **self._moments(),
            bound_offsets=np.array([0, len(bounds)], np.int64),
            bounds=np.array(bounds, np.float64),
            bucket_offsets=np.array([0, len(buckets)], np.int64),
            bucket_counts=np.array(buckets, np.int64),
        )

    def _exponential(self) -> ExponentialPoints:
        return ExponentialPoints(
            **self._moments(),
            zero_counts=np.array([self.zero_count], np.int64),
            zero_thresholds=np.array([self.zero_threshold]),
            scales=np.array([self.scale], np.int64),
            positive_firsts=np.array([self.positive_offset], np.int64),
            positive_offsets=np.array([0, len(self.positive_bucket_counts)], np.int64),
            positive_counts=np.array(self.positive_bucket_counts, np.int64),
            negative_firsts=np.array([self.negative_offset], np.int64),
            negative_offsets=np.array([0, len(self.negative_bucket_counts)], np.int64),
            negative_counts=np.array(self.negative_bucket_counts, np.int64),
        )


FIELDS = tuple(StoredHistogram.__dataclass_fields__)[1:]
"""The columns of the table that it is made of, behind `histogram`, its kind."""


def stored(values: Sequence[Any]) -> StoredHistogram | None:
    """The histogram of a row: its kind and FIELDS; None if its result is a number."""
    kind, *fields = values
    if not kind:
        return None
    given: dict[str, Any] = dict(zip(FIELDS, fields, strict=True))
    for name in _LISTS:
        given[name] = tuple(given[name])
    return StoredHistogram(str(kind), **given)


_LISTS = (
    "explicit_bounds", "bucket_counts", "positive_bucket_counts", "negative_bucket_counts",
)  # fmt: skip
