"""What the two steps of an aggregate mean for the plan.

First `over_time`, each stream by itself in a window; then `over_space`, over a group's streams.
(`over_points` has one: all points of a group make one state, and states of windows merge.)
"""

from __future__ import annotations

_ADDS_UP = ("sum", "count", "increase", "rate")


def coarser_from_finer_groups(over_time: str, over_space: str, over_points: str = "") -> bool:
    """Whether a coarser window follows from the finer windows' exact group states.

    Else each stream's state has to be carried to the coarser window's end, because the step over
    space needs a number a stream and window: the mean of a stream's hour is not made of the means
    of its minutes over all streams.
    """
    if over_points:
        return True  # states merge
    if over_space == "sum":
        return over_time in _ADDS_UP
    return over_time == over_space and over_time in ("min", "max", "last")
