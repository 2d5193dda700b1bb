"""`tidemill check-otlp`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import (
    FAILED,
    FINE,
    TIMED_OUT,
    UNREACHABLE,
    USAGE,
    WARNINGS,
    CommandError,
)
from tidemill.commands.output import Form, Output, emit, note
from tidemill.otlp_files import FileForm, Unreadable, read_requests
from tidemill.otlp_topic import NoSuchTopic, Stalled, read_topic
from tidemill.probe import Unreachable
from topologies.otlp_check import RULES, Checker, Finding

_COLUMNS = ("code", "severity", "where", "point", "metric", "attributes", "found", "expected")
_PROGRESS_S = 2.0


class _Report:
    """Findings as they come: counted all, kept up to a limit a code; and progress."""

    def __init__(self, notes: bool, limit: int) -> None:
        self.checker = Checker()
        self.kept: list[Finding] = []
        self.by_code: Counter[str] = Counter()
        self._notes, self._limit = notes, limit
        self._told = time.monotonic()

    def take(self, where: str, request: bytes | str) -> None:
        """Check one request; a str says why there is none."""
        if isinstance(request, str):
            found = [self.checker.undecodable(request, where)]
        else:
            found = self.checker.feed(request, where)
        for each in found:
            self.by_code[each.code] += 1
            shown = self._notes or each.rule.severity != "note"
            if shown and not 0 < self._limit < self.by_code[each.code]:
                self.kept.append(each)
        if time.monotonic() - self._told > _PROGRESS_S:
            self._told = time.monotonic()
            note(f"... {self.summary()}; at {where}")

    def total(self, severity: str) -> int:
        return sum(n for code, n in self.by_code.items() if RULES[code].severity == severity)

    def summary(self) -> str:
        """One line: what was examined, and what was found."""
        counts = self.checker.counts
        examined = f"{counts.requests:,} requests, {counts.points:,} points"
        found = ", ".join(
            f"{self.total(rank):,} {rank}{'' if self.total(rank) == 1 else 's'}"
            for rank in ("violation", "warning", "note")
        )
        return f"{examined}: {found}"

    def show(self, form: Form) -> None:
        """Findings on standard output; what they mean and the summary beside them."""
        emit([each.as_row() for each in self.kept], _COLUMNS, form)
        if form == "table":
            for code in sorted({each.code for each in self.kept}):
                rule = RULES[code]
                note(f"{code}: {rule.broken_when} ({rule.section}); {rule.advice}")
        for code, count in self.by_code.items():
            if 0 < self._limit < count and (self._notes or RULES[code].severity != "note"):
                note(f"{code}: the first {self._limit} of {count:,}; see all with --limit 0")
        if forgotten := self.checker.counts.forgotten:
            note(f"{forgotten:,} streams were forgotten: there were too many to remember at once")
        note(self.summary())


def check_otlp(
    *files: Path,
    topic: str | None = None,
    bootstrap_servers: str | None = None,
    until_end: Annotated[bool, Parameter(negative=())] = False,
    records: int | None = None,
    format: FileForm = "auto",  # noqa: A002
    notes: Annotated[bool, Parameter(negative=())] = False,
    strict: Annotated[bool, Parameter(negative=())] = False,
    limit: int = 20,
    settings: SettingsFile = None,
    output: Output = "table",
) -> int:
    """Say where a stream of OTLP metrics breaks OpenTelemetry's data model.

    Reads files (JSON lines or protobuf, as the Collector's file exporter writes them; one request,
    or many each after its size; zstd or not) or a topic, in order. Exit code 1 with violations, 3
    with warnings under --strict.

    Parameters
    ----------
    files:
        Files, read one after the other as one stream.
    topic:
        A topic instead of files, from its beginning.
    bootstrap_servers:
        The broker of the topic, as HOST:PORT; else what the settings say.
    until_end:
        Stop where the topic ends now.
    records:
        Stop after so many records of the topic, and wait for them.
    format:
        What the files are, if it cannot be told: JSON lines, one request, or requests each after
        its size as four bytes (sized) or as a varint (delimited).
    notes:
        Show also what is allowed, such as gaps and resets.
    strict:
        Warnings count.
    limit:
        Findings shown for each code; 0 for all.
    """
    if bool(files) == bool(topic):
        raise CommandError("name files, or a topic with --topic", USAGE)
    if topic and until_end == (records is not None):
        raise CommandError("say where to stop: --until-end, or --records N", USAGE)
    if limit < 0 or (records is not None and records < 1):
        raise CommandError("--limit is 0 or more, --records 1 or more", USAGE)
    report = _Report(notes, limit)
    if topic:
        where = bootstrap_servers or settings_of(settings).bootstrap
        _check_topic(report, where, topic, records)
    else:
        _check_files(report, files, format)
    report.show(output)
    if report.total("violation"):
        return FAILED
    return WARNINGS if strict and report.total("warning") else FINE


def _check_files(report: _Report, files: Sequence[Path], form: FileForm) -> None:
    for file in files:
        try:
            for where, request in read_requests(file, form):
                report.take(where, request)
        except Unreadable as error:
            raise CommandError(str(error), USAGE) from None
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}; is the path right?", USAGE) from None


def _check_topic(report: _Report, bootstrap: str, topic: str, records: int | None) -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def read() -> None:
        async for request in read_topic(bootstrap, topic, records):
            report.take(request.where, request.value)

    try:
        asyncio.run(read())
    except Unreachable as error:
        said = f"{error}: start the stack with `tidemill up`, or say where with --bootstrap-servers"
        raise CommandError(said, UNREACHABLE) from None
    except NoSuchTopic:
        said = f"there is no topic {topic} at {bootstrap}; see: tidemill topic list"
        raise CommandError(said, FAILED) from None
    except Stalled as error:
        raise CommandError(f"{error}; so far {report.summary()}", TIMED_OUT) from None
