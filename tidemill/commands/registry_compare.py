"""`tidemill registry compare`: candidates and what is in force, window by window."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from metric_registry.granularities import Granularity, text_of
from metric_registry.plan import ResolvedDefinition
from streams.event_time.levels import longest
from streams.event_time.windows import SECOND, rfc3339
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, FINE, USAGE, CommandError
from tidemill.commands.output import note
from tidemill.commands.registry_apply import said_by_the_log
from tidemill.commands.store import NoTables, store_client
from tidemill.definitions_topic import decisions_of
from topologies.candidates import base_of, pairs
from topologies.deployment import Deployment
from topologies.sink.comparing import Compared, Example, compare, way_of
from topologies.sink.queries import QueryClient
from topologies.windows import level_of

Form = Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])]


@dataclass(frozen=True, slots=True)
class _Sized:
    """What was found of one window size; since: ends of windows from then on count, unix ns."""

    size: Granularity
    since: int
    found: Compared


def compare_candidates(
    *names: str,
    settled: float = 60.0,
    examples: int = 3,
    exit_code: Annotated[bool, Parameter(negative=())] = False,
    settings: SettingsFile = None,
    output: Form = "text",
) -> int:
    """Hold candidates against the definitions that they run beside, row against row.

    Compared are the latest revisions of windows that began when both were computed, up to the last
    that both have. Where one keeps attributes that the other drops, its rows are added up first if
    its aggregate allows that; values in other units are converted. Values are the same to the bit
    unless they were added up or converted here, then to a billionth.

    Parameters
    ----------
    names:
        Of definitions in force; without any, all that have a candidate.
    settled:
        Leave out windows whose grace has not been over for so many seconds: rows come from several
        tasks, which need not publish at the same moment.
    examples:
        Show so many rows that differ, of each window size.
    exit_code:
        End with 1 if something differs.
    """
    chosen = settings_of(settings)
    if settled < 0 or examples < 0:
        raise CommandError("--settled and --examples are 0 or more", USAGE)
    newest = said_by_the_log(decisions_of(chosen)).newest
    wanted = _wanted(newest.deployed, names) if newest else []
    if newest is None or not wanted:
        raise CommandError(
            "no candidate runs: tidemill registry apply --candidate starts those of the "
            "definitions that differ from what is in force",
            FAILED,
        )
    until = time.time_ns() - round(settled * SECOND)
    try:
        with store_client(chosen) as client:
            every = [
                (old, new, list(_sizes(client, old, new, newest.deployed, until, examples)))
                for old, new in wanted
            ]
    except NoTables:
        raise CommandError(
            "nothing was ever stored, so there is nothing to compare: tidemill why NAME says what "
            "windows wait for",
            FAILED,
        ) from None
    if output == "json":
        print(json.dumps([_told(*each) for each in every], indent=2))
    else:
        print("\n\n".join("\n".join(_text(*each)) for each in every))
    same = all(one.found.same for _, _, found in every for one in found)
    if not any(one.found.windows for _, _, found in every for one in found):
        note("no window of both has come yet: what is shown says nothing of the numbers")
    return FAILED if exit_code and not same else FINE


def _wanted(
    deployed: Deployment, names: tuple[str, ...]
) -> list[tuple[ResolvedDefinition, ResolvedDefinition]]:
    """(definition, candidate) of those that are named. Raises CommandError of one that has none."""
    every = pairs(deployed)
    there = [old.name for old, _ in every]
    for name in names:
        if base_of(name) not in there:
            known = f"there are those of {', '.join(there)}" if there else "there is none"
            raise CommandError(f"{base_of(name)} has no candidate; {known}", USAGE)
    chosen = {base_of(name) for name in names} or {*there}
    return [(old, new) for old, new in every if old.name in chosen]


def _sizes(
    client: QueryClient,
    old: ResolvedDefinition,
    new: ResolvedDefinition,
    deployed: Deployment,
    until: int,
    examples: int,
) -> Iterator[_Sized]:
    grace = max(old.grace_ns, new.grace_ns)
    begun = deployed.spans(new.version)[-1][0]
    for size in new.granularities:
        if size not in old.granularities:
            continue
        since = begun + longest(level_of(size, new.zone_rules))
        between = (since, until - grace)
        yield _Sized(size, since, compare(client, old, new, size, between, examples=examples))


def _text(old: ResolvedDefinition, new: ResolvedDefinition, every: list[_Sized]) -> Iterator[str]:
    way = way_of(old, new)
    yield f"{old.name}: version {old.version} in force, its candidate {new.version}"
    if way.values:
        yield f"  values are not compared: {way.values}"
    elif way.extra:
        names = ", ".join(f"`{name}`" for name in way.extra)
        yield f"  rows of the one that keeps {names} are taken together over it first"
    for one in every:
        yield from _lines(one)
    for sizes, whose in (
        ([size for size in old.granularities if size not in new.granularities], "in force"),
        ([size for size in new.granularities if size not in old.granularities], "the candidate"),
    ):
        if sizes:
            yield f"  {', '.join(map(text_of, sizes))}: windows of {whose} alone"


def _lines(one: _Sized) -> Iterator[str]:
    size, found = text_of(one.size), one.found
    if not found.windows:
        yield f"  {size}: none yet; the first that count end at {rfc3339(one.since)}"
        return
    windows = f"{found.windows:,} window{'s' * (found.windows != 1)}"
    if found.same:
        yield f"  {size}: {windows}, {found.both:,} rows, all the same"
        return
    told = [f"{found.both - found.differ:,} rows the same"]
    if found.differ:
        told.append(f"{found.differ:,} differ, by up to {found.largest:.3%}")
    for rows, whose in zip(found.rows, ("in force", "the candidate"), strict=True):
        if rows > found.both:
            told.append(f"{rows - found.both:,} of {whose} alone")
    if found.points[0] != found.points[1]:
        told.append(f"points: {found.points[0]:,}, the candidate {found.points[1]:,}")
    yield f"  {size}: {windows}, {'; '.join(told)}"
    for row in found.examples:
        yield f"    {_end(row)} {row.tenant} {row.labels}: {_value(row.old)} -> {_value(row.new)}"


def _end(row: Example) -> str:
    return rfc3339(round(row.window_end.timestamp() * 1000) * 1_000_000)


def _value(value: float | None) -> str:
    return "no row" if value is None else f"{value:.10g}"


def _told(old: ResolvedDefinition, new: ResolvedDefinition, every: list[_Sized]) -> dict[str, Any]:
    """For programs."""
    way = way_of(old, new)
    return {
        "name": old.name,
        "version": old.version,
        "candidate": new.version,
        "over": list(way.extra),
        "not_compared": way.values or None,
        "windows": {text_of(one.size): _figures(one) for one in every},
    }


def _figures(one: _Sized) -> dict[str, Any]:
    found = one.found
    return {
        "since": rfc3339(one.since),
        "windows": found.windows,
        "same": found.same,
        "both": found.both,
        "differ": found.differ,
        "largest": found.largest,
        "in_force": {"rows": found.rows[0], "points": found.points[0]},
        "candidate": {"rows": found.rows[1], "points": found.points[1]},
        "examples": [
            {"end": _end(row), "tenant": row.tenant, "labels": row.labels, "old": row.old,
             "new": row.new}
            for row in found.examples
        ],
    }  # fmt: skip
