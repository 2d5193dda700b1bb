"""`tidemill registry infer`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metric_registry.drafts.drafting import Drafts, draft
from metric_registry.drafts.seen import Seen
from tidemill.commands.deployment import SettingsFile
from tidemill.commands.errors import FAILED, FINE, USAGE, CommandError
from tidemill.commands.observing import Limits, observe, tell_notes
from tidemill.commands.output import note
from tidemill.traffic.listed import with_listed


def infer(
    *files: Path,
    topic: str | None = None,
    bootstrap_servers: str | None = None,
    points: int = 1_000_000,
    streams: int = 100_000,
    match: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    owner: str = "unknown",
    to: Path | None = None,
    settings: SettingsFile = None,
) -> int:
    """Draft definitions of the metrics that files or a topic hold, for you to choose from.

    Each draft says what it was concluded from: streams, values, attributes and how many different
    values they have. Files may be OTLP (JSON lines or protobuf), a scrape in Prometheus' text
    format, CSV with a time and a value (and the metric's name in a column or in the file's name),
    or dcgm-exporter's list of counters. Without files, the deployment's topic of raw points is
    read. Exit code 1 if there is nothing to draft.

    Parameters
    ----------
    files:
        Files of traffic.
    topic:
        A topic of OTLP requests instead, from its beginning to where it ends now.
    bootstrap_servers:
        The broker of the topic, as HOST:PORT; else what the settings say.
    points:
        Stop after about so many points of the topic.
    streams:
        Stop after about so many streams of the topic.
    match:
        Only metrics whose name fits: `node_*`. May be repeated.
    owner:
        Who answers for the definitions.
    to:
        A file that does not exist yet; else the drafts are written to standard output.
    """
    if not owner.strip():
        raise CommandError("--owner is empty: say who answers for the definitions", USAGE)
    if to is not None and to.exists():
        raise CommandError(f"{to} is there already: name a new file", USAGE)
    observed = observe(files, topic, bootstrap_servers, Limits(points, streams), settings)
    seen = with_listed(observed.observer.seen(), observed.lists)
    return _written(draft(_matching(seen, match)), observed.notes, owner, to)


def _matching(seen: Seen, patterns: Sequence[str]) -> Seen:
    fit = [
        metric
        for metric in seen.metrics
        if not patterns or any(fnmatchcase(metric.name, pattern) for pattern in patterns)
    ]
    return Seen(tuple(fit), seen.behind_ns)


def _written(made: Drafts, notes: Sequence[str], owner: str, to: Path | None) -> int:
    tell_notes(notes)
    if not made.drafts and not made.undrafted:
        raise CommandError("nothing was found to draft definitions of: is there any traffic yet?")
    text = made.text(owner)
    if to is None:
        print(text, end="")
    else:
        to.write_text(text, encoding="utf-8")
    metrics = len({one.metric for one in made.drafts})
    drafts = f"{len(made.drafts):,} draft{'' if len(made.drafts) == 1 else 's'}"
    said = f"{drafts} of {metrics:,} metric{'' if metrics == 1 else 's'}"
    if made.undrafted:
        said += f"; {len(made.undrafted):,} without one, see the end"
    note(said + (f": try them with `tidemill registry check {to}`" if to is not None else ""))
    return FINE if made.drafts else FAILED
