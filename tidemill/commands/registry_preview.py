"""`tidemill registry preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from metric_registry.errors import to_json
from streams.event_time.windows import rfc3339
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, FINE, USAGE, CommandError
from tidemill.commands.output import note, table
from tidemill.commands.trying import checked, given_by
from tidemill.preview import OfDefinition, Preview
from tidemill.preview import preview as preview_definitions

Form = Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])]
_LOST = {
    "beyond": "points came later than `corrections`, and count nowhere",
    "rejected": "points were more than two minutes ahead of their receipt, and are rejected",
    "negative": "points of monotonic sums were below zero, and are rejected",
    "contradictory": "points contradict themselves, and count nowhere",
    "repeats": "requests were sent before, and count once",
}


def preview(
    *paths: Path,
    traffic: Annotated[tuple[Path, ...], Parameter(name="--from", negative=())] = (),
    since: str = "10m",
    bootstrap_servers: str | None = None,
    mebibytes: int = 64,
    name: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    rows: int = 5,
    settings: SettingsFile = None,
    output: Form = "text",
) -> int:
    """Show what definitions would make of traffic, before they are deployed.

    Runs the product's own topology in this process over files, or over what the deployment's topic
    of raw points holds, and changes nothing: rows and groups of each window size, points that came
    late, resets of counters, streams that cannot be counted and why, and the newest rows. Windows
    at both ends hold what traffic there was of them. Exit code 1 if a definition makes no row.

    Parameters
    ----------
    paths:
        Files or folders of definitions; without any, what the deployment runs.
    traffic:
        Files in place of the topic, as `tidemill registry infer` reads them. May be repeated.
    since:
        How far back the topic is read, such as 10m.
    bootstrap_servers:
        The broker of the topic, as HOST:PORT; else what the settings say.
    mebibytes:
        Stop after so much of the traffic.
    name:
        Only these definitions. May be repeated.
    rows:
        Rows that are shown of each definition.
    """
    chosen = settings_of(settings)
    report = checked(paths, chosen)
    definitions = [one for one in report.definitions if not name or one.name in name]
    derived = [one.name for one in report.derived if not name or one.name in name]
    if derived:
        note(
            f"left out, as the store computes them when they are asked for: {', '.join(derived)}; "
            "`tidemill registry test` shows what becomes of examples"
        )
    if missing := set(name) - {one.name for one in definitions} - set(derived):
        raise CommandError(f"no definition is named {', '.join(sorted(missing))}", USAGE)
    if not definitions:
        raise CommandError(
            "preview the definitions that it is derived from"
            if derived
            else "there are no definitions to try: name a file or a folder",
            USAGE,
        )
    notes: list[str] = []
    at = bootstrap_servers or chosen.bootstrap
    given = given_by(traffic, at, since, mebibytes, notes)
    if not any(not one.idle for one in given):
        raise CommandError("there is no traffic to try them on")
    found = preview_definitions(definitions, given, rows)
    for text in [*notes, *found.notes[:5]]:
        note(text)
    print(_text(found) if output == "text" else to_json(_data(found)))
    return FINE if all(one.granularities[0].rows for one in found.of) else FAILED


def _text(found: Preview) -> str:
    read = _many(found.points, "point"), _many(found.streams, "stream")
    head = f"{_many(found.requests, 'request')}: {read[0]} of {read[1]}"
    lines = [head, *(f"  {number:,} {_LOST[name]}" for name, number in found.lost.items())]
    return "\n".join([*lines, *("\n" + _of_definition(one) for one in found.of)])


def _of_definition(one: OfDefinition) -> str:
    lines = [f"{one.definition.name} reads {', '.join(one.definition.sources) or 'by patterns'}"]
    lines += [f"  refused: {why}" for why in one.refused]
    if not one.granularities[0].rows:
        told = "  no row: no stream of it was counted; `tidemill registry infer` says what there is"
        return "\n".join([*lines, told])
    for size in one.granularities:
        many = f"{_many(size.windows, 'window')}, {_many(size.groups, 'group')}"
        rows = f"{_many(size.rows, 'row')}; at most {_many(size.a_day, 'row')} a day"
        lines.append(f"  {size.granularity}: {many}, {rows}")
    late = f"{one.late_points:,} late; {_many(one.corrected, 'row')} corrected"
    lines.append(f"  points that count: {one.points:,}, {late}")
    if one.resets:
        told = ", ".join(f"{name} {number:,}" for name, number in one.resets.items())
        lines.append(f"  counters: {told}")
    shown = [_row(row, one.definition.unit) for row in one.sample]
    columns = ("window_end", "labels", "value", "unit", "points", "late", "revision")
    lines += ["  " + line for line in table(shown, columns).splitlines()]
    return "\n".join(lines)


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _row(row: Any, unit: str) -> dict[str, Any]:
    value = row.value
    if row.histogram is not None:
        value = f"{row.histogram.get('count')} observations"
    return {
        "window_end": rfc3339(row.end),
        "labels": row.labels,
        "value": value,
        "unit": unit,
        "points": row.points,
        "late": row.late,
        "revision": row.revision,
    }


def _data(found: Preview) -> dict[str, Any]:
    return {
        "requests": found.requests,
        "points": found.points,
        "streams": found.streams,
        "lost": found.lost,
        "definitions": [
            {
                "name": one.definition.name,
                "version": one.definition.version,
                "points": one.points,
                "late_points": one.late_points,
                "corrected_rows": one.corrected,
                "resets": one.resets,
                "refused": list(one.refused),
                "granularities": [
                    {
                        "granularity": size.granularity,
                        "windows": size.windows,
                        "groups": size.groups,
                        "rows": size.rows,
                        "rows_a_day": size.a_day,
                    }
                    for size in one.granularities
                ],
                "sample": [_row(row, one.definition.unit) for row in one.sample],
            }
            for one in found.of
        ],
    }
