"""`tidemill registry statistics`."""

from __future__ import annotations

from pathlib import Path

from metric_registry.planner.statistics import Statistics, StatisticsError
from tidemill.commands.deployment import SettingsFile
from tidemill.commands.errors import FINE, USAGE, CommandError
from tidemill.commands.observing import Limits, observe, tell_notes
from tidemill.commands.output import note


def statistics(
    *files: Path,
    to: Path | None = None,
    topic: str | None = None,
    bootstrap_servers: str | None = None,
    points: int = 1_000_000,
    streams: int = 100_000,
    settings: SettingsFile = None,
) -> int:
    """Count what traffic there is, into a file that `registry explain` estimates costs from.

    Streams, points, attributes and how many values they have, alone and in pairs. The file is one
    metric a line and holds the hash of its figures: keep it with the definitions, and make it again
    when the traffic has changed. Files are read as by `registry infer`; without any, the
    deployment's topic of raw points.

    Parameters
    ----------
    files:
        Files of traffic.
    to:
        Where to write; an older file of statistics is replaced, nothing else. Else standard output.
    topic:
        A topic of OTLP requests instead, from its beginning to where it ends now.
    bootstrap_servers:
        The broker of the topic, as HOST:PORT; else what the settings say.
    points:
        Stop after about so many points of the topic.
    streams:
        Stop after about so many streams of the topic.
    """
    before = _before(to)
    observed = observe(files, topic, bootstrap_servers, Limits(points, streams), settings)
    tell_notes(observed.notes)
    found = observed.observer.statistics(observed.in_part)
    if not found.metrics:
        raise CommandError("nothing was found to count: is there any traffic yet?")
    if to is None:
        print(found.to_json().decode(), end="")
    else:
        to.write_bytes(found.to_json())
    measured = found.measured
    said = (
        f"{measured.points:,} points of {measured.streams:,} streams in {measured.seconds:,.0f} s"
    )
    note(f"{said}, {len(found.metrics):,} metrics: statistics {found.hash}{_change(before, found)}")
    if to is not None:
        note(f"see what definitions cost: tidemill registry explain --statistics {to}")
    return FINE


def read_statistics(file: Path) -> Statistics:
    """The statistics in a file. Raises CommandError."""
    try:
        return Statistics.from_json(file.read_bytes())
    except OSError as error:
        said = f"{file}: {error.strerror}; make it with `tidemill registry statistics --to {file}`"
        raise CommandError(said, USAGE) from None
    except StatisticsError as error:
        raise CommandError(f"{file}: {error}", USAGE) from None


def _before(to: Path | None) -> Statistics | None:
    if to is None or not to.exists():
        return None
    try:
        return Statistics.from_json(to.read_bytes())
    except (OSError, StatisticsError):
        raise CommandError(
            f"{to} is there, and no file of statistics that is whole: name a new file", USAGE
        ) from None


def _change(before: Statistics | None, now: Statistics) -> str:
    if before is None:
        return ""
    if before.hash == now.hash:
        return ", as before"
    new, gone = len(now.metrics.keys() - before.metrics), len(before.metrics.keys() - now.metrics)
    return f" in place of {before.hash} ({new:,} metrics new, {gone:,} gone)"
