"""`tidemill query --open`."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping
from typing import Any

from metric_registry.granularities import Granularity, text_of
from metric_registry.plan import ResolvedDefinition
from streams.event_time.windows import SECOND
from tidemill.commands.errors import FAILED, TIMED_OUT, UNREACHABLE, CommandError
from tidemill.commands.output import Form, emit, note
from tidemill.commands.why import no_worker
from tidemill.holding import clock, explain
from tidemill.open_windows import NoAnswer, ask, join
from tidemill.settings import Settings
from tidemill.situation import ask as ask_situation
from topologies.sink.stored import StoredHistogram

_MOMENTS = ("count", "sum", "min", "max")
_RAW = "telemetry.raw"
_MOST_ROWS = 10_000
"""Rows that a worker gives at once, at most."""
WAIT_MS = 10_000


def query_open(
    settings: Settings,
    definition: ResolvedDefinition,
    size: Granularity,
    labels: Mapping[str, str],
    quantiles: Mapping[str, float],
    limit: int,
    output: Form,
) -> int:
    """Print what open windows hold so far; quantiles by the names of their columns."""
    answer = join(_ask(settings, definition, size, labels, limit))
    rows = answer["rows"]
    columns = ["window_end", "seals", "labels"]
    columns += [*_MOMENTS, *quantiles] if quantiles else ["value"]
    now = time.time_ns()
    told = [_told(row, definition, quantiles, now) for row in rows]
    if output == "json":
        print(json.dumps({**answer, "rows": told}, indent=2, ensure_ascii=False))
    else:
        emit(told, [*columns, "unit", "points"], output)
    if not rows:
        _say_why(settings, definition, size, answer)
    else:
        note(_valid_at(answer))
        if answer["next"] is not None:
            note(f"the first {len(rows)} rows; ask for more with --limit")
    return 0


def _ask(
    settings: Settings,
    definition: ResolvedDefinition,
    size: Granularity,
    labels: Mapping[str, str],
    limit: int,
) -> list[dict[str, Any]]:
    """The answers, page by page."""
    asked = {f"label.{name}": value for name, value in labels.items()}
    asked |= {"granularity": text_of(size), "wait_ms": str(WAIT_MS)}
    answers: list[dict[str, Any]] = []
    left = limit
    while True:
        asked["limit"] = str(min(max(left, 1), _MOST_ROWS))
        try:
            answer = ask(settings, definition.name, asked)
        except NoAnswer as error:
            again = "; ask again in a moment" if error.passes else ""
            raise CommandError(f"{error}{again}", TIMED_OUT if error.passes else FAILED) from None
        if answer is None:
            raise CommandError(no_worker(settings), UNREACHABLE)
        answers.append(answer)
        left -= len(answer["rows"])
        if answer["next"] is None or left <= 0:
            return answers
        asked["next"] = answer["next"]


def _valid_at(answer: Mapping[str, Any]) -> str:
    if answer["position"] is None:
        return (
            f"so far, in {len(answer['pages'])} pages, between which more was counted: each row is "
            "exact for its page alone (positions: -o json)"
        )
    read = {at: offset for at, offset in answer["position"].items() if at.startswith(_RAW)}
    counted = ", ".join(f"{name} {offset}" for name, offset in read.items())
    return f"so far: exactly the records of {counted} (next offset), late ones aside"


def _told(
    row: Mapping[str, Any], definition: ResolvedDefinition, quantiles: Mapping[str, float], now: int
) -> dict[str, Any]:
    left = (row["window_end"] + definition.grace_ns - now) / SECOND
    times = {name: clock(row[name]) + "Z" for name in ("window_start", "window_end")}
    seals = f"in {math.ceil(left)} s" if left > 0 else "soon"
    told = {**row, **times, "seals": seals}
    if "histogram" in row:
        found = _histogram(row["histogram"])
        values = {name: found.quantile(q) for name, q in quantiles.items()}
        told |= {name: row["histogram"].get(name) for name in _MOMENTS}
        told |= {name: None if math.isnan(value) else value for name, value in values.items()}
    elif isinstance(row["value"], str):
        told["value"] = float(row["value"])
    return told


def _histogram(said: Mapping[str, Any]) -> StoredHistogram:
    """What an answer says of one."""
    fields: dict[str, Any] = {
        name: said.get(name, 0) for name in ("scale", "zero_count", "zero_threshold")
    }
    for name in ("positive", "negative"):
        side = said.get(name, {})
        fields[f"{name}_offset"] = side.get("offset", 0)
        fields[f"{name}_bucket_counts"] = tuple(side.get("bucket_counts", ()))
    for name in ("explicit_bounds", "bucket_counts"):
        fields[name] = tuple(said.get(name, ()))
    moments = {name: float(said.get(name, math.nan)) for name in ("sum", "min", "max")}
    kind = "explicit" if "explicit_bounds" in said else "exponential"
    return StoredHistogram(kind=kind, count=said["count"], **moments, **fields)


def _say_why(
    settings: Settings,
    definition: ResolvedDefinition,
    size: Granularity,
    answer: Mapping[str, Any],
) -> None:
    closed = answer["closed_until"]
    if answer["position"] is not None and not any(answer["position"].values()):
        note(f"no record has arrived yet, so no window of {definition.name} is open")
        return
    until = "" if closed is None else f"; those up to {clock(closed)}Z are closed"
    note(f"no {text_of(size)} window of {definition.name} is open and holds anything{until}")
    for sentence in explain(asyncio.run(ask_situation(settings, definition)))[0].sentences:
        note(sentence)
    if closed is None:
        names = [*definition.sources, *definition.patterns]
        note(f"does an agent send {' or '.join(names)}?")
    else:
        note(f"what was sealed: tidemill query {definition.name}")
