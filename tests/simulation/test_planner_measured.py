"""Rows that the planner estimates, against those that the product sends and publishes."""

from __future__ import annotations

from functools import cache

from tests.simulation.planned_world import World, estimate, run, world

SEEDS = range(1000, 1014)


@cache
def measured() -> list[tuple[World, float, int, float, int]]:
    found: list[tuple[World, float, int, float, int]] = []
    for seed in SEEDS:
        given = world(seed, scale=0.4)
        cost, did = estimate(given), run(given)
        times = given.seconds
        found.append((given, cost.rekeyed * times, did.rekeyed, cost.out * times, did.out))
    return found


def test_rows_are_as_many_as_estimated() -> None:
    for given, rekeyed, sent, out, published in measured():
        said = f"{given.key} over {given.partitions}: {rekeyed} for {sent}, {out} for {published}"
        assert 0.65 * sent <= rekeyed <= 1.5 * sent, said
        assert 0.75 * published <= out <= 1.25 * published, said


def test_the_worlds_are_of_all_kinds() -> None:
    worlds = [given for given, *_ in measured()]
    assert {given.partitions for given in worlds} == {1, 2, 4, 8}
    assert any(given.key == "resource" for given in worlds)
    assert any(sent > 1.5 * published for _, _, sent, _, published in measured())
    assert any(sent == published for _, _, sent, _, published in measured())
