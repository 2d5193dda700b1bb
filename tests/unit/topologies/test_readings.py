"""Streams are numbered as definitions read them: in each unit that somebody wants."""

from __future__ import annotations

import numpy as np

from metric_registry.ucum import SAME, Conversion
from streams.kernels.rows import IS_INTEGER
from topologies.preaggregate.columns import PointColumns
from topologies.preaggregate.readings import READINGS_A_BLOCK, Readings

SECONDS = Conversion(1, 1000)
MINUTES = Conversion(1, 60_000)


def points(*series: int) -> PointColumns:
    n = len(series)
    return PointColumns(
        np.array(series, np.int32), np.arange(n), np.zeros(n, np.int64),
        np.full(n, 60_000, np.int64), np.full(n, IS_INTEGER, np.uint8),
    )  # fmt: skip


def read(readings: Readings, *series: int) -> list[tuple[int, int, int, int]]:
    """(slot, time, value, record) of what points of these series become."""
    found, records = readings.read(points(*series), np.arange(len(series), dtype=np.int32))
    columns = (found.slots, found.times, found.raws, records)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def learnt() -> Readings:
    readings = Readings()
    assert readings.learn(0, {}) == {}
    assert readings.learn(1, {SECONDS: "a"}) == {1: "a"}
    assert readings.learn(2, {SECONDS: "a", SAME: "b", MINUTES: "c"}) == {2: "a", 3: "b", 4: "c"}
    assert readings.learn(3, {MINUTES: "c"}) == {5: "c"}
    return readings


def test_where_nothing_is_converted_points_are_not_touched():
    readings = Readings()
    for series in range(3):
        assert readings.learn(series, {SAME: "a"}) == {series: "a"}
    given, records = points(2, 0), np.zeros(2, np.int32)
    assert readings.read(given, records) == (given, records)
    assert list(readings.changed_blocks()) == []


def test_a_stream_wanted_in_two_units_is_put_down_once_for_each_in_order_of_records():
    assert read(learnt(), 2, 0, 3, 2, 1) == [
        (2, 0, 60, 0), (3, 0, 60_000, 0), (4, 0, 1, 0), (0, 1, 60_000, 1), (5, 2, 1, 2),
        (2, 3, 60, 3), (3, 3, 60_000, 3), (4, 3, 1, 3), (1, 4, 60, 4),
    ]  # fmt: skip


def test_another_definition_adds_readings_and_changes_none():
    readings = learnt()
    assert readings.learn(1, {SECONDS: "a", MINUTES: "c"}) == {1: "a", 6: "c"}
    assert readings.learn(0, {SECONDS: "a"}) == {7: "a"}
    assert read(readings, 1, 0) == [(1, 0, 60, 0), (6, 0, 1, 0), (0, 1, 60_000, 1), (7, 1, 60, 1)]


def test_readings_are_the_same_after_a_restart():
    readings = learnt()
    kept = dict(readings.changed_blocks())
    assert list(readings.changed_blocks()) == []
    for series in range(4, 2 * READINGS_A_BLOCK):
        readings.learn(series, {SECONDS: "a"})
    kept |= dict(readings.changed_blocks())
    assert readings.learn(2 * READINGS_A_BLOCK, {SAME: "a", SECONDS: "b"})
    kept |= dict(readings.changed_blocks())
    again = Readings()
    again.restore(readings.to_meta(), kept.items(), readings.streams)
    assert len(again) == len(readings)
    some = [0, 1, 2, 3, 100, 2 * READINGS_A_BLOCK, 5000]
    assert read(again, *some) == read(readings, *some)
    assert list(again.changed_blocks()) == []


def test_units_that_come_after_a_restart_are_kept_with_all_before():
    plain = Readings()
    for series in range(3):
        plain.learn(series, {SAME: "a"})
    again = Readings()
    again.restore(plain.to_meta(), plain.changed_blocks(), 3)
    assert again.learn(1, {SECONDS: "b"}) == {3: "b"}
    third = Readings()
    third.restore(again.to_meta(), again.changed_blocks(), 3)
    assert read(third, 0, 1, 2) == read(again, 0, 1, 2)
