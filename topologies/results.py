"""What rows are published as: a number each, or a histogram.

Beside the column of numbers there may be one of histograms: the body of each row's OTLP data point
(`encodings.otlp_histograms`), empty where the result is a number, and there is no column where all
are numbers. The number of a histogram is NaN. Two results are equal if their bytes are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from metric_registry.over_points import result_of
from streams.aggregates import made
from streams.aggregates.explicit import ExplicitHistograms
from streams.aggregates.exponential import ExponentialHistograms
from streams.batch import BytesColumn, picked
from streams.errors import Fatal
from topologies.encodings.otlp_histograms import bodies
from topologies.states import States, merged_piece

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Histograms = BytesColumn | None
"""One body a row; None: every row's result is a number."""

_MESSAGES: dict[str, Any] = {
    "histogram": HistogramDataPoint,
    "exponential_histogram": ExponentialHistogramDataPoint,
}
HISTOGRAMS = tuple(_MESSAGES)
"""Instruments whose results are histograms."""


def finished(states: States, rows: int) -> tuple[F64, npt.NDArray[np.bool_], Histograms]:
    """The number of each row f64[rows], which rows have a result, and the histograms."""
    out, has = np.zeros(rows), np.zeros(rows, np.bool_)
    found: list[tuple[I64, BytesColumn]] = []
    for spelling, pieces in states.items():
        piece = merged_piece(spelling, pieces)
        result = made(spelling).finish(piece.state)
        if len(result) != len(piece.rows):
            raise Fatal(f"{spelling!r} finished {len(piece.rows)} rows as {len(result)} values",
                        "Correct the aggregate; nothing acknowledged is lost")  # fmt: skip
        has[piece.rows] = True
        if isinstance(result, ExplicitHistograms | ExponentialHistograms):
            out[piece.rows] = np.nan
            found.append((piece.rows, bodies(result)))
        else:
            out[piece.rows] = result
    return out, has, _placed(found, rows) if found else None


def _placed(found: list[tuple[I64, BytesColumn]], rows: int) -> BytesColumn:
    """Bodies of some rows as a column of all; those of one aggregate come by rows ascending."""
    if len(found) == 1 and len(found[0][0]) == rows:
        return found[0][1]
    whose = np.concatenate([each for each, _ in found])
    every = BytesColumn.join([*(column for _, column in found), BytesColumn.of([b""])])
    order = np.full(rows, len(whose), np.int64)
    order[whose] = np.arange(len(whose))
    return every.take(order)


def nothing(over_points: str) -> bytes:
    """The body of a histogram of no values; empty where the result is a number."""
    if result_of(over_points) not in HISTOGRAMS:
        return b""
    aggregate = made(over_points)
    return bodies(aggregate.finish(aggregate.empty(1)))[0]


def taken(histograms: Histograms, chosen: npt.NDArray[np.integer]) -> Histograms:
    """Those of the rows at these indexes."""
    return None if histograms is None else histograms.take(chosen)


def joined(parts: Iterable[tuple[Histograms, int]]) -> Histograms:
    """Those of tables (each with its number of rows), one after the other."""
    chosen = list(parts)
    if all(histograms is None for histograms, _ in chosen):
        return None
    return BytesColumn.join(
        [BytesColumn(np.zeros(n + 1, np.int64), b"") if h is None else h for h, n in chosen]
    )


def message_of(instrument: str, body: bytes) -> Any:
    """The data point, of opentelemetry-proto, that has this body."""
    return _MESSAGES[instrument].FromString(body)


def repeated(bodies_of: list[bytes], whose: npt.NDArray[np.integer]) -> Histograms:
    """One of these bodies a row, by number; None where all are empty."""
    if not any(bodies_of):
        return None
    every = BytesColumn.of(bodies_of)
    data = np.frombuffer(every.data, np.uint8).copy()
    return picked(data, every.offsets, whose.astype(np.int64))


def differ(histograms: Histograms, others: Histograms, places: I64) -> npt.NDArray[np.bool_] | bool:
    """Whether each row's histogram is another than that at places[row] of others; -1: no matter."""
    if others is None:
        return False if histograms is None else np.diff(histograms.offsets) > 0
    if histograms is None:
        return np.append(np.diff(others.offsets), 0)[places] > 0
    ours = histograms
    return np.array(
        [at >= 0 and ours[row] != others[at] for row, at in enumerate(places.tolist())], np.bool_
    )
