"""What was noticed about cumulative streams while windows sealed: resets, gaps, overlaps, ties.

Counted a definition over `increase`, as totals and for its latest windows, when a pane seals: so
from the samples that were there by its sealing record, which makes the account a function of the
log. What comes late changes numbers, not this account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.kernels import rows as layout
from streams.kernels.sequence import KINDS
from topologies.preaggregate.cells import Cells

I64 = npt.NDArray[np.int64]

LATEST_WINDOWS = 8
"""Windows a definition of which the account says what was noticed in each."""


def by_definition(cells: Cells, notices: I64) -> list[tuple[int, list[int]]]:
    """How many samples of each kind concern which definition (its index in the plan).

    notices: i64[n, NOTICE_WIDTH] of `streams.kernels.sequence`.
    """
    first, entries, over_time = cells.arrays()
    slots = notices[:, 0]
    sizes = first[slots + 1] - first[slots]
    where: I64 = np.repeat(first[slots] - np.cumsum(sizes) + sizes, sizes)
    where += np.arange(len(where))
    counted = (over_time[where] & 7) == layout.TIME_INCREASE
    definitions = cells.definition[entries[where[counted]]].astype(np.int64)
    keys = definitions * len(KINDS) + np.repeat(notices[:, 1], sizes)[counted]
    found: dict[int, list[int]] = {}
    for key, count in zip(
        *(part.tolist() for part in np.unique(keys, return_counts=True)), strict=True
    ):
        definition, kind = divmod(key, len(KINDS))
        found.setdefault(definition, [0] * len(KINDS))[kind] = count
    return sorted(found.items())


class Resets:
    """The account, by definition's name."""

    def __init__(self) -> None:
        self._totals: dict[str, list[int]] = {}
        self._windows: dict[str, dict[int, list[int]]] = {}

    def count(self, definition: str, end: int, counts: Sequence[int]) -> None:
        """What was noticed in the pane that ends there."""
        totals = self._totals.setdefault(definition, [0] * len(KINDS))
        windows = self._windows.setdefault(definition, {})
        window = windows.setdefault(end, [0] * len(KINDS))
        for kind, count in enumerate(counts):
            totals[kind] += count
            window[kind] += count
        if len(windows) > LATEST_WINDOWS:
            del windows[min(windows)]

    def rows(self) -> list[dict[str, Any]]:
        """A row a definition: totals by kind, and the latest windows (unix ns) with theirs."""
        return [
            {
                "definition": definition,
                **_named(totals),
                "windows": [
                    {"end": end, **_named(counts)}
                    for end, counts in sorted(self._windows[definition].items())
                ],
            }
            for definition, totals in sorted(self._totals.items())
        ]

    def restore(self, meta: Sequence[Mapping[str, Any]]) -> None:
        """What `rows` gave."""
        for row in meta:
            name = row["definition"]
            self._totals[name] = _counts(row)
            self._windows[name] = {window["end"]: _counts(window) for window in row["windows"]}


def _named(counts: Sequence[int]) -> dict[str, int]:
    return {kind: count for kind, count in zip(KINDS, counts, strict=True) if count}


def _counts(row: Mapping[str, Any]) -> list[int]:
    return [row.get(kind, 0) for kind in KINDS]
