"""What every aggregate promises, put to the test: the same checks for ours and for yours.

    from streams.aggregates.promises import check
    check(Apdex(0.5))  # BrokenPromise says which, and how

An aggregate's state must be a function of the set of points that joined it; all that publishes
numbers rests on that. Each promise is a function here: it is given an aggregate and a world of
points, and says how it was broken, or nothing.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from streams.aggregates.encoding import MAGIC, UnreadableState
from streams.aggregates.port import F64, I64, Aggregate, Points
from streams.kernels.rows import IS_CUMULATIVE, IS_INTEGER

NAN_BITS = 0x7FF8000000000000
_HARD: tuple[int | float, ...] = (
    0.0, -0.0, 1.5, -2.25, 0.1, 1e308, -1e308, 1.7e308, 5e-324, -5e-324, 2.0**-60, 1e16, 1.0,
    7, -3, 0, 2**53 + 1, -(2**63), 2**63 - 1, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """Points, and the row of n that each joins: rows i64[k]."""

    seed: int
    n: int
    rows: I64
    points: Points

    def part(self, aggregate: Aggregate[Any], chosen: I64, order: I64 | None = None) -> Any:
        """A state of the chosen points, whose row order[i] (i if not given) is row i."""
        state = aggregate.empty(self.n)
        rows = self.rows[chosen] if order is None else order[self.rows[chosen]]
        aggregate.add(state, np.ascontiguousarray(rows), self.points.take(chosen))
        return state

    def whole(self, aggregate: Aggregate[Any]) -> Any:
        """A state of all points."""
        return self.part(aggregate, np.arange(len(self.rows)))


def world(seed: int = 0, each: int = 12) -> World:
    """Points that are hard on arithmetic: rows of one kind, one of all kinds, an empty one."""
    chance = random.Random(seed)
    kinds: tuple[Callable[[], int | float], ...] = (
        lambda: chance.gauss(20, 5),
        lambda: chance.choice(_HARD[:-3]),
        lambda: chance.choice(_HARD),
        lambda: chance.randrange(-5, 9),
        lambda: 0.25,
    )
    owners, values = [0], [float(seed)]
    for row, draw in enumerate(kinds):
        owners += [row] * each
        values += [draw() for _ in range(each)]
    owners += [len(kinds)] * each
    values += [chance.choice(values) for _ in range(each)]
    packed = b"".join(struct.pack("<q" if isinstance(v, int) else "<d", v) for v in values)
    metas = [
        (IS_INTEGER if isinstance(v, int) else 0) | chance.choice((0, 0, IS_CUMULATIVE))
        for v in values
    ]
    times = [chance.randrange(1, 2 * each) * 10**9 for _ in values]
    points = Points(
        np.array(times, np.int64),
        np.array([chance.choice((0, time // 2)) for time in times], np.int64),
        np.frombuffer(packed, np.int64).copy(),
        np.array(metas, np.uint8),
    )
    return World(seed, len(kinds) + 2, np.array(owners, np.int64), points)


def entries(finished: Any) -> list[Any]:
    """What `finish` gave, entry by entry; doubles as their bits, so that they can be compared."""
    doubles = _doubles(finished)
    return list(finished) if doubles is None else doubles.view(np.int64).tolist()


def _doubles(finished: Any) -> F64 | None:
    """What `finish` gave if that is f64[n]."""
    if not isinstance(finished, np.ndarray):
        return None
    array = cast("npt.NDArray[Any]", finished)
    return array if array.dtype == np.float64 and array.ndim == 1 else None


# ---------------------------------------------------------------- the promises


def any_order(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """Points in any order, split anyhow, merged along any tree, give the same bytes and values."""
    whole = given.whole(aggregate)
    encoded, finished = aggregate.encode(whole), entries(aggregate.finish(whole))
    chance = random.Random(f"{aggregate.name} {given.seed}")
    for number in range(trees):
        state, changed = _along_a_tree(aggregate, given, chance)
        if changed:
            return "`merge` changed the state that it was given as `other`"
        if aggregate.encode(state) != encoded:
            return f"merge tree {number} of the same points gave other bytes"
        if entries(aggregate.finish(state)) != finished:
            return f"merge tree {number} of the same points finished as other values"
    return ""


def _along_a_tree(
    aggregate: Aggregate[Any], given: World, chance: random.Random
) -> tuple[Any, bool]:
    """The points shuffled, split, and merged; and whether a merge changed what it merged."""
    k = len(given.rows)
    shuffled = np.array(chance.sample(range(k), k), np.int64)
    cuts = sorted(chance.randrange(k + 1) for _ in range(chance.randrange(7)))
    parts: list[tuple[Any, I64]] = []
    for chosen in np.split(shuffled, cuts):
        order = np.array(chance.sample(range(given.n), given.n), np.int64)
        parts.append((given.part(aggregate, chosen, order), order))
    changed = False
    while len(parts) > 1:
        (into, mine), (other, theirs) = (parts.pop(chance.randrange(len(parts))) for _ in "12")
        before = aggregate.encode(other)
        aggregate.merge(into, mine, other, theirs)
        changed |= aggregate.encode(other) != before
        parts.append((into, mine))
    ((state, order),) = parts
    final = aggregate.empty(given.n)
    aggregate.merge(final, np.arange(given.n), state, order)
    return final, changed


def rows_as_points(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """Rows that join one row are as their points joining it; and one row may join several."""
    spread, every = given.whole(aggregate), np.arange(given.n)
    into, one = aggregate.empty(1), aggregate.empty(1)
    aggregate.merge(into, np.zeros(given.n, np.int64), spread, every)
    aggregate.add(one, np.zeros(len(given.rows), np.int64), given.points)
    if aggregate.encode(into) != aggregate.encode(one):
        return "rows merged into one row differ from their points added to one row"
    twice = aggregate.empty(3)
    last = np.full(3, given.n - 2)
    aggregate.merge(twice, np.array([0, 2, 0]), spread, last)
    found = entries(aggregate.finish(twice))
    if found[1] != entries(aggregate.finish(aggregate.empty(1)))[0]:
        return "a merge into rows 0 and 2 changed row 1"
    if found[2] != entries(aggregate.finish(spread))[given.n - 2]:
        return "a row merged into an empty one finished as another value"
    return ""


def identity(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """The empty state changes nothing it joins, nor what joins it; neither do no points."""
    every = np.arange(given.n)
    state = given.whole(aggregate)
    encoded = aggregate.encode(state)
    aggregate.merge(state, every, aggregate.empty(given.n), every)
    if aggregate.encode(state) != encoded:
        return "merging an empty state changed a state"
    nothing = aggregate.empty(given.n)
    aggregate.merge(nothing, every, state, every)
    if aggregate.encode(nothing) != encoded:
        return "a state merged into an empty one is not that state"
    none = np.zeros(0, np.int64)
    aggregate.add(state, none, Points(none, none, none, np.zeros(0, np.uint8)))
    aggregate.merge(state, none, aggregate.empty(0), none)
    if aggregate.encode(state) != encoded:
        return "no points, and no rows, changed a state"
    return ""


def own_memory(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """Merged states and finished values stay as they are when what they came from goes on."""
    every = np.arange(given.n)
    state = given.whole(aggregate)
    into = aggregate.empty(given.n)
    aggregate.merge(into, every, state, every)
    encoded = aggregate.encode(into)
    finished = aggregate.finish(state)
    values = [str(each) for each in entries(finished)]
    if aggregate.encode(state) != encoded:
        return "`finish` changed the state"
    aggregate.add(state, given.rows, given.points)
    if aggregate.encode(into) != encoded:
        return "what was merged goes on sharing memory with what it was merged from"
    if [str(each) for each in entries(finished)] != values:
        return "a finished value changed when the state went on"
    return ""


def round_trip(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """What is encoded is decoded as the same state, and goes on as that."""
    half, k = len(given.rows) // 2, len(given.rows)
    state = given.part(aggregate, np.arange(half))
    again = aggregate.decode(aggregate.encode(state))
    if aggregate.encode(again) != aggregate.encode(state):
        return "a decoded state is encoded as other bytes"
    if entries(aggregate.finish(again)) != entries(aggregate.finish(state)):
        return "a decoded state finishes as other values"
    for one in (state, again):
        aggregate.add(one, given.rows[half:], given.points.take(np.arange(half, k)))
    if aggregate.encode(again) != aggregate.encode(state):
        return "a decoded state did not go on as the one that was encoded"
    empty = aggregate.encode(aggregate.empty(0))
    if aggregate.encode(aggregate.decode(empty)) != empty:
        return "a state without rows does not come back from its bytes"
    return ""


def own_bytes(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """Bytes name aggregate and version; others, and damaged ones, are `UnreadableState`."""
    data = aggregate.encode(given.whole(aggregate))
    title = aggregate.name.encode()
    at = 3 + len(title)
    if data[:at] != MAGIC + bytes((len(title),)) + title:
        return "`encode` does not begin with its name: let `streams.aggregates.encoding.pack` write"
    if int.from_bytes(data[at : at + 2], "little") != aggregate.version:
        return f"`encode` writes another version than {aggregate.version}"
    # an older version may be readable to it, a later one never is
    other = (aggregate.version + 1).to_bytes(2, "little")
    broken = {
        "of a later version": data[:at] + other + data[at + 2 :],
        "of another aggregate": data[:3] + bytes((title[0] ^ 1,)) + data[4:],
        "with a byte too many": data + b"\0",
    }
    cuts = {0, 1, 2, 5, at + 1, at + 12, len(data) // 2, len(data) - 1}
    broken |= {f"cut after {cut} bytes": data[:cut] for cut in sorted(cuts)}
    for what, each in broken.items():
        try:
            aggregate.decode(each)
        except UnreadableState:
            continue
        return f"`decode` takes bytes {what}; it must raise UnreadableState"
    return ""


def checked_rows(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """A row number outside the state is an IndexError, and nothing has changed."""
    state = given.whole(aggregate)
    encoded = aggregate.encode(state)
    two, some = given.points.take(np.array([0, 1])), np.array([0, 1])
    for wrong in (-1, given.n, 2**62):
        outside = np.array([0, wrong])
        if not _raises(IndexError, aggregate.add, state, outside, two):
            return f"`add` takes row {wrong} of {given.n}: call `checks.check_rows` first"
        if not _raises(IndexError, aggregate.merge, state, outside, aggregate.empty(2), some):
            return f"`merge` takes row {wrong} of {given.n}: call `checks.check_rows` first"
        other = aggregate.empty(given.n)
        if not _raises(IndexError, aggregate.merge, state, some, other, outside):
            return f"`merge` takes their row {wrong} of {given.n}: call `checks.check_rows` first"
    if not _raises(ValueError, aggregate.add, state, np.array([0]), two):
        return "`add` takes one row for two points: call `checks.check_rows` first"
    return "" if aggregate.encode(state) == encoded else "a call that was refused changed the state"


def _raises(kind: type[Exception], call: Callable[..., object], *given: object) -> bool:
    try:
        call(*given)
    except kind:
        return True
    return False


def one_nan(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """There is a value for each row, and a NaN among doubles has always the same bits."""
    finished = aggregate.finish(given.whole(aggregate))
    found, doubles = entries(finished), _doubles(finished)
    if len(found) != given.n:
        return f"`finish` gave {len(found)} values for {given.n} rows"
    if doubles is not None and set(doubles[np.isnan(doubles)].view(np.int64).tolist()) - {NAN_BITS}:
        return f"`finish` gave a NaN with other bits than {NAN_BITS:X}: write `numpy.nan`"
    return ""


def reads_only(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """The points and the rows that `add` and `merge` are given stay as they are."""
    rows, points = given.rows.copy(), given.points.take(np.arange(len(given.rows)))
    every, theirs = np.arange(given.n), np.arange(given.n)
    state = aggregate.empty(given.n)
    aggregate.add(state, rows, points)
    aggregate.merge(aggregate.empty(given.n), every, state, theirs)
    was = (given.rows, given.points.times, given.points.starts, given.points.raws)
    now = (rows, points.times, points.starts, points.raws)
    kept = all(np.array_equal(a, b) for a, b in zip(was, now, strict=True))
    if not kept or not np.array_equal(points.metas, given.points.metas):
        return "`add` changed the points or the rows that it was given, which others read too"
    if not np.array_equal(every, np.arange(given.n)) or not np.array_equal(every, theirs):
        return "`merge` changed the rows that it was given"
    return ""


Promise = Callable[[Aggregate[Any], World, int], str]
PROMISES: tuple[Promise, ...] = (
    reads_only,
    one_nan,
    identity,
    any_order,
    rows_as_points,
    own_memory,
    round_trip,
    own_bytes,
    checked_rows,
)


def numbers(aggregate: Aggregate[Any], given: World, trees: int) -> str:
    """It finishes as doubles, which is what definitions publish."""
    finished = aggregate.finish(aggregate.empty(3))
    doubles = _doubles(finished)
    if doubles is not None and len(doubles) == 3:
        return ""
    what = " ".join(repr(finished).split())[:60]
    return f"`finish` gave {what} for three rows; definitions publish a double each, f64[3]"


# ---------------------------------------------------------------- the check


class BrokenPromise(AssertionError):
    """An aggregate does not keep one; `promise` is its name in this module."""

    def __init__(self, aggregate: Aggregate[Any], promise: Promise, how: str, seed: int) -> None:
        promised = " ".join((promise.__doc__ or "").split())
        super().__init__(f"{aggregate.name!r}: {how}. The promise is: {promised} (seed {seed})")
        self.promise = promise.__name__


def check(
    aggregate: Aggregate[Any],
    *worlds: World,
    trees: int = 30,
    promises: tuple[Promise, ...] = PROMISES,
) -> None:
    """Put an aggregate to the test on these worlds; on three of our own if none is given.

    Raises:
        BrokenPromise: It does not keep one.
    """
    for given in worlds or tuple(map(world, range(3))):
        for promise in promises:
            if how := promise(aggregate, given, trees):
                raise BrokenPromise(aggregate, promise, how, given.seed)
