"""Where a task's input begins after a restore, and what to do when it is not there any more."""

from __future__ import annotations

from streams.config import TaskSettings
from streams.errors import Fatal
from streams.state.position import Position


def start_offset(
    where: str,
    settings: TaskSettings,
    committed: Position | None,
    replay_from: int | None,
    bounds: tuple[int, int],
) -> tuple[int, int]:
    """(first offset to read, how many wanted records are gone) for the input named `where`.

    `bounds`: [log start, last stable offset). Raises `Fatal` when the log is shorter than what was
    counted, or begins behind what is wanted and the settings say to stop.
    """
    first, end = bounds
    if committed is None:
        return max(first, replay_from or 0), 0
    if committed.offset > end:
        raise Fatal(
            f"{where} ends at {end:,}, but it was counted up to {committed.offset:,}",
            "The topic was made anew or lost records; give the app another name to start over",
        )
    wanted = committed.origin if replay_from is None else replay_from
    wanted = min(wanted, committed.offset)
    if wanted >= first:
        return wanted, 0
    if settings.lost_input == "stop":
        raise Fatal(
            f"records {wanted:,} to {first:,} of {where} are gone from the log",
            "Restore them, or set lost_input to skip and go on without them",
        )
    return first, first - wanted
