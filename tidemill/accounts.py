"""What tasks' accounts say of a definition: a pure function of what the workers say.

The accounts are those of `telemetry.ledger`; `why` and `doctor` read the newest from the workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidemill.grace import sentences
from tidemill.holding import Tasks, clock, newest_tasks
from tidemill.operators import PREAGGREGATION, ROLL_UP

_REASONS = {
    "instrument": "{} is not what `increase` counts: it counts monotonic sums",
    "histogram": "{} points are no numbers; a definition reads them by `source.instrument`",
    "kind": "{} is not what `source.instrument` reads",
    "temporality": "{} points have no extremes of a window, or nobody knows what they count",
    "bounds": "they have the {}",
    "unit": "their unit `{}` does not convert to the definition's",
}
"""What is wrong, by the code of the refusal; filled with what the stream is."""

_NOTICED = {
    "start-changed": "began anew, with another start time: each counted whole",
    "decreased": "fell below the one before: each counted whole",
    "overlap": "overlapped another writer of the same stream: each counted zero",
    "gap": "came after more than 15 minutes of silence: the stream was unknown",
    "unknown-start": "were the first of their stream, begun nobody knows when: each a base line",
    "tie": "had another of the same stream and time that was greater: none counted",
}
"""What it means, by the kind of the notice."""


def refused(workers: Mapping[str, Tasks], definition: str | None = None) -> list[str]:
    """A sentence a reason why streams that a definition names are no members of it.

    workers: A worker's name -> its tasks. definition: None for all of them, each sentence with its
    name.
    """
    streams: dict[tuple[str, str, str], int] = {}
    points: dict[tuple[str, str, str], int] = {}
    for row in _rows(workers, PREAGGREGATION, "refused"):
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


def noticed(workers: Mapping[str, Tasks], definition: str) -> list[str]:
    """A sentence a kind of what was noticed about a definition's cumulative streams.

    workers: A worker's name -> its tasks.
    """
    totals: dict[str, int] = {}
    newest: dict[str, int] = {}
    for row in _rows(workers, PREAGGREGATION, "resets"):
        if row["definition"] == definition:
            for kind in _NOTICED:
                totals[kind] = totals.get(kind, 0) + row.get(kind, 0)
            for window in row["windows"]:
                for kind in window.keys() & _NOTICED.keys():
                    newest[kind] = max(newest.get(kind, 0), window["end"])
    said: list[str] = []
    for kind, why in _NOTICED.items():
        if count := totals.get(kind, 0):
            many = "1 sample" if count == 1 else f"{count:,} samples"
            last = f" (the latest up to {clock(newest[kind])})" if kind in newest else ""
            said.append(f"{many} {why}{last}")
    return said


def lateness(workers: Mapping[str, Tasks], name: str, grace: int) -> list[str]:
    """What grace would have let late points in; grace: the definition's, ns."""
    return sentences(_rows(workers, PREAGGREGATION, "lateness"), name, grace)


def crowded(workers: Mapping[str, Tasks], definition: str | None = None) -> list[str]:
    """A sentence a tenant and window size of which groups are near their limit, or over it.

    Arguments as of `refused`.
    """
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in _rows(workers, ROLL_UP, "limits"):
        if row["state"] != "within" and definition in (None, row["definition"]):
            whose = row["definition"], row["tenant"], row["granularity"]
            found.setdefault(whose, []).append(row)
    said: list[str] = []
    for (name, tenant, size), rows in sorted(found.items()):
        whose = f"tenant {tenant}, windows of {size}" if definition else name
        if not definition:
            whose += f": tenant {tenant}, windows of {size}"
        limit = f"the limit of {rows[0]['limit']:,} groups"
        over = [row for row in rows if row["state"] == "over"]
        if over:
            windows, points = (
                max(row["windows"] for row in over),
                sum(row["points"] for row in over),
            )
            many = "1 window" if windows == 1 else f"{windows:,} windows"
            said.append(
                f"{whose}: over {limit}; the groups with the greatest hashes are one row, "
                f"otel.metric.overflow=true: {points:,} points in {many} so far. Keep fewer "
                "attributes, or raise limits.series"
            )
        else:
            said.append(f"{whose}: near {limit} (80 %)")
    return said


def _rows(workers: Mapping[str, Tasks], topology: str, account: str) -> Iterator[dict[str, Any]]:
    """The accounts of all tasks."""
    for task in newest_tasks(workers.values(), topology).values():
        yield from task["processor"].get(account, ())
