"""The example of an aggregate of one's own is Apdex, and keeps what aggregates promise."""

import math

import numpy as np
import pytest

from examples.apdex import Apdex
from streams.aggregates import Points
from streams.aggregates.promises import PROMISES, check, numbers
from streams.kernels.rows import IS_INTEGER


def score(threshold, values):
    """Of these values together."""
    points = Points.of_doubles([float(value) for value in values])
    for at, value in enumerate(values):
        if isinstance(value, int):
            points.raws[at], points.metas[at] = value, IS_INTEGER
    apdex = Apdex(threshold)
    state = apdex.empty(1)
    apdex.add(state, np.zeros(len(values), np.int64), points)
    return apdex.finish(state)[0]


def test_the_threshold_satisfies_four_times_it_is_tolerated_and_what_is_greater_is_not():
    assert score(0.5, [0.5, 0.1, 0, -1.0]) == 1.0
    assert score(0.5, [2.0, 2, 1.5]) == 0.5
    assert score(0.5, [2.1, 3, math.inf, math.nan]) == 0.0
    assert score(0.5, [0.1, 1, 3]) == 0.5
    assert math.isnan(score(0.5, []))


def test_it_keeps_what_aggregates_promise():
    check(Apdex(1.5), trees=50, promises=(numbers, *PROMISES))


@pytest.mark.parametrize("threshold", [0, -1, math.inf, math.nan, True, "1s", None])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(ValueError, match="the threshold is"):
        Apdex(threshold)
