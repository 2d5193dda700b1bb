"""The value of the latest point, as a double.

Of several points of one time the greatest value; NaN for no points.
"""

from __future__ import annotations

from streams.aggregates.ends import End


class Last(End):
    """`last`."""

    def __init__(self) -> None:
        super().__init__("last", first=False)
