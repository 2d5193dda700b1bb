"""What is checked before a state is touched."""

from __future__ import annotations

from streams.aggregates.port import I64
from streams.kernels.tally import inside


def check_rows(rows: I64, n: int, k: int) -> None:
    """Refuse row numbers i64[k] that are not in 0..n-1.

    Raises:
        ValueError: There are not k of them.
        IndexError: One is outside.
    """
    if len(rows) != k:
        raise ValueError(f"{len(rows)} rows are named for {k} that join them; give one for each")
    if not inside(rows, n):
        raise IndexError(f"rows {rows.min()} to {rows.max()} are named; there are 0 to {n - 1}")
