"""The value of the earliest point, as a double.

Of several points of one time the greatest value; NaN for no points.
"""

from __future__ import annotations

from streams.aggregates.ends import End


class First(End):
    """`first`."""

    def __init__(self) -> None:
        super().__init__("first", first=True)
