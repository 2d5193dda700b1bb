"""Placing units on members at the least cost, as evenly as can be.

The cost of a placement is the sum of what each unit costs where it is, and before all else its
unevenness: the squares of how many units each member gets, then of how many it has in all. That is
a minimum-cost flow with convex costs at the members. It is solved by cancelling cycles (Klein
1967): from any placement, move units around a cycle of members, or along a path of which one end
loses a unit and the other gains one, as long as that makes it cheaper. When no such cycle is left
the placement is optimal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

FORBIDDEN = 1 << 62
"""The cost of a unit on a member that must not have it."""
_FAR = 1 << 61


def place(costs: I64, weights: I64, loads: I64, carried: I64, kinds: I64 | None = None) -> I64:
    """The member of each unit.

    Args:
        costs: Unit x member, at least 0, or `FORBIDDEN`; each unit is allowed somewhere.
        weights: Of each unit; among placements of equal cost the weights are evened out.
        loads: Units that each member has already.
        carried: The weight that each member has already.
        kinds: Of each unit; no member gets two of a kind. Units of a kind have the same costs, and
            at least as many members are allowed as there are units of it. None: all differ.

    The order of preference: these units spread evenly, all units spread evenly, the least cost,
    even weights. Everything is deterministic; of equals the first member is taken.
    """
    units, members = costs.shape
    if units == 0:
        return np.empty(0, np.int64)
    kinds = np.arange(units, dtype=np.int64) if kinds is None else kinds
    problem = _Problem(costs, loads, kinds)
    at = _greedy(problem, weights, carried)
    counts = np.bincount(at, minlength=members).astype(np.int64)
    while (cycle := _cheaper_cycle(problem.edges(at, counts))) is not None:
        problem.move(at, cycle)
        counts = np.bincount(at, minlength=members).astype(np.int64)
    _even_out(problem, weights, carried.copy(), at)
    return at


class _Problem:
    """Costs, and what one more or one less on a member costs."""

    def __init__(self, costs: I64, loads: I64, kinds: I64) -> None:
        self.costs = costs
        self.kinds = kinds
        self.members = costs.shape[1]
        self._loads = loads
        allowed = np.where(costs < FORBIDDEN, costs, 0)
        self._scale = int(allowed.max(1).sum()) + 1
        self._first = 2 * int(loads.max(initial=0) + costs.shape[0]) + 2

    def open(self, at: I64) -> I64:
        """The costs, forbidden where a unit of the kind is, be it the unit itself."""
        present = np.zeros((int(self.kinds.max()) + 1, self.members), np.bool_)
        present[self.kinds, at] = True
        return np.where(present[self.kinds], FORBIDDEN, self.costs)

    def one_more(self, counts: I64) -> I64:
        """What the next unit costs on each member, whichever it is."""
        return self._scale * (self._first * (2 * counts + 1) + 2 * (self._loads + counts) + 1)

    def edges(self, at: I64, counts: I64) -> I64:
        """[i, j]: what the best move of a unit from i to j costs; the last node is the outside.

        From the outside to i: i has one less than before. From j to the outside: one more.
        """
        edges = np.full((self.members + 1, self.members + 1), _FAR, np.int64)
        moves = self._moves(at)
        for member in range(self.members):
            mine = np.flatnonzero(at == member)
            if len(mine):
                edges[member, :-1] = moves[mine].min(0)
        edges[:-1, -1] = self.one_more(counts)
        edges[-1, :-1] = np.where(counts > 0, -self.one_more(counts - 1), _FAR)
        return edges

    def move(self, at: I64, cycle: list[int]) -> None:
        """Move the best unit along each edge of the cycle."""
        costs = self._moves(at)
        moves: list[tuple[int, int]] = []
        for source, target in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            if self.members not in (source, target):
                mine = np.flatnonzero(at == source)
                best = int(costs[mine, target].argmin())
                moves.append((int(mine[best]), target))
        for unit, target in moves:
            at[unit] = target

    def _moves(self, at: I64) -> I64:
        """Unit x member: what it costs more there than where it is."""
        there = self.open(at)
        here = self.costs[np.arange(len(at)), at]
        return np.where(there < FORBIDDEN, there - here[:, None], _FAR)


def _greedy(problem: _Problem, weights: I64, carried: I64) -> I64:
    """A good placement to begin with: where a unit is cheapest, while there is room, then anywhere.

    Heavy units choose first; of members that are equal the one that carries least is taken.
    """
    units, members = problem.costs.shape
    at = np.full(units, -1, np.int64)
    costs, kinds = problem.costs.copy(), problem.kinds
    counts = np.zeros(members, np.int64)
    carried = carried.copy()
    room = -(-units // members)
    order = np.argsort(-weights, kind="stable")
    for cheapest_only in (True, False):
        for unit in order:
            if at[unit] >= 0:
                continue
            cost = costs[unit]
            price = cost if cheapest_only else problem.one_more(counts) + cost
            price = np.where(cost < FORBIDDEN, price, FORBIDDEN)
            best = np.flatnonzero(price == price.min())
            member = int(best[np.lexsort((carried[best], counts[best]))[0]])
            if cheapest_only and (len(best) == members or counts[member] >= room):
                continue
            at[unit] = member
            costs[kinds == kinds[unit], member] = FORBIDDEN
            counts[member] += 1
            carried[member] += weights[unit]
    return at


def _cheaper_cycle(edges: I64) -> list[int] | None:
    """A cycle of negative cost, or None (Bellman and Ford, all nodes at once)."""
    size = len(edges)
    distance = np.zeros(size, np.int64)
    before = np.full(size, -1, np.int64)
    for turn in range(2 * size):
        through = distance[:, None] + edges
        best = through.argmin(0)
        found = through[best, np.arange(size)]
        better = found < distance
        if not better.any():
            return None
        distance = np.where(better, found, distance)
        before = np.where(better, best, before)
        if turn >= 1 and (cycle := _cycle_of(before)) is not None:
            return cycle
    raise AssertionError("distances fall for ever without a cycle")


def _cycle_of(before: I64) -> list[int] | None:
    seen = np.full(len(before), -1, np.int64)
    for start in range(len(before)):
        path: list[int] = []
        node = start
        while node >= 0 and seen[node] < 0:
            seen[node] = start
            path.append(node)
            node = int(before[node])
        if node >= 0 and seen[node] == start:
            return path[path.index(node) :][::-1]
    return None


def _even_out(problem: _Problem, weights: I64, carried: I64, at: I64) -> None:
    """Swap units between members, at no cost, as long as that evens out what they carry."""
    np.add.at(carried, at, weights)
    while (swap := _best_swap(problem, weights, carried, at)) is not None:
        one, other = swap
        shift = weights[one] - weights[other]
        carried[at[one]] -= shift
        carried[at[other]] += shift
        at[one], at[other] = at[other], at[one]


def _best_swap(problem: _Problem, weights: I64, carried: I64, at: I64) -> tuple[int, int] | None:
    """Two units whose swap costs nothing and takes most off the sum of squares; or None."""
    costs, allowed = problem.costs, problem.open(at) < FORBIDDEN
    for heavy in np.argsort(-carried, kind="stable"):
        for light in np.argsort(carried, kind="stable"):
            gap = carried[heavy] - carried[light]
            if gap <= 0:
                break
            mine, theirs = np.flatnonzero(at == heavy), np.flatnonzero(at == light)
            there = costs[mine, light] - costs[mine, heavy]
            here = costs[theirs, heavy] - costs[theirs, light]
            free = there[:, None] + here[None] == 0
            free &= allowed[mine, light][:, None] & allowed[theirs, heavy][None]
            shift = weights[mine][:, None] - weights[theirs][None]
            gain = np.where(free & (shift > 0), shift * (gap - shift), 0)
            if gain.size and gain.max() > 0:
                one, other = np.unravel_index(int(gain.argmax()), gain.shape)
                return int(mine[one]), int(theirs[other])
    return None
