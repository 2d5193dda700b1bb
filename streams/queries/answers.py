"""From the replies of tasks to an answer: parts are put together, and only if they fit.

An aggregation whose rows come from several partitions keeps the parts of open windows where the
rows are, and sends them when the window closes there. So its open windows are what the merging task
has received, and what each source still keeps. The two fit if the merging task has received from
each source the windows that the source has closed, all of them and no others: then the answer is
what the sources' records before their positions amount to. Else something is on its way, and one
asks again a moment later. The sources are asked after the merging task, never before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streams.event_time.windows import EARLIEST
from streams.operators.groups import Groups
from streams.operators.windowed import Windowed
from streams.queries.questions import Place, QueryError, Question, Reply, retired
from streams.queries.shapes import StoreShape
from streams.task.events import TaskId

A_MOMENT_MS = 100

Bound = Mapping[str, int]
"""`topic/partition` -> the position that an answer must be valid at, or behind."""


def answer(
    shape: StoreShape, question: Question, bound: Bound, replies: Mapping[TaskId, Reply]
) -> dict[str, Any]:
    """The answer, as JSON. Raises `QueryError`, with a time after which to ask again."""
    inputs = {task.input: reply for task, reply in replies.items()}
    owners = {tasks.topology for tasks in shape.owners}
    feeders = {task: reply for task, reply in replies.items() if task.topology not in owners}
    asked = {task: reply for task, reply in replies.items() if task.topology in owners}
    _fits(asked, feeders)
    at = {task.input: reply for task, reply in (feeders or asked).items()}
    reaches(bound, at)
    reached = [reply.part.reached for reply in inputs.values() if reply.part.reached is not None]
    horizon = min(reached, default=None)
    rows = _group_rows(shape, replies) if shape.of is not None else _plain_rows(replies)
    chosen = [(place, row) for place, row in rows if horizon is None or place <= horizon]
    if len(chosen) > question.limit:
        chosen = chosen[: question.limit]
        horizon = chosen[-1][0]
    found: dict[str, Any] = {
        "store": shape.name,
        "rows": [{name: plain(value) for name, value in row.items()} for _, row in chosen],
        "next": None if horizon is None else token(horizon),
        "position": {name: reply.position for name, reply in sorted(at.items())},
        "committed": {name: reply.committed for name, reply in sorted(at.items())},
    }
    if shape.windows is not None:
        closes = [reply.part.closed for reply in asked.values()]
        closed = min(closes, default=EARLIEST)
        gone = retired(shape.windows, max(closes, default=EARLIEST))
        found["closed_until"] = None if closed == EARLIEST else closed
        found["gone_until"] = None if gone == EARLIEST else gone
    return found


def _fits(asked: Mapping[TaskId, Reply], feeders: Mapping[TaskId, Reply]) -> None:
    for task, reply in asked.items():
        for source, theirs in feeders.items():
            received = reply.part.received.get(source.input, EARLIEST)
            if received != theirs.part.closed or source.input in reply.part.torn:
                raise QueryError(
                    503, "settling", f"windows that {source.input} has closed are on their way "
                    f"to {task.input}", retry_ms=A_MOMENT_MS,
                )  # fmt: skip


def reaches(bound: Bound, at: Mapping[str, Reply]) -> None:
    """Raises `QueryError` unless the replies, by `topic/partition`, are valid there."""
    for name, wanted in bound.items():
        if name not in at:
            raise QueryError(
                400, "unknown-position", f"no position on {name} says anything about this answer; "
                f"it depends on {', '.join(sorted(at))}",
            )  # fmt: skip
        if at[name].position < wanted:
            raise QueryError(
                503, "behind", f"the task has processed {name} up to {at[name].position}, and "
                f"{wanted} is asked for", retry_ms=A_MOMENT_MS,
                position={each: reply.position for each, reply in sorted(at.items())},
            )  # fmt: skip


def _group_rows(
    shape: StoreShape, replies: Mapping[TaskId, Reply]
) -> list[tuple[Place, dict[str, Any]]]:
    """The groups of all parts, those of a key and window merged, in the order of their places."""
    of = shape.of
    assert of is not None
    whole: dict[tuple[int, int], Groups] = {}  # by window, and by whether it is still open
    for reply in replies.values():
        for window in reply.part.windows:
            groups = whole.setdefault((window.end, window.revision), Groups(of.aggregations))
            groups.absorb(window.groups)
    found: list[tuple[Place, dict[str, Any]]] = []
    for (end, revision), groups in whole.items():
        slots = groups.in_order()
        columns = {name: v.to_list() for name, v in groups.finish(slots, of.keys).items()}
        more = _window(of, end, revision) if isinstance(of, Windowed) else {}
        for at, hashed in enumerate(groups.index.hashes()[slots].tolist()):
            keys = {name: columns[name][at] for name in of.keys}
            values = {name: v[at] for name, v in columns.items() if name not in of.keys}
            found.append(((end, hashed), keys | more | values))
    return sorted(found, key=lambda row: row[0])


def _window(of: Windowed, end: int, revision: int) -> dict[str, Any]:
    said = {"window_start": end - of.windows.size, "window_end": end, "final": revision > 0}
    return said | {"revision": revision} if of.windows.revised else said


def _plain_rows(replies: Mapping[TaskId, Reply]) -> list[tuple[Place, dict[str, Any]]]:
    rows = [((0, row.hash), row.values) for reply in replies.values() for row in reply.part.rows]
    return sorted(rows, key=lambda row: row[0])


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes are text, or 0x and hexadecimal digits if they are none."""
    if not isinstance(value, bytes):
        return value
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex()}"
    return text if text.isprintable() and not text.startswith("0x") else f"0x{value.hex()}"


def token(place: Place) -> str:
    """A place as text, for the next page."""
    return f"{place[0]}.{place[1]:x}"


def place_of(text: str) -> Place:
    """The inverse of `token`. Raises `ValueError`."""
    end, _, hashed = text.partition(".")
    found = int(end), int(hashed, 16)
    if not 0 <= found[1] <= np.iinfo(np.uint64).max:
        raise ValueError(text)
    return found
