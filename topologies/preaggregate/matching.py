"""Which definitions new streams belong to, and in which groups: once a stream, compiled.

What `members.matched` says of one stream, for many. It is asked itself where a value has to be
written that the kernels do not write: doubles, bytes, arrays and maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metric_registry.over_points import bounds_of
from metric_registry.plan import Plan
from metric_registry.ucum import Conversion
from topologies.identity.series import SeriesTable
from topologies.preaggregate import matching_kernel as kernel
from topologies.preaggregate.columns import Members
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.histograms import WHOLE, bounds_refused
from topologies.preaggregate.ledger import Refusal
from topologies.preaggregate.members import matched
from topologies.preaggregate.recipes import Recipes

I64 = npt.NDArray[np.int64]
SCRATCH = 1 << 12
ROOM = 1 << 12


@dataclass(frozen=True, slots=True)
class Matches:
    """Which definitions count which streams, in order of stream, then of definition.

    Attributes:
        members: By stream, in the place of a slot.
        conversion: i64[members], how values are read: a number in `conversions`.
        refusals: Of streams that some definition refuses: who, and why.
    """

    members: Members
    conversion: I64
    conversions: list[Conversion]
    refusals: dict[int, list[Refusal]]


class Matcher:
    """Matches the streams of a series table with the definitions in force."""

    def __init__(self, plan: Plan, series: SeriesTable, groups: Groups) -> None:
        self._plan = plan
        self._series = series
        self._groups = groups
        self._recipes = Recipes(plan, groups.tenant)
        self._scratch = np.zeros(SCRATCH, np.uint8)
        self._hashing = np.zeros((2, 32), np.uint64)

    def match(self, first: int, last: int) -> Matches:
        """The matches of the streams of slots `first` to `last` - 1 of the series table."""
        recipes = self._recipes
        for context in range(len(recipes), self._series.contexts):
            recipes.add(self._series.context(context))
        found = np.zeros((max(1, recipes.names), 3), np.int64)
        chosen = np.zeros(max(1, recipes.keeps), np.int64)
        counts = np.zeros(kernel.COUNTS, np.int64)
        content, ends, owners = self._series.attribute_arrays()
        contexts, fixed, code, texts = recipes.arrays()
        parts = [np.zeros((0, kernel.MATCH_WIDTH), np.int64)]
        at = first
        matches = np.zeros((max(ROOM, last - at) + recipes.parts, kernel.MATCH_WIDTH), np.int64)
        while at < last:
            counts[kernel.GROUPS], counts[kernel.MATCHES] = len(self._groups), 0
            at = int(
                kernel.match_streams(
                    at, last, content, ends, owners, contexts, fixed, code, texts, self._scratch,
                    found, chosen, self._groups.arrays(), self._hashing, counts, matches,
                )
            )  # fmt: skip
            self._groups.grown(int(counts[kernel.GROUPS]))
            parts.append(matches[: counts[kernel.MATCHES]].copy())
            reason = int(counts[kernel.REASON])
            if reason == kernel.IS_UNUSUAL:
                parts.append(self._unusual(at))
                at += 1
            elif reason == kernel.NO_SCRATCH:
                self._scratch = np.zeros(2 * len(self._scratch), np.uint8)
            elif reason == kernel.NO_ROOM:
                self._groups.reserve(last - at, recipes.keeps * len(self._scratch))
        tenants = contexts[owners[first:last], kernel.TENANT]
        return self._matches(np.concatenate(parts), tenants, first)

    def _unusual(self, series: int) -> I64:
        """The matches of one stream, by the Python form."""
        recipes = self._recipes
        rows: list[tuple[int, ...]] = []
        for definition, read, kind, group in matched(self._plan, self._series.stream(series)):
            if isinstance(read, Refusal):
                row = kernel.REFUSED, 0, recipes.refused(read)
            else:
                row = kind, recipes.conversions.index(read), self._groups.number(group)
            rows.append((series, definition, *row))
        return np.array(rows, np.int64).reshape(-1, kernel.MATCH_WIDTH)

    def _by_bounds(self, rows: I64) -> None:
        """Refuse what lacks bounds that a definition wants: histograms differ by stream in them."""
        recipes = self._recipes
        whole = recipes.conversions.index(WHOLE) if WHOLE in recipes.conversions else -1
        mine = (rows[:, kernel.HOW] != kernel.REFUSED) & (rows[:, kernel.READ_AS] == whole)
        for at in np.flatnonzero(mine).tolist():
            definition = self._plan.definitions[int(rows[at, kernel.WHOSE])]
            wanted = bounds_of(definition.over_points)
            if wanted is None:
                continue
            bounds = self._series.stream(int(rows[at, kernel.SERIES])).bounds
            refusal = bounds_refused(definition, wanted, bounds)
            if refusal is not None:
                rows[at, kernel.HOW] = kernel.REFUSED
                rows[at, kernel.GROUP] = recipes.refused(refusal)

    def _matches(self, rows: I64, tenants: I64, first: int) -> Matches:
        self._by_bounds(rows)
        refused = rows[:, kernel.HOW] == kernel.REFUSED
        refusals: dict[int, list[Refusal]] = {}
        pairs: list[tuple[int, int]] = rows[refused][:, [kernel.SERIES, kernel.GROUP]].tolist()
        for series, number in pairs:
            refusals.setdefault(series, []).append(self._recipes.refusals[number])
        rows = rows[~refused]
        members = Members(
            rows[:, kernel.SERIES],
            rows[:, kernel.WHOSE].astype(np.uint16),
            rows[:, kernel.HOW].astype(np.uint8),
            rows[:, kernel.GROUP].astype(np.int32),
            tenants[rows[:, kernel.SERIES] - first],
        )
        return Matches(members, rows[:, kernel.READ_AS], self._recipes.conversions, refusals)
