"""Expected against published, to the bit: findings, and the table a person reads."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from demo.published import COUNTERS, SUMS, Final, Row
from oracle import pooled
from oracle.arithmetic import bits, of_bits
from oracle.definitions import SECOND, Definition
from oracle.histograms import Histogram, Shown, mark, text
from oracle.oracle import Cell, FinalKey, Key, Result
from rich.console import Console
from rich.table import Table as Printed

SHOWN = 20


@dataclass(slots=True)
class Finding:
    """Something that is not as it must be, about one published row."""

    key: Key
    what: str
    expected: list[Shown]
    published: list[Shown]
    cell: Cell | None = None


@dataclass(slots=True)
class Line:
    """Counts of one definition and window size."""

    windows: set[int] = field(default_factory=set[int])
    values: int = 0
    first_equal: int = 0
    first: int = 0
    latest_equal: int = 0
    late: int = 0
    revised: int = 0


@dataclass(slots=True)
class Verdict:
    """What was compared and what was found wrong."""

    lines: dict[tuple[str, int], Line]
    findings: list[Finding]
    notes: Counter[str]

    @property
    def equal(self) -> bool:
        """True when every row is there, once, with the same bits, and none besides."""
        return not self.findings and bool(self.lines)


def judge(
    definitions: list[Definition],
    before: Result,
    after: Result,
    finals: dict[FinalKey, list[Final]],
    table: dict[Key, list[Row]],
) -> Verdict:
    """Compare what was published with what the log demanded just before and just after.

    What `before` demands must be there; what is there must be demanded by `after`. They differ
    only while windows go on closing.
    """
    lines: dict[tuple[str, int], Line] = defaultdict(Line)
    verdict = Verdict(lines, [], Counter())
    by_name = {definition.name: definition for definition in definitions}
    wanted = {name for name, definition in by_name.items() if definition.final}
    for key in sorted(before.final.keys() | finals.keys()):
        published = finals.get(key, [])
        if key.row.definition in wanted:
            definition = by_name[key.row.definition]
            _judge_final(verdict, definition, key, before, after, published)
        else:
            got = _values(published)
            verdict.findings.append(Finding(key.row, "published, but nobody defined it", [], got))
    for key in sorted(before.latest.keys() | table.keys()):
        _judge_row(verdict, key, before, after, table.get(key, []))
    return verdict


def _values(published: list[Final]) -> list[Shown]:
    return [math.nan if final.value is None else final.value for final in published]


def _judge_final(
    verdict: Verdict,
    definition: Definition,
    key: FinalKey,
    before: Result,
    after: Result,
    published: list[Final],
) -> None:
    line = verdict.lines[key.row.definition, key.row.size]
    point = before.final.get(key) or after.final.get(key)
    got = [None if final.value is None else mark(final.value) for final in published]
    line.first += 1
    what = ""
    if point is None:
        what = "a final point that the log does not justify"
    elif not published:
        what = "a final point is missing"
    elif len(published) > 1:
        what = f"published {len(published)} times: {', '.join(f.place for f in published)}"
    elif got[0] != point.bits:
        what = "another final value"
    elif published[0].start != point.start:
        what = "another start than its series demands"
    elif published[0].kind != _kind(definition):
        what = f"a {published[0].kind}, not a {_kind(definition)}"
    if what:
        cell = (before.first.get(key.row) or after.first.get(key.row) or {}).get(key.domain)
        demanded = [] if point is None or point.bits is None else [_shown(point.bits)]
        finding = Finding(key.row, what, demanded, _values(published), cell)
        verdict.findings.append(finding)
    else:
        line.first_equal += 1


def _shown(marked: int | Histogram) -> Shown:
    return marked if isinstance(marked, Histogram) else of_bits(marked)


def _written(value: Shown) -> str:
    return text(value) if isinstance(value, Histogram) else f"{value!r} 0x{bits(value):016x}"


def _kind(definition: Definition) -> str:
    how = definition.over_time, definition.over_space
    pooled_by = definition.over_points[0] if definition.over_points else ""
    if how not in COUNTERS | SUMS and not pooled.adds_up(pooled_by):
        return "gauge"
    temporality = "cumulative" if definition.cumulative else "delta"
    if definition.histogram:
        return f"{temporality} {definition.histogram}"
    falls_not = (how in COUNTERS or pooled_by == "count") and not definition.carry
    return f"{temporality} {'counter' if falls_not else 'sum'}"


def _judge_row(verdict: Verdict, key: Key, before: Result, after: Result, rows: list[Row]) -> None:
    line = verdict.lines[key.definition, key.size]
    cell, cell_after = before.latest.get(key), after.latest.get(key)
    demanded = [one for one in (cell, cell_after) if one is not None]
    values = list(dict.fromkeys(one.value for one in demanded))
    got = [row.value for row in rows]
    line.windows.add(key.window_end)
    line.values += 1
    if demanded:
        line.late += demanded[-1].late
    what = ""
    if not demanded:
        what = "a row that the log does not justify"
    elif not rows:
        what = "a row is missing"
    elif len(rows) > 1:
        what = f"{len(rows)} rows, versions {sorted({row.version for row in rows})}"
    elif mark(got[0]) not in [mark(value) for value in values]:
        what = "another latest value"
    elif rows[0].revision < 1:
        what = "a revision below 1"
    if what:
        behind = demanded[-1] if demanded else None
        verdict.findings.append(Finding(key, what, values, got, behind))
        return
    line.latest_equal += 1
    line.revised += rows[0].revision > 1
    if rows[0].points not in [one.points for one in demanded]:
        verdict.notes["rows whose count of points differs from the oracle's"] += 1
    if rows[0].late not in [one.late for one in demanded]:
        verdict.notes["rows whose count of late points differs from the oracle's"] += 1


# ---------------------------------------------------------------- for people


def size_text(size: int) -> str:
    """Nanoseconds as 10s, 5m, 1h, 1d."""
    seconds = size // SECOND
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def print_verdict(verdict: Verdict, result: Result, console: Console) -> None:
    """The table, then the first findings with the points behind them."""
    printed = Printed(box=None, pad_edge=False, header_style="bold")
    printed.add_column("definition", no_wrap=True)
    for name in ("every", "windows", "values", "equal", "late", "repeated", "rejected"):
        printed.add_column(name, justify="right", no_wrap=True)
    for (name, size), line in sorted(verdict.lines.items()):
        tally = result.tallies[name]
        good, asked = line.first_equal + line.latest_equal, line.first + line.values
        printed.add_row(
            name,
            size_text(size),
            f"{len(line.windows):,}",
            f"{asked:,}",
            f"{good:,}" if good == asked else f"[red]{good:,}[/red]",
            f"{line.late:,}",
            f"{tally.repeated:,}",
            f"{tally.rejected:,}",
        )
    console.print(printed)
    console.print("values: points of the final topic, and latest rows of the table.")
    for note, count in verdict.notes.items():
        console.print(f"[yellow]note[/yellow]: {count} {note}")
    for finding in verdict.findings[:SHOWN]:
        _print_finding(finding, console)
    if len(verdict.findings) > SHOWN:
        console.print(f"... and {len(verdict.findings) - SHOWN} more")
    first = sum(line.first for line in verdict.lines.values())
    latest = sum(line.values for line in verdict.lines.values())
    if verdict.equal:
        console.print(
            f"[green]EQUAL[/green] to the bit: {first:,} final points, {latest:,} latest rows"
        )
    else:
        kinds = Counter(finding.what.split(":")[0] for finding in verdict.findings)
        console.print(f"[red]NOT EQUAL[/red]: {dict(kinds) or 'nothing was compared'}")


def _print_finding(finding: Finding, console: Console) -> None:
    key = finding.key
    end = datetime.fromtimestamp(key.window_end / SECOND, UTC).isoformat()
    labels = " ".join(f"{name}={value}" for name, value in key.labels)
    console.print(
        f"[red]{finding.what}[/red]: {key.definition} {size_text(key.size)} window end {end} "
        f"({key.window_end}) {labels}",
        highlight=False,
    )
    for name, values in (("expected", finding.expected), ("published", finding.published)):
        shown = ", ".join(map(_written, values))
        console.print(f"    {name}: {shown or 'nothing'}", highlight=False)
    for partition, point in finding.cell.behind[:8] if finding.cell else ():
        console.print(
            f"    {partition.topic}/{partition.number}/{partition.offsets[point.record]} "
            f"time {point.time} start {point.start} value {point.value!r} {point.stream[:160]}",
            highlight=False,
            markup=False,
        )
