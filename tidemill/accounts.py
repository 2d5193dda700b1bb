"""What tasks' accounts say of a definition: a pure function of what the workers say.

The accounts are those of `telemetry.ledger`; `why` and `doctor` read the newest from the workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidemill.holding import Tasks

_REASONS = {
    "instrument": "{} is not what `increase` counts: it counts monotonic sums",
}
"""What is wrong, by the code of the refusal; filled with what the stream is."""


def refused(workers: Mapping[str, Tasks], definition: str | None = None) -> list[str]:
    """A sentence a reason why streams that a definition names are no members of it.

    workers: A worker's name -> its tasks. definition: None for all of them, each sentence with its
    name.
    """
    streams: dict[tuple[str, str, str], int] = {}
    points: dict[tuple[str, str, str], int] = {}
    for row in _rows(workers):
        key = (row["definition"], row["reason"], row["detail"])
        if definition in (None, row["definition"]):
            streams[key] = streams.get(key, 0) + row["streams"]
            points[key] = points.get(key, 0) + row["points"]
    said: list[str] = []
    for key, count in sorted(streams.items()):
        name, reason, detail = key
        many = "1 stream does" if count == 1 else f"{count:,} streams do"
        whose = "" if definition else f"{name}: "
        so_far = "1 point" if points[key] == 1 else f"{points[key]:,} points"
        said.append(f"{whose}{many} not count, {so_far} so far: {_REASONS[reason].format(detail)}")
    return said


def _rows(workers: Mapping[str, Tasks]) -> Iterator[dict[str, Any]]:
    """What the tasks refuse; of two claims to a partition the one further on."""
    tasks: dict[str, Mapping[str, Any]] = {}
    for found in workers.values():
        for source, task in found.get("preaggregate", {}).items():
            if source not in tasks or task["position"] > tasks[source]["position"]:
                tasks[source] = task
    for task in tasks.values():
        yield from task["processor"].get("refused", ())
