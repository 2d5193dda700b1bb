"""`tidemill registry infer`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metric_registry.drafts.drafting import Drafts, draft
from metric_registry.drafts.seen import Seen
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, FINE, UNREACHABLE, USAGE, CommandError
from tidemill.commands.output import note
from tidemill.otlp_topic import NoSuchTopic, Request, Stalled, read_topic
from tidemill.probe import Unreachable
from tidemill.traffic.files import Files, NotTraffic, order_of
from tidemill.traffic.listed import with_listed
from topologies.observe.observer import Observer, batches

_PROGRESS_S = 2.0
_NOTES = 5
_AT_ONCE = 1 << 20


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
    if files and topic:
        raise CommandError("name files, or a topic with --topic", USAGE)
    if points < 1 or streams < 1:
        raise CommandError("--points and --streams are 1 or more", USAGE)
    if not owner.strip():
        raise CommandError("--owner is empty: say who answers for the definitions", USAGE)
    if to is not None and to.exists():
        raise CommandError(f"{to} is there already: name a new file", USAGE)
    found, observer = Files(), Observer()
    if files:
        _read_files(found, observer, files)
    else:
        chosen = settings_of(settings)
        at = bootstrap_servers or chosen.bootstrap
        found.notes += _read_topic(observer, at, topic or "telemetry.raw", points, streams)
    made = draft(_matching(with_listed(observer.seen(), found.lists), match))
    found.notes += [
        f"some requests are damaged, and left out: {reason}"
        for reason in sorted(set(observer.refused))
    ]
    return _written(made, found.notes, owner, to)


@dataclass(slots=True)
class _Waiting:
    """Requests that wait until they are worth a look, by partition and tenant."""

    observer: Observer
    held: dict[tuple[str, str], list[bytes]] = field(
        default_factory=dict[tuple[str, str], list[bytes]]
    )
    size: int = 0

    def take(self, request: Request) -> None:
        partition = request.where.partition("@")[0]
        self.held.setdefault((partition, request.tenant), []).append(request.value)
        self.size += len(request.value)
        if self.size > _AT_ONCE:
            self.feed()

    def feed(self) -> None:
        for (partition, tenant), requests in self.held.items():
            self.observer.feed(requests, tenant, partition)
        self.held.clear()
        self.size = 0


def _matching(seen: Seen, patterns: Sequence[str]) -> Seen:
    fit = [
        metric
        for metric in seen.metrics
        if not patterns or any(fnmatchcase(metric.name, pattern) for pattern in patterns)
    ]
    return Seen(tuple(fit), seen.behind_ns)


def _read_files(found: Files, observer: Observer, files: Sequence[Path]) -> None:
    for file in files:
        try:
            order = order_of(file)
            for batch in batches(found.read(file)):
                observer.feed(batch, "default", order)
        except NotTraffic as error:
            raise CommandError(str(error), USAGE) from None
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}; is the path right?", USAGE) from None


def _read_topic(
    observer: Observer, bootstrap: str, topic: str, points: int, streams: int
) -> list[str]:
    """Reads on until there is enough; why it stopped, if not at the end."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    notes: list[str] = []

    async def read() -> None:
        told = time.monotonic()
        waiting = _Waiting(observer)
        async for request in read_topic(bootstrap, topic, None):
            waiting.take(request)
            if observer.points >= points or observer.streams >= streams:
                notes.append(f"stopped at {request.where}; --points and --streams say when")
                break
            if time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                seen = f"{observer.points:,} points, {observer.streams:,} streams"
                note(f"... {seen}; at {request.where}")
        waiting.feed()

    try:
        asyncio.run(read())
    except Unreachable as error:
        said = f"{error}: start the stack with `tidemill up`, or name files"
        raise CommandError(said, UNREACHABLE) from None
    except NoSuchTopic:
        said = f"there is no topic {topic} at {bootstrap}; see: tidemill topic list"
        raise CommandError(said, FAILED) from None
    except Stalled as error:
        notes.append(f"{error}: stopped there")
    return notes


def _written(made: Drafts, notes: Sequence[str], owner: str, to: Path | None) -> int:
    for text in notes[:_NOTES]:
        note(text)
    if len(notes) > _NOTES:
        note(f"... and {len(notes) - _NOTES:,} more of that kind")
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
