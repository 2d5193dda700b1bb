"""Marks by number, against NumPy."""

import numpy as np
import pytest

from streams.kernels.marks import mark


@pytest.mark.parametrize("seed", range(20))
def test_marks_are_those_that_numpy_gives(seed: int):
    random = np.random.default_rng(seed)
    things = int(random.integers(1, 200))
    numbers = random.integers(0, things, int(random.integers(0, 300))).astype(np.int32)
    marks = random.integers(-5, 5, things)
    value = int(random.integers(-(2**62), 2**62))
    expected = marks.copy()
    expected[numbers] = value
    mark(numbers, value, marks)
    assert marks.tolist() == expected.tolist()
