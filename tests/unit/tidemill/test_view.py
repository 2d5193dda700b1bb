"""The line that `tidemill up` shows of a row, as the store answers it."""

import pytest

from tidemill.view import told

ROW = {
    "rollup": "http.requests",
    "resolution": 10,
    "ended": "2026-11-22 11:52:00.000",
    "labels": {"tenant": "t", "http.route": "/"},
    "value": "0.30000000000000004",
    "histogram": "",
    "count": "0",
}


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, "0.3"),
        ({"value": "nan"}, "nan"),
        ({"value": "inf"}, "inf"),
        ({"value": "nan", "histogram": "explicit", "count": "1234"}, "a histogram of 1,234"),
    ],
)
def test_a_row_is_shown_whatever_its_value_is(changed: dict[str, str], shown: str) -> None:
    assert told({**ROW, **changed}) == (
        f"http.requests [http.route=/, tenant=t] 10s to 2026-11-22 11:52:00.000 = {shown}"
    )
