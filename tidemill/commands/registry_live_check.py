"""`tidemill registry live-check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, FINE, USAGE, WARNINGS, CommandError
from tidemill.commands.output import note
from tidemill.commands.trying import checked, given_by
from tidemill.live_check import live_check as check_live
from tidemill.wiring import MILLISECOND

Form = Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])]
_NOTES = 5


def live_check(
    *paths: Path,
    traffic: Annotated[tuple[Path, ...], Parameter(name="--from", negative=())] = (),
    since: str = "10m",
    bootstrap_servers: str | None = None,
    mebibytes: int = 64,
    name: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    strict: bool = False,
    settings: SettingsFile = None,
    output: Form = "text",
) -> int:
    """Say where live data violates what definitions claim.

    Reads what the deployment's topic of raw points holds, or files, and changes nothing: metrics
    and values that nobody sends, what counts twice or cannot be counted, other units, attributes
    that streams lack, groups near their limit, late points, samples that contradict one another,
    promises that are not kept. Exit code 1 with errors, 3 with warnings under --strict, 2 if there
    is no traffic to hold them against, or a definition has a mistake.

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
    strict:
        Warnings count.
    """
    chosen = settings_of(settings)
    entries = checked(paths, chosen, USAGE).entries
    if missing := set(name) - {one.resolved.name for one in entries}:
        raise CommandError(f"no definition is named {', '.join(sorted(missing))}", USAGE)
    entries = [one for one in entries if (one.resolved.name in name if name else one.finest)]
    if not entries:
        raise CommandError("there are no definitions to check: name a file or a folder", USAGE)
    notes: list[str] = []
    at = bootstrap_servers or chosen.bootstrap
    given = given_by(traffic, at, since, mebibytes, notes)
    if not any(not one.idle for one in given):
        where = "the files hold none" if traffic else f"nothing came in the last {since}"
        advice = "" if traffic else ": do agents send? look further back with --since"
        raise CommandError(f"there is no traffic to hold them against, {where}{advice}", USAGE)
    found = check_live(entries, given, notes, chosen.stream_gap_ms * MILLISECOND)
    for text in notes[:_NOTES]:
        note(text)
    print(found.text() if output == "text" else found.json())
    if found.errors:
        return FAILED
    return WARNINGS if strict and found.warnings else FINE
