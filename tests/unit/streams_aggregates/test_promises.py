"""The check that users run on aggregates of their own finds what breaks a promise."""

import numpy as np
import pytest

from streams.aggregates import Points
from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import MAGIC, array, pack, unpack
from streams.aggregates.promises import PROMISES, BrokenPromise, check, numbers, world


class Absolutes:
    """Exact: how many values there are, and the greatest magnitude's bits."""

    name, version = "absolutes", 3

    def empty(self, n):
        return np.zeros((n, 2), np.int64)

    def add(self, state, rows, points):
        check_rows(rows, len(state), len(points))
        np.add.at(state[:, 0], rows, 1)
        np.maximum.at(state[:, 1], rows, points.raws & (2**63 - 1))

    def merge(self, state, rows, other, theirs):
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        other = other.copy()  # it may be the same state
        np.add.at(state[:, 0], rows, other[theirs, 0])
        np.maximum.at(state[:, 1], rows, other[theirs, 1])

    def finish(self, state):
        return state[:, 0].astype(np.float64)

    def encode(self, state):
        return pack(self.name, self.version, len(state), state.astype("<i8").tobytes())

    def decode(self, data):
        n, (part,) = unpack(self.name, self.version, data, 1)
        return array(self.name, part, (n, 2))


def test_one_that_keeps_them_passes_on_any_points():
    check(Absolutes(), promises=(numbers, *PROMISES))
    given = world(7, 30)
    check(Absolutes(), given, trees=3)
    assert len(given.points) == len(given.rows) == 1 + 6 * 30


class FloatSum(Absolutes):
    def empty(self, n):
        return np.zeros((n, 2))

    def add(self, state, rows, points):
        check_rows(rows, len(state), len(points))
        values = np.where(points.metas & 1, 0.5, points.raws.view(np.float64))
        with np.errstate(all="ignore"):
            np.add.at(state[:, 0], rows, np.where(np.isfinite(values), values, 0.0))

    def merge(self, state, rows, other, theirs):
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        with np.errstate(all="ignore"):
            np.add.at(state[:, 0], rows, other[theirs, 0])

    def encode(self, state):
        return pack(self.name, self.version, len(state), state.tobytes())

    def decode(self, data):
        return super().decode(data).view(np.float64)


class KeepsTheOther(Absolutes):
    def merge(self, state, rows, other, theirs):
        super().merge(state, rows, other, theirs)
        if len(rows) == len(state):
            other[:, 1] += 1


class LastWins(Absolutes):
    def merge(self, state, rows, other, theirs):
        super().merge(state, rows, other, theirs)
        state[rows, 1] = other[theirs, 1]


class CountsMerges(Absolutes):
    def merge(self, state, rows, other, theirs):
        super().merge(state, rows, other, theirs)
        np.add.at(state[:, 0], rows, 1)


class TakesOnce(Absolutes):
    def merge(self, state, rows, other, theirs):
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        state[rows] += other[theirs]  # NumPy adds one of several


class Shares(Absolutes):
    def finish(self, state):
        return state[:, 0].view(np.float64)


class Consumes(Absolutes):
    def finish(self, state):
        found = super().finish(state)
        state[:, 0] = 0
        return found


class ForgetsInBytes(Absolutes):
    def decode(self, data):
        state = super().decode(data)
        state[:, 1] = 0
        return state


class WithoutAName(Absolutes):
    def encode(self, state):
        return state.tobytes()

    def decode(self, data):
        return np.frombuffer(data, np.int64).reshape(-1, 2).copy()


class AnyVersion(Absolutes):
    def decode(self, data):
        at = len(MAGIC) + 1 + len(self.name)
        mine = data[:at] + self.version.to_bytes(2, "little") + data[at + 2 :]
        return super().decode(mine)


class Unchecked(Absolutes):
    def add(self, state, rows, points):
        np.add.at(state[:, 0], rows, 1)


class MakesRoom(Absolutes):
    def add(self, state, rows, points):
        points.raws[:] &= 2**63 - 1
        super().add(state, rows, points)


class Sorts(Absolutes):
    def merge(self, state, rows, other, theirs):
        super().merge(state, rows, other, theirs)
        theirs[:] = 0


class OtherNaN(Absolutes):
    def finish(self, state):
        return np.full(len(state), 0x7FF8000000000001).view(np.float64)


class OneTooMany(Absolutes):
    def finish(self, state):
        return np.zeros(len(state) + 1)


class Texts(Absolutes):
    def finish(self, state):
        return [str(row) for row in state]


@pytest.mark.parametrize(
    ("broken", "promise", "how"),
    [
        (FloatSum, "any_order", "of the same points gave other bytes"),
        (KeepsTheOther, "identity", "changed a state"),
        (LastWins, "identity", "merging an empty state changed a state"),
        (CountsMerges, "identity", "merging an empty state changed a state"),
        (TakesOnce, "any_order", "gave other bytes"),
        (Shares, "own_memory", "a finished value changed when the state went on"),
        (Consumes, "own_memory", "`finish` changed the state"),
        (ForgetsInBytes, "round_trip", "a decoded state is encoded as other bytes"),
        (WithoutAName, "own_bytes", "`encode` does not begin with its name"),
        (AnyVersion, "own_bytes", "takes bytes of a later version"),
        (Unchecked, "checked_rows", "`add` takes row -1 of 7: call `checks.check_rows` first"),
        (MakesRoom, "reads_only", "`add` changed the points"),
        (Sorts, "reads_only", "`merge` changed the rows"),
        (OtherNaN, "one_nan", "a NaN with other bits than 7FF8000000000000"),
        (OneTooMany, "numbers", "for three rows; definitions publish a double each"),
        (Texts, "numbers", "definitions publish a double each"),
    ],
)
def test_each_way_to_break_one_is_found_and_told(broken, promise, how):
    with pytest.raises(BrokenPromise, match="'absolutes': ") as raised:
        check(broken(), promises=(numbers, *PROMISES))
    assert raised.value.promise == promise, str(raised.value)
    assert how in str(raised.value)
    assert "The promise is: " in str(raised.value)


def test_points_of_ones_own_find_what_ours_do_not():
    class NoThirteen(Absolutes):
        """Drops the value 13 where it is not the first."""

        def add(self, state, rows, points):
            kept = np.flatnonzero((points.raws != 13) | (np.arange(len(points)) == 0))
            check_rows(rows, len(state), len(points))
            super().add(state, rows[kept], points.take(kept))

    check(NoThirteen())
    given = world()
    points = Points(
        given.points.times, given.points.starts, np.where(given.rows == 3, 13, given.points.raws),
        given.points.metas,
    )  # fmt: skip
    mine = type(given)(given.seed, given.n, given.rows, points)
    with pytest.raises(BrokenPromise):
        check(NoThirteen(), mine)
