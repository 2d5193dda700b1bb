"""`tidemill query` of a derived definition: its view."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.granularities import (
    Granularity,
    is_calendar,
    is_hopping,
    size_of,
    step_of,
    text_of,
)
from tidemill.commands.errors import FAILED, FINE, CommandError
from tidemill.commands.output import Form, emit, note
from tidemill.commands.store import NoTables, store_client
from tidemill.settings import Settings
from topologies.sink.derived import query_derived_rows

_COLUMNS = ("window_end", "labels", "value", "unit", "inputs")


def query_derived(
    settings: Settings,
    one: ResolvedDerived,
    size: Granularity,
    between: tuple[datetime, datetime],
    labels: Mapping[str, str],
    limit: int,
    output: Form,
) -> int:
    """Print rows of windows that end in (first, second]."""
    rows = _rows(settings, one, size, between, labels, limit)
    emit([_printable(row) for row in rows], _COLUMNS, output)
    if not rows:
        inputs = " and ".join(each.name for each in one.inputs)
        note(
            f"no {text_of(size)} window of {one.name}: there is one where {inputs} have rows that "
            f"it can be computed of; see `tidemill query` and `tidemill why` of these"
        )
    elif len(rows) == limit:
        note(f"the first {limit} rows; ask for more with --limit")
    return FINE


def _rows(
    settings: Settings,
    one: ResolvedDerived,
    size: Granularity,
    between: tuple[datetime, datetime],
    labels: Mapping[str, str],
    limit: int,
) -> list[dict[str, Any]]:
    try:
        with store_client(settings) as client:
            return query_derived_rows(
                client,
                one.name,
                size_of(size),
                *between,
                labels,
                hop=step_of(size) if is_hopping(size) else 0,
                zone=one.zone if is_calendar(size) else "",
                limit=limit,
            )
    except NoTables:
        raise CommandError(
            f"the store has no view of {one.name} yet: is it in force? "
            "`tidemill registry apply` puts it there",
            FAILED,
        ) from None


def _printable(row: dict[str, Any]) -> dict[str, Any]:
    times = {
        name: row[name].replace(tzinfo=row[name].tzinfo or UTC).astimezone(UTC)
        for name in ("window_start", "window_end")
    }
    written = {n: t.isoformat(sep=" ").removesuffix("+00:00") + "Z" for n, t in times.items()}
    return {**row, **written}
