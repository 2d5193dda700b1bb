"""What the planner estimates, against what the product sends, publishes and keeps."""

from __future__ import annotations

from functools import cache

import pytest

from metric_registry.planner.costs import Costs
from metric_registry.planner.state import state_of
from tests.simulation.planned_world import Run, World, costs, run, world

SEEDS = range(1000, 1014)


@cache
def measured() -> list[tuple[World, Costs, Run]]:
    worlds = [world(seed, scale=0.4) for seed in SEEDS]
    return [(given, costs(given), run(given)) for given in worlds]


def test_rows_are_as_many_as_estimated() -> None:
    """A world by itself may have luck: of a few keys several fall into one partition, or none."""
    every: list[tuple[float, int]] = []
    for given, known, did in measured():
        cost = known.of(given.key)
        rows = [(cost.rekeyed * given.seconds, did.rekeyed), (cost.out * given.seconds, did.out)]
        for estimated, counted in rows:
            said = f"{given.key} over {given.partitions}: {estimated} for {counted}"
            assert 0.5 * counted <= estimated <= 2 * counted, said
        every += rows
    assert sum(one for one, _ in every) == pytest.approx(sum(did for _, did in every), rel=0.1)


def test_state_stays_under_its_bound() -> None:
    for given, known, did in measured():
        bound = state_of(known, known.of(given.key))
        assert 0 < did.kept["test-preaggregate-changelog"] <= bound.preaggregate
        assert 0 < did.kept["test-rollup-changelog"] <= bound.rollup


def test_the_worlds_are_of_all_kinds() -> None:
    worlds = [given for given, *_ in measured()]
    assert {given.partitions for given in worlds} == {1, 2, 4, 8}
    assert any(given.key == "resource" for given in worlds)
    assert any(did.rekeyed > 1.5 * did.out for *_, did in measured())
    assert any(did.rekeyed == did.out for *_, did in measured())
