"""Rows of definitions that ask for it, as keyed JSON: what readers of the upsert topic rely on."""

import json

import numpy as np
import pytest

from streams.batch import BytesColumn
from streams.event_time.windows import rfc3339
from streams.kernels.rows import GROUP_POINTS, GROUP_WIDTH
from topologies.partials import PartialRows
from topologies.rollup.groups import Published
from topologies.rollup.upserts import number, upserts
from topologies.rollup.windows import Publication

SECOND = 10**9
DEFINITIONS = [
    {"name": "rooms.load", "version": "00ff", "unit": "s", "instrument": "gauge", "upsert": True},
    {
        "name": "rooms.heat",
        "version": "11ee",
        "unit": "Cel",
        "instrument": "gauge",
        "upsert": False,
    },
]
WINDOW = ("10/0/100", 10 * SECOND, 1_700_000_010 * SECOND)


def publication(values, definitions, points, changed, deleted=(), revision=1) -> Publication:
    n = len(values)
    rows = np.zeros((n, GROUP_WIDTH), np.int64)
    rows[:, GROUP_POINTS] = points
    merged = PartialRows(
        np.array(definitions, np.uint16),
        np.full(n, WINDOW[1], np.int64),
        np.full(n, WINDOW[2], np.int64),
        np.zeros(n, np.uint64),
        np.arange(n, dtype=np.uint64),
        BytesColumn.of([b'{"room":"%d","tenant":"t"}' % row for row in range(n)]),
        rows,
        {},
    )
    gone = np.isin(np.arange(n), np.array(deleted, np.int64))
    published = Published(
        merged,
        np.array(values),
        np.maximum(np.array(points) - 1, 0),
        np.full(n, revision),
        gone,
    )
    return Publication(WINDOW, "telemetry.raw", published, np.array(changed), {}, [])


def test_a_changed_row_is_json_under_its_key_and_others_are_silent():
    told = publication([1.5, 2.5, 3.5], [0, 0, 1], [4, 4, 4], [0, 2])
    found = list(upserts([told], DEFINITIONS))
    assert len(found) == 1
    key, value = found[0]
    assert key == (
        b'{"metric":"rooms.load","version":"00ff","granularity":"10s",'
        b'"window_end":"2023-11-14T22:13:30Z","labels":{"room":"0","tenant":"t"}}'
    )
    assert value is not None
    assert json.loads(value) == json.loads(key) | {
        "window_start": "2023-11-14T22:13:20Z",
        "unit": "s",
        "value": 1.5,
        "points": 4,
        "late": 1,
        "revision": 1,
        "status": "final",
        "domain": "telemetry.raw",
    }


def test_a_later_revision_is_corrected_and_a_deleted_row_is_a_tombstone():
    told = publication([1.5, 0.0], [0, 0], [4, 0], [0, 1], deleted=[1], revision=3)
    found = list(upserts([told], DEFINITIONS))
    assert len(found) == 2
    (_, value), (gone, nothing) = found
    assert value is not None
    row = json.loads(value)
    assert (row["revision"], row["status"]) == (3, "corrected")
    assert nothing is None
    assert json.loads(gone)["labels"]["room"] == "1"


def test_nothing_is_made_where_nobody_asks():
    told = publication([1.5], [1], [4], [0])
    assert list(upserts([told], DEFINITIONS)) == []
    assert list(upserts([told], DEFINITIONS[1:] * 2)) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (0.1 + 0.2, 0.30000000000000004),
    ],
)
def test_every_double_comes_back_from_its_text(value, text):
    assert number(value) == text
    assert np.float64(float(json.loads(json.dumps(number(value))))).tobytes() == (
        np.float64(value).tobytes()
    )


def test_times_are_rfc_3339():
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(-SECOND) == "1969-12-31T23:59:59Z"
