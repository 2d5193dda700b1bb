"""`load`: files to a history topic, once, whatever happens in between (S)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from topologies.edge.log import KafkaLog
from topologies.edge.records import Outcome, Record
from topologies.load.config import LoadConfig, LoadError, csv_files
from topologies.load.existing import Existing, partition_counts, read_existing
from topologies.load.files import Contents, read_files
from topologies.load.plan import (
    Planned,
    digest_of,
    marker,
    slice_length,
    slices,
    stamped,
)
from topologies.load.rows import BadRow, SeriesKey

Progress = Callable[[str], None]

_APPEND_AT_ONCE = 64
_REPORT_S = 2.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class SeriesCount:
    """How many points a series has, and from when to when (unix ns)."""

    series: SeriesKey
    points: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """What a load did. `records` were appended, `already` had been there; the same for a second
    run of the same load, which then is `complete_before`."""

    topic: str
    partitions: int
    files: int
    rows: int
    bad: tuple[BadRow, ...]
    series: tuple[SeriesCount, ...]
    records: int
    already: int
    complete_before: bool
    seconds: float

    @property
    def points(self) -> int:
        """Points of all series."""
        return sum(count.points for count in self.series)

    def text(self) -> str:
        """The summary for people: a line a series, then the totals."""
        lines = [f"{_label(c.series)}  {c.points} points" for c in self.series]
        lines.append(
            f"{self.topic}: {self.points} points of {len(self.series)} series, from {self.files} "
            f"files, in {self.partitions} partitions"
        )
        if self.bad:
            first = self.bad[0]
            lines.append(
                f"{len(self.bad)} of {self.rows} rows hold no sample and are kept in the "
                f"dead-letter topic; the first: {first.file}:{first.line}: {first.reason}"
            )
        if self.complete_before:
            lines.append("this load had been done already: nothing was appended")
        else:
            carried = f", {self.already} were there from before" if self.already else ""
            lines.append(f"{self.records} records appended{carried}, in {self.seconds:.1f} s")
        return "\n".join(lines)


async def run_load(config: LoadConfig, progress: Progress) -> LoadSummary:
    """Do a load, or the rest of it. `progress` gets a line every two seconds.

    Raises LoadError when it can't be done, and when the log stays away; run it again then.
    """
    started = time.monotonic()
    files = csv_files(config.files)
    contents = await asyncio.to_thread(read_files, config, files)
    partitions, existing = await _look(config)
    planned = Planned(
        config.topic,
        config.tenant,
        partitions,
        contents.fingerprint,
        config.points_per_record,
        slice_length(config.marker_days),
    )
    if existing.fingerprints - {contents.fingerprint}:
        raise LoadError(
            f"{config.topic} holds another load (other files, columns or tenant): give this one "
            "a name of its own with --name, or delete that topic first"
        )
    summary = LoadSummary(
        topic=config.topic,
        partitions=partitions,
        files=len(files),
        rows=contents.rows,
        bad=contents.bad,
        series=_counts(contents),
        records=0,
        already=existing.records,
        complete_before=len(existing.closed) == partitions,
        seconds=0.0,
    )
    if not summary.complete_before:
        appended = await _append_all(config, planned, contents, existing, summary, progress)
        summary = replace(summary, records=appended)
    return replace(summary, seconds=time.monotonic() - started)


async def _look(config: LoadConfig) -> tuple[int, Existing]:
    """The partition count to use and what is there already."""
    try:
        counts = await partition_counts(
            config.bootstrap, [config.topic, config.raw_topic], config.append_timeout
        )
        existing = Existing()
        if config.topic in counts:
            existing = await read_existing(
                config.bootstrap, config.topic, counts[config.topic], config.append_timeout
            )
    except Exception as error:
        raise LoadError(
            f"the log at {config.bootstrap} can't be read ({error}): start the broker, or say "
            "where it is with --bootstrap"
        ) from error
    partitions = counts.get(config.topic) or counts.get(config.raw_topic) or config.partitions
    return partitions, existing


async def _append_all(
    config: LoadConfig,
    planned: Planned,
    contents: Contents,
    existing: Existing,
    summary: LoadSummary,
    progress: Progress,
) -> int:
    settings = {"retention.ms": str(config.retention_days * 86_400_000)}
    log = KafkaLog(
        config.bootstrap,
        {config.topic: (planned.partitions, settings), config.dead_letter_topic: (1, {})},
        replication=config.replication,
        request_timeout=config.append_timeout,
        client_id="tidemill-load",
    )
    await log.start()
    appender = _Appender(log, config)
    reported = time.monotonic()
    points = 0
    try:
        if not existing.records:  # else they were appended before the first of those
            await appender.append([_letter(config, planned, row) for row in contents.bad])
        for part in slices(contents.series, planned):
            fresh = [r for r in part.data if digest_of(r.headers) not in existing.digests]
            await appender.append(fresh)
            await appender.append(_markers(planned, existing, part.until, part.last))
            points += part.points
            if time.monotonic() - reported > _REPORT_S:
                reported = time.monotonic()
                progress(f"{points} of {summary.points} points, {appender.records} records")
    finally:
        await log.stop()
    return appender.records


def _markers(planned: Planned, existing: Existing, until: int, last: bool) -> list[Record]:
    return [
        marker(planned, partition, time=until, end=last, received_ns=time.time_ns())
        for partition in range(planned.partitions)
        if partition not in existing.closed and (last or existing.marked.get(partition, 0) < until)
    ]


class _Appender:
    """Appends records until the log has them all; repeats what is in doubt, under its digest."""

    def __init__(self, log: KafkaLog, config: LoadConfig) -> None:
        self._log = log
        self._config = config
        self.records = 0

    async def append(self, records: Sequence[Record]) -> None:
        for at in range(0, len(records), _APPEND_AT_ONCE):
            now = time.time_ns()
            await self._append([_with_time(r, now) for r in records[at : at + _APPEND_AT_ONCE]])

    async def _append(self, records: list[Record]) -> None:
        until = time.monotonic() + self._config.patience
        while records:
            while not self._log.up:
                if time.monotonic() > until:
                    raise LoadError(
                        f"the log at {self._config.bootstrap} has not answered for "
                        f"{self._config.patience:g} s: when it is back, run the same load again, "
                        "which carries on where this one stopped"
                    )
                await asyncio.sleep(_POLL_S)
            outcomes = await self._log.append(records, self._config.append_timeout)
            if Outcome.REFUSED in outcomes:
                raise LoadError(
                    f"the log refuses records of this size: raise max.message.bytes of topic "
                    f"{self._config.topic}, then run the same load again"
                )
            self.records += outcomes.count(Outcome.APPENDED)
            records = [
                record
                for record, outcome in zip(records, outcomes, strict=True)
                if outcome is not Outcome.APPENDED
            ]


def _with_time(record: Record, now_ns: int) -> Record:
    return record if "received" in dict(record.headers) else stamped(record, now_ns)


def _letter(config: LoadConfig, planned: Planned, row: BadRow) -> Record:
    headers = (
        ("reason", row.reason.encode("utf-8", "replace")),
        ("code", b"bad-row"),
        ("tenant", planned.tenant.encode()),
        ("encoding", b"csv"),
        ("load", planned.fingerprint),
    )
    key = f"{row.file}:{row.line}".encode("utf-8", "surrogateescape")
    return Record(config.dead_letter_topic, 0, key, row.text[:900_000], headers)


def _counts(contents: Contents) -> tuple[SeriesCount, ...]:
    return tuple(
        SeriesCount(key, len(samples.times), min(samples.times), max(samples.times))
        for key, samples in sorted(contents.series.items(), key=lambda item: _label(item[0]))
    )


def _label(key: SeriesKey) -> str:
    attributes = ", ".join(f"{name}={text}" for name, text in (*key.resource, *key.attributes))
    return f"{key.metric} {{{attributes}}}"
