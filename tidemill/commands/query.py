"""`tidemill query`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from clickhouse_connect.driver.exceptions import ClickHouseError
from cyclopts import Parameter

from metric_registry.durations import SECOND, DurationError, parse, render_seconds
from metric_registry.plan import ResolvedDefinition
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, UNREACHABLE, USAGE, CommandError
from tidemill.commands.output import Output, emit, note
from tidemill.commands.why import definition_of, no_worker
from tidemill.holding import explain
from tidemill.settings import Settings, SettingsError
from tidemill.situation import ask
from tidemill.store_address import PASSWORD, store_address
from topologies.sink.queries import DEFAULT_LIMIT, RollupRow, query_rollups
from topologies.sink.store import connect

_NO_TABLES = ("UNKNOWN_DATABASE", "UNKNOWN_TABLE")
_COLUMNS = ("window_end", "labels", "value", "unit", "points", "late", "revision")


def query(
    name: str,
    *,
    resolution: str | None = None,
    since: str = "10m",
    until: str = "0s",
    where: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    limit: int = DEFAULT_LIMIT,
    settings: SettingsFile = None,
    output: Output = "table",
) -> int:
    """The latest revision of a definition's windows, from the store.

    Parameters
    ----------
    name:
        The definition.
    resolution:
        Size of the windows, such as 10s, 1m, 1h, 1d; the definition's finest if not given.
    since:
        How far back to look, as a duration before now, or a time such as 2014-02-14T14:30:00Z.
    until:
        Where to stop, likewise.
    where:
        Only groups with this label, as LABEL=VALUE.
    limit:
        Rows at most.
    """
    deployment = settings_of(settings)
    definition = definition_of(deployment, name)
    seconds = _resolution(definition, resolution)
    now = datetime.now(UTC)
    rows = _ask_store(
        deployment,
        name,
        seconds,
        (_moment(since, now), _moment(until, now)),
        dict(_label(word) for word in where),
        limit,
    )
    emit([_printable(row) for row in rows], _COLUMNS, output)
    if not rows:
        _say_why(deployment, definition, seconds, since)
    elif len(rows) == limit:
        note(f"the first {limit} rows; ask for more with --limit")
    return 0


def _ask_store(
    settings: Settings,
    name: str,
    seconds: int,
    between: tuple[datetime, datetime],
    labels: dict[str, str],
    limit: int,
) -> list[RollupRow]:
    try:
        client = connect(store_address(settings.store_url, os.environ.get(PASSWORD, "")))
        return query_rollups(client, name, seconds, *between, labels, limit=limit)
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None
    except ClickHouseError as error:
        said = str(error)
        if any(code in said for code in _NO_TABLES):
            return []
        if "DB::Exception" in said or "error code" in said.lower():
            raise CommandError(f"the store refused: {said.splitlines()[0]}", FAILED) from None
        raise CommandError(
            f"no store answers at {settings.store_url}: start the stack with `tidemill up`, or "
            "name its settings with --settings",
            UNREACHABLE,
        ) from None


def _say_why(settings: Settings, definition: ResolvedDefinition, seconds: int, since: str) -> None:
    size = render_seconds(seconds)
    note(f"no {size} window of {definition.name} since {since}")
    situation = asyncio.run(ask(settings, definition))
    if not situation.workers:
        note(no_worker(settings))
        return
    holding = explain(situation)[0]
    for sentence in holding.sentences:
        note(sentence)
    if seconds > definition.finest:
        note(f"a {size} window is published when it has ended; finer ones come sooner: "
             f"--resolution {render_seconds(definition.finest)}")  # fmt: skip
    elif not holding.held:
        note(
            f"does an agent send {' or '.join(definition.sources)}? Look further back with --since"
        )


def _resolution(definition: ResolvedDefinition, given: str | None) -> int:
    if given is None:
        return definition.finest
    sizes = [render_seconds(size) for size in definition.granularities]
    seconds = _duration("--resolution", given) // SECOND
    if seconds not in definition.granularities:
        raise CommandError(
            f"{definition.name} has windows of {', '.join(sizes)}, not {given}", USAGE
        )
    return seconds


def _moment(text: str, now: datetime) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return now - timedelta(microseconds=_duration("--since and --until", text) // 1000)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _duration(flag: str, text: str) -> int:
    try:
        return parse(text)
    except DurationError as error:
        raise CommandError(f"{flag}: {error}; write it like 10s, 5m or 2d", USAGE) from None


def _label(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not sign or not name:
        raise CommandError(f"--where {word}: write LABEL=VALUE", USAGE)
    return name, value


def _printable(row: RollupRow) -> dict[str, Any]:
    times = {
        name: getattr(row, name).astimezone(UTC).isoformat(sep=" ").removesuffix("+00:00") + "Z"
        for name in ("window_start", "window_end")
    }
    return asdict(row) | times | {"labels": dict(row.labels)}
