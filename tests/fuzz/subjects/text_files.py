"""Text that people write: CSV files to load, and definitions in YAML."""

from __future__ import annotations

import calendar
import csv
import re
from collections.abc import Sequence
from typing import Any

from metric_registry.syntax import full, quick
from tests.fuzz.subject import DATA, ROOT, Outcome, shown
from topologies.load.config import Columns, LoadError
from topologies.load.rows import Samples, SeriesKey, read_rows

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII
)


class CsvRows:
    """`read_rows`; the reference reads the same dialect, with times and numbers its own way."""

    def corpus(self) -> list[bytes]:
        found = [
            b"".join(path.read_bytes().splitlines(keepends=True)[:8])
            for path in sorted((DATA / "nab").glob("*.csv"))[:6]
        ]
        found.append(
            b'timestamp,value,host\r\n2014-02-14T14:30:00Z,"1e3",a\r\n'
            b'"2014-02-14 14:35:00.123456789+01:00",-0.5,"b ""c"""\r\n\r\n2014-02-14,7,\r\n'
        )
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            lines = message.decode("utf-8", "surrogateescape").splitlines(keepends=True)
            into: dict[SeriesKey, Samples] = {}
            try:
                rows, bad = read_rows("f", lines, Columns(), _key, into)
            except LoadError:
                continue
            ours = sorted(
                pair for each in into.values() for pair in zip(each.times, each.values, strict=True)
            )
            accepted += 1
            theirs = _by_hand(lines)
            if len(ours) + len(bad) != rows or (theirs is not None and ours != theirs):
                differences.append(shown(message, (ours, bad), theirs))
        return Outcome(accepted, differences)


def _key(resource: Any, attributes: Any) -> SeriesKey:
    return SeriesKey(resource, "m", "1", attributes)


def _by_hand(lines: list[str]) -> list[tuple[int, float]] | None:
    """None: there is a time that is written in none of the usual ways."""
    found: list[tuple[int, float]] = []
    try:
        rows = list(csv.reader(lines))
    except csv.Error:
        return None
    head = [name.strip().removeprefix("\ufeff") for name in rows[0]]
    for row in rows[1:]:
        if len(row) != len(head):
            continue
        time, value = (row[head.index(name)].strip() for name in ("timestamp", "value"))
        read = _TIME.fullmatch(time)
        if read is None or (read[8] or "Z")[4:] > "59":
            return None
        nanos = int((read[7] or "").ljust(9, "0"))
        zone = read[8] or "Z"
        ahead = 0 if zone == "Z" else int(zone[:3]) * 3600 + int(zone[0] + zone[4:]) * 60
        fields = [int(part) for part in read.groups()[:6]]
        try:
            seconds = _seconds(*fields)
            number = float(value)
        except ValueError:
            continue
        when = (seconds - ahead) * 10**9 + nanos
        fits = 0 < when < 2**63 and abs(ahead) < 86_400
        if not fits or "_" in value or number != number or abs(number) == float("inf"):
            continue
        found.append((when, number))
    return sorted(found)


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Unix seconds. Raises ValueError."""
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        raise ValueError("no day")
    if hour > 23 or minute > 59 or second > 59 or year < 1:
        raise ValueError("no time")
    return calendar.timegm((year, month, day, hour, minute, second))


class Definitions:
    """The quick reader of YAML, beside the one that reads all of it."""

    def corpus(self) -> list[bytes]:
        folder = ROOT / "metric_registry" / "definitions"
        return [
            chunk.encode()
            for path in sorted(folder.glob("*.yaml"))
            for chunk in path.read_text().split("---\n")[:4]
            if chunk.strip()
        ]

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                text = message.decode()
            except UnicodeDecodeError:
                continue
            ours = quick.parse(text, 1)
            if ours is None:
                continue
            accepted += 1
            theirs = full.parse(text, 1)
            if (ours, ()) != theirs:
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)
