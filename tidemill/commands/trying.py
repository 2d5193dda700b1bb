"""What commands that try definitions on traffic read: definitions, and requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from metric_registry.check import Report
from metric_registry.check import check as check_definitions
from metric_registry.durations import DurationError
from metric_registry.durations import parse as parse_duration
from tidemill.commands.deployment import aggregate_files, paths_of
from tidemill.commands.errors import FAILED, UNREACHABLE, USAGE, CommandError
from tidemill.otlp_topic import NoSuchTopic, Stalled, read_topic
from tidemill.preview import Given
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.traffic.files import Files, NotTraffic
from tidemill.wiring import DefinitionsError, allowed

_TOPIC = "telemetry.raw"


def checked(paths: tuple[Path, ...], chosen: Settings, code: int = FAILED) -> Report:
    """Definitions without a mistake.

    Raises:
        CommandError: There are mistakes; `code` is the exit code.
    """
    try:
        permitted = allowed(aggregate_files(()) or chosen.aggregates, chosen.environment)
    except DefinitionsError as error:
        raise CommandError(str(error), code) from None
    report = check_definitions(paths_of(paths, chosen), permitted)
    if report.errors:
        raise CommandError(report.text(), code)
    return report


def given_by(
    files: tuple[Path, ...],
    bootstrap: str,
    since: str,
    mebibytes: int,
    notes: list[str],
) -> list[Given]:
    """The requests of files, or without any those of the topic since so long; notes say where it
    stopped, and what was left out.

    Raises:
        CommandError: They cannot be read.
    """
    limit = mebibytes << 20
    if files:
        return list(_within(_of_files(files, notes), limit, notes))
    return list(_within(iter(_of_topic(bootstrap, _ago(since), limit)), limit, notes))


def _ago(text: str) -> int:
    """Unix ms."""
    try:
        return (time.time_ns() - parse_duration(text)) // 10**6
    except DurationError as error:
        raise CommandError(f"--since: {error}", USAGE) from None


def _within(given: Iterator[Given], limit: int, notes: list[str]) -> Iterator[Given]:
    size = 0
    for one in given:
        size += len(one.request)
        if size > limit:
            notes.append(f"stopped after {limit >> 20} MiB of traffic; --mebibytes says when")
            return
        yield one


def _of_files(files: tuple[Path, ...], notes: list[str]) -> Iterator[Given]:
    read = Files(notes=notes)
    for file in files:
        try:
            for request in read.read(file):
                yield Given(str(file), "default", 0, request)
        except NotTraffic as error:
            raise CommandError(str(error), USAGE) from None
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}; is the path right?", USAGE) from None


def _of_topic(bootstrap: str, since_ms: int, limit: int) -> list[Given]:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def read() -> list[Given]:
        given: list[Given] = []
        size = 0
        async for one in read_topic(bootstrap, _TOPIC, None, since_ms=since_ms, marks=True):
            given.append(
                Given(one.where.partition("@")[0], one.tenant, one.received, one.value, one.idle)
            )
            size += len(one.value)
            if size > limit:
                break
        return given

    try:
        return asyncio.run(read())
    except Unreachable as error:
        said = f"{error}: start the stack with `tidemill up`, or name files with --from"
        raise CommandError(said, UNREACHABLE) from None
    except NoSuchTopic:
        said = f"there is no topic {_TOPIC} at {bootstrap}; see: tidemill topic list"
        raise CommandError(said, FAILED) from None
    except Stalled as error:
        raise CommandError(str(error)) from None
