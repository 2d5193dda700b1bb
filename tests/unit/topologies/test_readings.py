"""Streams are numbered as definitions read them: in each unit that somebody wants."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metric_registry.ucum import SAME, Conversion
from streams.kernels.rows import IS_INTEGER
from topologies.preaggregate.columns import PointColumns
from topologies.preaggregate.readings import READINGS_A_BLOCK, Readings

SECONDS = Conversion(1, 1000)
MINUTES = Conversion(1, 60_000)
UNITS = [SAME, MINUTES, SECONDS]


def points(*series: int) -> PointColumns:
    n = len(series)
    return PointColumns(
        np.array(series, np.int32), np.arange(n), np.zeros(n, np.int64),
        np.full(n, 60_000, np.int64), np.full(n, IS_INTEGER, np.uint8),
    )  # fmt: skip


def read(readings: Readings, *series: int) -> list[tuple[int, int, int, int]]:
    """(slot, time, value, record) of what points of these series become."""
    found, records, _ = readings.read(points(*series), np.arange(len(series), dtype=np.int32))
    columns = (found.slots, found.times, found.raws, records)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def learn(readings: Readings, first: int, *wanted: tuple[Conversion, ...]) -> list[int]:
    """The slots of what is wanted of these streams, the first of which is `first`."""
    rows = [(series, by) for series, each in enumerate(wanted, first) for by in each]
    which = [UNITS.index(by) for _, by in rows]
    series = np.array([series for series, _ in rows], np.int64)
    last = first + len(wanted)
    return readings.learn(first, last, series, np.array(which, np.int64), UNITS).tolist()


def learnt() -> Readings:
    readings = Readings()
    assert learn(readings, 0, (), (SECONDS,)) == [1]
    assert learn(readings, 2, (SECONDS, SAME, MINUTES), (MINUTES,)) == [2, 3, 4, 5]
    return readings


def test_where_nothing_is_converted_points_are_not_touched():
    readings = Readings()
    assert learn(readings, 0, (SAME,), (SAME,)) == [0, 1]
    assert learn(readings, 2, (SAME,)) == [2]
    given, records = points(2, 0), np.zeros(2, np.int32)
    assert readings.read(given, records) == (given, records, [])
    assert list(readings.changed_blocks()) == []


def test_a_stream_wanted_in_two_units_is_put_down_once_for_each_in_order_of_records():
    assert read(learnt(), 2, 0, 3, 2, 1) == [
        (2, 0, 60, 0), (3, 0, 60_000, 0), (4, 0, 1, 0), (0, 1, 60_000, 1), (5, 2, 1, 2),
        (2, 3, 60, 3), (3, 3, 60_000, 3), (4, 3, 1, 3), (1, 4, 60, 4),
    ]  # fmt: skip


def test_another_definition_adds_readings_and_changes_none():
    readings = learnt()
    assert learn(readings, 1, (SECONDS, MINUTES)) == [1, 6]
    assert learn(readings, 0, (SECONDS,), (SECONDS,)) == [7, 1]
    assert read(readings, 1, 0) == [(1, 0, 60, 0), (6, 0, 1, 0), (0, 1, 60_000, 1), (7, 1, 60, 1)]


def test_readings_are_the_same_after_a_restart():
    readings = learnt()
    kept = dict(readings.changed_blocks())
    assert list(readings.changed_blocks()) == []
    learn(readings, 4, *[(SECONDS,)] * (2 * READINGS_A_BLOCK - 4))
    kept |= dict(readings.changed_blocks())
    assert learn(readings, 2 * READINGS_A_BLOCK, (SAME, SECONDS))
    kept |= dict(readings.changed_blocks())
    again = Readings()
    again.restore(readings.to_meta(), kept.items(), readings.streams)
    assert len(again) == len(readings)
    some = [0, 1, 2, 3, 100, 2 * READINGS_A_BLOCK, 5000]
    assert read(again, *some) == read(readings, *some)
    assert list(again.changed_blocks()) == []


def test_units_that_come_after_a_restart_are_kept_with_all_before():
    plain = Readings()
    learn(plain, 0, *[(SAME,)] * 3)
    again = Readings()
    again.restore(plain.to_meta(), plain.changed_blocks(), 3)
    assert learn(again, 1, (SECONDS,)) == [3]
    third = Readings()
    third.restore(again.to_meta(), again.changed_blocks(), 3)
    assert read(third, 0, 1, 2) == read(again, 0, 1, 2)


@given(st.lists(st.lists(st.sampled_from(UNITS), unique=True, max_size=3), max_size=12), st.data())
def test_streams_have_the_same_readings_however_many_come_at_once(
    wanted: list[list[Conversion]], data: st.DataObject
):
    together, apart = Readings(), Readings()
    cut = data.draw(st.integers(0, len(wanted)))
    slots = learn(together, 0, *map(tuple, wanted[:cut]))
    slots += learn(together, cut, *map(tuple, wanted[cut:]))
    alone: list[int] = []
    for series, each in enumerate(wanted):
        alone += learn(apart, series, tuple(each))
    assert slots == alone
    every = range(len(wanted))
    assert read(together, *every) == read(apart, *every)
    assert together.to_meta() == apart.to_meta()
    assert learn(together, 0, *map(tuple, wanted)) == alone
