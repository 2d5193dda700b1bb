"""Traffic, read from files or a topic, for commands that say what there is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metric_registry.drafts.seen import SeenMetric
from tidemill.commands.deployment import settings_of
from tidemill.commands.errors import FAILED, UNREACHABLE, USAGE, CommandError
from tidemill.commands.output import note
from tidemill.otlp_topic import NoSuchTopic, Request, Stalled, read_topic
from tidemill.probe import Unreachable
from tidemill.traffic.files import Files, NotTraffic, order_of
from topologies.observe.observer import Observer, batches

_PROGRESS_S = 2.0
_NOTES = 5
_AT_ONCE = 1 << 20


class Limits(NamedTuple):
    """When enough of a topic has been read: so many points, or so many streams."""

    points: int
    streams: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read: metrics that files only list, what is to be said of it, and whether the
    topic had more.
    """

    observer: Observer
    lists: list[SeenMetric]
    notes: list[str]
    in_part: bool


def observe(
    files: Sequence[Path],
    topic: str | None,
    bootstrap_servers: str | None,
    limits: Limits,
    settings: Path | None,
) -> Observed:
    """Look at files; without any at a topic, by default the deployment's of raw points.

    Raises:
        CommandError: They cannot be read.
    """
    if files and topic:
        raise CommandError("name files, or a topic with --topic", USAGE)
    if limits.points < 1 or limits.streams < 1:
        raise CommandError("--points and --streams are 1 or more", USAGE)
    found, observer, stopped = Files(), Observer(), list[str]()
    if files:
        _read_files(found, observer, files)
    else:
        at = bootstrap_servers or settings_of(settings).bootstrap
        stopped = _read_topic(observer, at, topic or "telemetry.raw", limits)
    damaged = [
        f"some requests are damaged, and left out: {reason}"
        for reason in sorted(set(observer.refused))
    ]
    return Observed(observer, found.lists, [*found.notes, *stopped, *damaged], bool(stopped))


def tell_notes(notes: Sequence[str]) -> None:
    """Say the first of them."""
    for text in notes[:_NOTES]:
        note(text)
    if len(notes) > _NOTES:
        note(f"... and {len(notes) - _NOTES:,} more of that kind")


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


def _read_topic(observer: Observer, bootstrap: str, topic: str, limits: Limits) -> list[str]:
    """Reads on until there is enough; why it stopped, if not at the end."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    notes: list[str] = []

    async def read() -> None:
        told = time.monotonic()
        waiting = _Waiting(observer)
        async for request in read_topic(bootstrap, topic, None):
            waiting.take(request)
            if observer.points >= limits.points or observer.streams >= limits.streams:
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
