"""What every input encoding becomes: columns of data points.

One micro-batch of messages is one :class:`Points`. Its arrays are views of a scanner's reused
memory: they hold until that scanner's next call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Kinds of metric, the lower bits of ``Points.kind``; MONOTONIC is or-ed to the sums, DELTA or
# CUMULATIVE to the histograms.
GAUGE, SUM_DELTA, SUM_CUMULATIVE, SUM_UNSPECIFIED = 0, 1, 2, 3
HISTOGRAM, EXPONENTIAL_HISTOGRAM, SUMMARY, NO_DATA = 4, 5, 6, 7
KIND_MASK, MONOTONIC, DELTA, CUMULATIVE = 7, 8, 16, 32
KIND_NAMES = (
    "gauge",
    "sum_delta",
    "sum_cumulative",
    "sum_unspecified",
    "histogram",
    "exponential_histogram",
    "summary",
    "no_data",
)

# Bits of ``Points.flags``.
IS_INT, NO_RECORDED_VALUE, NO_VALUE = 1, 2, 4

# Columns of ``Points.metrics``, a row a metric of the micro-batch.
(
    METRIC_MESSAGE,
    METRIC_KIND,
    METRIC_POINTS,
    RESOURCE_METRICS_BEGIN,
    RESOURCE_METRICS_END,
    SCOPE_METRICS_BEGIN,
    SCOPE_METRICS_END,
    METRIC_BEGIN,
    METRIC_END,
) = range(9)
METRIC_COLUMNS = 9
AGAIN = 6


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is not used at all: its index in the micro-batch, a code, and why."""

    message: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Points:
    """The data points of a micro-batch, in the order of its bytes; n rows. Of summaries: none.

    ``fingerprint`` u64[2, n]: keyed hash of tenant, resource, scope, metric and point attributes
    as they were encoded; a cache key, never an identity.
    ``time``, ``start`` i64[n]: unix nanoseconds, 0 if absent.
    ``value`` i64[n]: the bits of a double, or with ``IS_INT`` the integer itself; 0 of histograms.
    ``kind``, ``flags`` u8[n]: see the constants of this module.
    ``message``, ``metric`` i32[n]: index of the message, and row of ``metrics``.
    ``begin``, ``end`` i32[n]: where the data point's bytes are in ``buffer``.
    ``metrics`` i64[m, METRIC_COLUMNS]: every metric, also those of kinds that have no rows here
    (summaries: recognised, counted, not aggregated), with its byte ranges.
    ``malformed``: the messages of which nothing is in the columns.
    ``slot`` i32[n]: of points of messages that were known by heart; -1 for the others. None: no
    message was. Points that have one have no fingerprint, no metric (-1) and no bytes (0 to 0).
    ``again`` i64[k, AGAIN]: the messages that are worth knowing by heart, in order: index, begin
    and end in ``buffer``, what they are looked up by, the two seeds of their tenant.
    """

    messages: int
    tenants: tuple[str, ...]
    buffer: NDArray[np.uint8]
    fingerprint: NDArray[np.uint64]
    time: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.int64]
    kind: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    message: NDArray[np.int32]
    metric: NDArray[np.int32]
    begin: NDArray[np.int32]
    end: NDArray[np.int32]
    metrics: NDArray[np.int64]
    malformed: tuple[Malformed, ...]
    slot: NDArray[np.int32] | None = None
    again: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.time.shape[0]

    def doubles(self) -> NDArray[np.float64]:
        """The values as doubles; integers above 2**53 are rounded."""
        integers = (self.flags & IS_INT) != 0
        return np.where(integers, self.value.astype(np.float64), self.value.view(np.float64))

    def not_aggregated(self) -> NDArray[np.int64]:
        """The rows of ``metrics`` whose points are counted but not in the columns."""
        kinds: NDArray[Any] = self.metrics[:, METRIC_KIND] & KIND_MASK
        return self.metrics[kinds == SUMMARY]


def kind_name(kind: int) -> str:
    """A kind in words, without whether it is monotonic."""
    name = KIND_NAMES[kind & KIND_MASK]
    if kind & KIND_MASK in (HISTOGRAM, EXPONENTIAL_HISTOGRAM):
        return f"{name}_{_TEMPORALITIES.get(kind & (DELTA | CUMULATIVE), 'unspecified')}"
    return name


_TEMPORALITIES = {DELTA: "delta", CUMULATIVE: "cumulative"}
