"""States beside rows: they follow their rows through whatever is done with rows."""

from __future__ import annotations

import random

import numpy as np
import pytest

from metric_registry.over_points import KNOWN, Written, spelled
from streams.aggregates import Points, UnknownAggregate, made
from streams.batch import BytesColumn, MalformedTable
from topologies.partials import PartialRows
from topologies.results import finished
from topologies.states import Piece, States, state_column, states_of

SPELLINGS = ("stddev", "quantile(0.5)", "distinct_count(12)")


def rows_with(values: dict[int, list[float]], n: int, spelling: str) -> PartialRows:
    """n rows of one window; those in `values` have a state of these points."""
    aggregate = made(spelling)
    state = aggregate.empty(len(values))
    for index, each in enumerate(values.values()):
        aggregate.add(state, np.full(len(each), index), Points.of_doubles(each))
    piece = Piece(np.array(list(values), np.int64), np.arange(len(values)), state)
    number = np.arange(n)
    return PartialRows(
        np.zeros(n, np.uint16),
        np.full(n, 10),
        np.full(n, 10),
        number.astype(np.uint64),
        number.astype(np.uint64),
        BytesColumn.of([b"{}"] * n),
        np.zeros((n, 10), np.int64),
        {},
        {spelling: (piece,)},
    )


def numbers(rows: PartialRows) -> list[float | None]:
    """Of each row what its state comes to; None: it has none."""
    found, has, _ = finished(rows.states, len(rows))
    return [value if known else None for value, known in zip(found, has, strict=True)]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_states_follow_their_rows(spelling: str):
    rng = random.Random(spelling)
    values = {row: [rng.random() for _ in range(5)] for row in range(0, 30, 2)}
    rows = rows_with(values, 30, spelling)
    want = numbers(rows)
    order = np.array(rng.sample(range(30), 20))
    assert numbers(rows.take(order)) == [want[at] for at in order.tolist()]
    assert numbers(rows.slice(7, 19)) == want[7:19]
    assert numbers(rows.take(order).slice(3, 11)) == [want[at] for at in order[3:11].tolist()]
    both = PartialRows.join([rows.slice(20, 30), rows, rows.take(order)])
    assert numbers(both) == [*want[20:], *want, *(want[at] for at in order.tolist())]


def test_states_of_one_row_are_one_state():
    parts = [Piece(np.array([0, 2]), np.array([1, 0]), state_of([[1.0, 2.0], [4.0]]))]
    parts.append(Piece(np.array([2, 2]), np.array([0, 1]), state_of([[6.0], [8.0]])))
    found, has, _ = finished({"variance": tuple(parts)}, 4)
    assert has.tolist() == [True, False, True, False]
    assert found[0] == 0.0
    assert found[2] == np.var([1.0, 2.0, 6.0, 8.0])


def state_of(rows: list[list[float]]):
    aggregate = made("variance")
    state = aggregate.empty(len(rows))
    for index, each in enumerate(rows):
        aggregate.add(state, np.full(len(each), index), Points.of_doubles(each))
    return state


def test_states_come_back_from_their_bytes_and_equal_ones_have_equal_bytes():
    rows = rows_with({0: [1.0, 2.0], 3: [5.0], 4: [7.0, 9.0]}, 5, "quantile(0.9)")
    both: States = {**rows.states, **rows_with({1: [4.0, 8.0]}, 5, "stddev").states}
    column = state_column(both, 5)
    again = states_of(column)
    assert set(again) == set(both)
    assert finished(again, 5)[0].tolist() == finished(both, 5)[0].tolist()
    turned = PartialRows.join([rows.slice(3, 5), rows.slice(0, 3)]).take(np.array([2, 3, 4, 0, 1]))
    assert state_column(turned.states, 5).data == state_column(rows.states, 5).data


def test_damaged_states_are_refused():
    column = state_column(rows_with({2: [1.0]}, 3, "stddev").states, 3)
    with pytest.raises(MalformedTable, match="of none of 2 rows"):
        states_of(BytesColumn.of([column[0], b""]))
    with pytest.raises(MalformedTable, match="cut short"):
        states_of(BytesColumn.of([column[0][:16], b"", b""]))


def test_a_state_of_an_aggregate_that_nobody_registered_says_what_to_do():
    column = state_column(rows_with({0: [1.0]}, 1, "stddev").states, 1)
    strange = column[0].replace(b"stddev", b"stdfoo")
    with pytest.raises(UnknownAggregate, match="register"):
        states_of(BytesColumn.of([strange]))


PARAMETERS = {"quantile": 0.25}


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_definition_may_state_can_be_made(name: str):
    spelling = spelled(Written(name, PARAMETERS.get(name)))
    aggregate = made(spelling)
    state = aggregate.empty(1)
    aggregate.add(state, np.zeros(3, np.int64), Points.of_doubles([1.0, 2.0, 4.0]))
    again = aggregate.decode(aggregate.encode(state))
    assert aggregate.finish(again)[0] == aggregate.finish(state)[0]


def test_equal_aggregates_are_spelled_alike():
    for one, other in (
        (Written("p95"), Written("quantile", 0.95)),
        (Written("p99.9"), Written("quantile", 0.999)),
        (Written("quantile", 1), Written("quantile", 1.0)),
        (Written("distinct_count"), Written("distinct_count", 12)),
    ):
        assert spelled(one) == spelled(other)
    assert spelled(Written("p95")) == "quantile(0.95)"
    assert spelled(Written("stddev")) == "stddev"
