"""Windows of event time, OpenTelemetry's way: (start, end], ends on multiples of the size.

A point at exactly 10:00:10 belongs to the ten seconds that end there. Kafka Streams' windows are
[start, end) instead; the difference is in this file and nowhere else. All times are unix
nanoseconds, all sizes nanoseconds. (OpenTelemetry metrics data model, "Temporality".)
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Times = TypeVar("Times", int, npt.NDArray[np.int64])

SECOND = 1_000_000_000
EARLIEST = int(np.iinfo(np.int64).min)
LATEST = int(np.iinfo(np.int64).max)


def window_end(time: Times, size: int) -> Times:
    """The end of the window of this size that holds the time."""
    return -(-time // size) * size


def last_complete(time: int, size: int) -> int:
    """The greatest window end that is not after the time; EARLIEST stays EARLIEST."""
    if time in (EARLIEST, LATEST):
        return time
    return time // size * size


def rfc3339(time: int) -> str:
    """Unix ns in UTC, to the second below: 2026-11-21T20:33:50Z."""
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
