"""Cells are the same however many streams come at once, and full buckets get their overflow."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.cardinality import overflow, share_of
from topologies.identity.stream import GroupLabels, Stream, group_labels
from topologies.preaggregate.cells import Cells
from topologies.preaggregate.columns import Members
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.guard import Bound

LIMITS = {0: 2, 1: 1, 3: 1000}
TENANTS = ("t", "u")
SHARE = {definition: share_of(limit) for definition, limit in LIMITS.items()}


def labels(tenant: int, value: int) -> GroupLabels:
    """A group of a tenant; one of the values is the overflow group that agents send themselves."""
    if value == 0:
        merged = overflow(TENANTS[tenant].encode(), SHARE[0], 0)
        return GroupLabels(merged.labels, merged.high, merged.low)
    stream = Stream(0, TENANTS[tenant], {}, "", "", {}, "m", "", 0, False, {"a": str(value)})
    return group_labels(stream, ["a"])


entries = st.tuples(st.sampled_from(sorted(LIMITS)), st.integers(0, 1), st.integers(0, 6))
streams = st.lists(st.lists(entries, max_size=4), max_size=10)


def added(wanted: list[list[tuple[int, int, int]]], sizes: list[int]) -> tuple[Cells, Groups]:
    """Cells to which the streams were added so many at a time."""
    groups = Groups()
    cells = Cells(3, {d: Bound(share, f"v{d}") for d, share in SHARE.items()}, groups)
    numbers = [groups.tenant(name) for name in TENANTS]
    for size in sizes:
        part, wanted = wanted[:size], wanted[size:]
        rows = [(slot, *entry) for slot, each in enumerate(part) for entry in each]
        cells.add_streams(
            size,
            Members(
                np.array([row[0] for row in rows], np.int64),
                np.array([row[1] for row in rows], np.uint16),
                np.zeros(len(rows), np.uint8),
                np.array([groups.number(labels(*row[2:])) for row in rows], np.int32),
                np.array([numbers[row[2]] for row in rows], np.int64),
            ),
        )
    return cells, groups


def told(cells: Cells, groups: Groups) -> object:
    """All that others see, without numbers of groups."""
    first, of, kinds = cells.arrays()
    names = list(groups.labels(cells.group))
    return (
        first.tolist(), of.tolist(), kinds.tolist(), cells.came.tolist(), names,
        cells.definition.tolist(), cells.high.tolist(), cells.low.tolist(), cells.shard.tolist(),
        cells.bucket.tolist(), cells.wanted().tolist(), cells.buckets.full,
        cells.buckets.most.tolist(), cells.buckets.overflows.tolist(),
    )  # fmt: skip


def plainly(wanted: list[list[tuple[int, int, int]]]) -> list[tuple[int, bytes]]:
    """Definition and labels of each cell, in the order in which cells must come."""
    found: list[tuple[int, bytes]] = []
    groups_of: dict[tuple[int, int], int] = {}
    for definition, tenant, value in (entry for each in wanted for entry in each):
        cell = definition, labels(tenant, value).labels
        if cell in found:
            continue
        found.append(cell)
        merged = definition, labels(tenant, 0).labels
        if value == 0:
            continue
        groups_of[definition, tenant] = count = groups_of.get((definition, tenant), 0) + 1
        if count > LIMITS[definition] and merged not in found:
            found.append(merged)
    return found


@given(streams, st.data())
@settings(max_examples=150, deadline=None)
def test_cells_do_not_depend_on_how_many_streams_come_at_once(wanted, data: st.DataObject):
    sizes: list[int] = []
    while sum(sizes) < len(wanted):
        sizes.append(data.draw(st.integers(1, len(wanted) - sum(sizes))))
    cells, groups = added(wanted, sizes)
    assert told(cells, groups) == told(*added(wanted, [len(wanted)]))
    names = list(groups.labels(cells.group))
    in_order = sorted(zip(cells.came.tolist(), cells.definition.tolist(), names, strict=True))
    assert [(definition, name) for _, definition, name in in_order] == plainly(wanted)
    first, of, _ = cells.arrays()
    for slot, each in enumerate(wanted):
        mine = of[first[slot] : first[slot + 1]].tolist()
        cell_of = [(int(cells.definition[cell]), names[cell]) for cell in mine]
        assert cell_of == [(d, labels(tenant, value).labels) for d, tenant, value in each]


def test_cells_that_came_elsewhere_are_found_by_definition_and_group():
    one, groups = added([[(0, 0, 1), (1, 0, 1)], [(3, 1, 2)]], [2])
    other = Cells(3, {5: Bound(SHARE[0], "v0"), 7: Bound(SHARE[3], "v3")}, groups)
    numbers = np.array([groups.number(labels(1, 2)), groups.number(labels(0, 1))], np.int32)
    other.add_streams(
        1,
        Members(
            np.zeros(2, np.int64), np.array([7, 5], np.uint16), np.zeros(2, np.uint8), numbers,
            np.array([1, 0], np.int64),
        ),
    )  # fmt: skip
    assert len(one) == 3
    assert one.came_in(other, {0: 5, 3: 7}).tolist() == [1, -1, 0]
    assert json.loads(groups.labels(numbers)[0]) == {"a": "2", "tenant": "u"}
