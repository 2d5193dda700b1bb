"""Puts right what is safe to put right, in the text as it stands: comments and layout stay.

A repair is safe if one thing can have been meant: a misspelled field or choice, a number in quotes,
a duration in other words, a value that YAML reads as another text. A name is never changed, nor is
what only a person knows. After each repair everything is checked again: it stays only if its
finding is gone, no other stands on its line, and every definition that had a version keeps it. What
the mistake hid elsewhere (a field that nobody read is one now, and wrong) is told, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from metric_registry.check import Include, Report, check_files
from metric_registry.errors import Finding
from metric_registry.load import SourceFile
from metric_registry.rules import Settings

SAFE = frozenset(("TM101", "TM103", "TM104", "TM107", "TM204", "TM207"))
"""Codes whose replacement is a repair, not a guess."""
MOST = 10_000
"""Repairs of one run."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """The files after the repairs.

    changed: Those whose bytes are others now. repairs: What was put right, in order. left: What has
    a replacement that was not put in place, and why. report: Of the files as they are now.
    """

    changed: tuple[SourceFile, ...]
    repairs: tuple[Finding, ...]
    left: tuple[tuple[Finding, str], ...]
    report: Report

    def text(self) -> str:
        """For people: what was put right and what was not."""
        lines = [f"{_place(one)}: {one.code} put right: {_was(one)}" for one in self.repairs]
        lines += [f"{_place(one)}: {one.code} left as it is: {why}" for one, why in self.left]
        return "\n".join(lines)


def fix(
    files: Sequence[SourceFile], settings: Settings, include: Callable[[], Include] | None = None
) -> Fixed:
    """Repairs files that were read. No I/O but what `include` does, anew for each check."""
    now = {file.path: file for file in files}

    def checked(texts: dict[str, SourceFile]) -> Report:
        return check_files(list(texts.values()), settings, include() if include else None)

    report = checked(now)
    repairs: list[Finding] = []
    left: dict[tuple[object, ...], tuple[Finding, str]] = {}
    while len(repairs) < MOST:
        waiting = (f for f in report.findings if _is_open(f, now) and f.order not in left)
        finding = next(waiting, None)
        if finding is None:
            break
        after = {**now, finding.file: _with(now[finding.file], finding)}
        then = checked(after)
        why = _against(report, then, finding)
        if why:
            left[finding.order] = finding, why
            continue
        now, report = after, then
        repairs.append(finding)
    changed = tuple(now[file.path] for file in files if now[file.path].data != file.data)
    still = {finding.order for finding in report.findings}
    kept = tuple(pair for order, pair in left.items() if order in still)
    return Fixed(changed, tuple(repairs), kept, report)


def _is_open(finding: Finding, files: dict[str, SourceFile]) -> bool:
    return finding.code in SAFE and finding.replacement is not None and finding.file in files


def _against(before: Report, after: Report, finding: Finding) -> str:
    """Why a repair is not made; empty: it is."""
    was = {one.name: one.version for one in before.definitions}
    now = {one.name: one.version for one in after.definitions}
    for name, version in was.items():
        if name in now and now[name] != version:
            return f"the version of `{name}` would change"
        if name not in now:
            return f"`{name}` would be no good definition any more"
    told = {(one.code, one.file, one.line, one.message) for one in before.findings}
    new = [f for f in after.findings if (f.code, f.file, f.line, f.message) not in told]
    for one in new:
        if (one.file, one.line) == (finding.file, finding.line):
            return f"then there would be: {one.message}"
    key = finding.code, finding.file, finding.line, finding.message
    if _count(after, key) < _count(before, key):
        return ""
    return "it would change nothing"


def _count(report: Report, key: tuple[object, ...]) -> int:
    return sum((f.code, f.file, f.line, f.message) == key for f in report.findings)


def _with(file: SourceFile, finding: Finding) -> SourceFile:
    """The file with the replacement in place of what the finding is about."""
    mark = b"\xef\xbb\xbf"
    has_mark = file.data.startswith(mark)
    text = file.data.decode("utf-8-sig")
    at = _line_start(text, finding.line) + finding.column - 1
    text = text[:at] + (finding.replacement or "") + text[at + finding.length :]
    return replace(file, data=(mark if has_mark else b"") + text.encode())


def _line_start(text: str, line: int) -> int:
    """Where a line begins, counted from 1; they end with LF, CR LF or CR."""
    at = 0
    for _ in range(line - 1):
        ends = [end for end in (text.find("\n", at), text.find("\r", at)) if end >= 0]
        at = min(ends) + 1
        if text[at - 1] == "\r" and text[at : at + 1] == "\n":
            at += 1
    return at


def _place(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}:{finding.column}"


def _was(finding: Finding) -> str:
    start = finding.column - 1
    old = finding.source[start : start + finding.length]
    return f"`{old}` is `{finding.replacement}` now"
