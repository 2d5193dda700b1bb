"""Differences as text for people, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from metric_registry.differences.compare import Change, Differences
from metric_registry.differences.derived import told
from metric_registry.differences.history import Backfill
from metric_registry.differences.outcomes import Outcome
from metric_registry.durations import render_seconds
from metric_registry.errors import count

_HEADS = {
    "new": "new, version {one.after}",
    "gone": "goes, version {one.before}",
    "renamed": "the new name of {one.was}, version {one.after} in place of {one.before}",
    "changed": "version {one.after} in place of {one.before}",
    "published": "the same version {one.after}, published otherwise",
}
_VERDICTS = {
    "compatible": "compatible",
    "numbers": "same rows, other numbers",
    "breaking": "breaks readers",
}


def text(found: Differences) -> str:
    """For people: each definition that differs, and a line that sums up."""
    parts = ["\n".join(_change(one)) for one in found.changes]
    parts += ["\n".join(told(one)) for one in found.derived]
    if found.kept:
        parts.append("\n".join(_store(found)))
    return "\n\n".join([*parts, _summary(found)])


def to_dict(found: Differences) -> dict[str, Any]:
    """For programs: the same as the text."""
    derived = [{**asdict(one), "verdict": one.verdict} for one in found.derived]
    return {
        "changes": [{**asdict(one), "verdict": one.verdict} for one in found.changes],
        "kept": [asdict(one) for one in found.kept],
        "same": found.same,
        **({"derived": derived} if derived else {}),
    }


def _change(one: Change) -> Iterator[str]:
    yield f"{one.name}: {_HEADS[one.kind].format(one=one)} ({_verdict(one)})"
    for field in one.fields:
        yield f"  {field.field}: {field.before} -> {field.after}"
        yield f"    {field.effect}"
    for sizes, outcome in _together(one.outcomes):
        yield f"  {', '.join(sizes)}"
        yield f"    tables: {_tables(outcome)}"
        yield f"    metrics: {_metrics(outcome)}"
        if outcome.upserts != "none":
            yield f"    rollups: {_rollups(outcome)}"
    yield from (f"  {sentence}" for sentence in (*_readers(one), *_boundary(one)))
    yield from _past(one)


def _verdict(one: Change) -> str:
    if one.verdict == "numbers" and one.groups == "may differ":
        return "groups may come and go, other numbers"
    return _VERDICTS[one.verdict]


def _together(found: Sequence[Outcome]) -> Iterator[tuple[list[str], Outcome]]:
    """Neighbours of which the same is said."""
    for _, same in groupby(found, lambda one: (_tables(one), _metrics(one), _rollups(one))):
        every = list(same)
        yield [one.granularity for one in every], every[0]


_NUMBERS = {"": "", "same": "; the same numbers", "may differ": "; numbers may differ"}


def _tables(one: Outcome) -> str:
    words = {
        "begin": "rows begin",
        "end": "no rows of windows from the change on; those before stay as long as they are kept",
        "go on": "rows go on",
        "new version": "rows of windows from the change on have the new version",
    }[one.rows]
    if one.lost:
        words += f", without {_names(one.lost)}"
    if one.gained:
        words += f", with {_names(one.gained)}"
    if one.moved:
        words += ", and begin and end at other times"
    return words + _NUMBERS[one.numbers]


def _metrics(one: Outcome) -> str:
    words = {
        "none": "nothing",
        "begin": "series begin",
        "end": "series end",
        "go on": "the same series go on",
        "new run": "the same series go on, and their sums begin at zero",
        "replaced": "new series begin beside the old ones, which end",
    }[one.series]
    if one.ending == "expire":
        zeros = "zeros and then " if one.before and one.before.data != "gauge" else ""
        windows = f"{count(one.expire_after, 'window')} without data"
        words += f" after {windows}, with {zeros}a point without a value"
    elif one.ending == "stop":
        words += " without a word"
    if one.forgets:
        words += "; those without data at the change end without a word"
    return words + _NUMBERS[one.points]


def _rollups(one: Outcome) -> str:
    return {
        "none": "nothing",
        "begin": "keys begin, with the next change of each row",
        "end": "no more records; the last of each key stays as long as the topic keeps it",
        "go on": "the same keys go on",
        "replaced": "keys with the new version begin beside those with the old one",
    }[one.upserts]


def _readers(one: Change) -> Iterator[str]:
    """What who reads tables and topics sees at the boundary."""
    if one.kind == "new":
        yield f"readers: there is a view `{one.name}` from its first rows on"
    elif one.kind == "gone":
        yield f"readers: the view `{one.name}` gets no more rows; nothing tells its readers"
    elif one.kind == "renamed":
        yield (
            f"readers: the view `{one.was}` gets no more rows, those go to `{one.name}`; a metric "
            "of the new name comes in place of the old one"
        )
    elif one.kind == "changed":
        yield (
            f"readers: the view `{one.name}` has both versions, one behind the other; who asks for "
            f"version {one.before} finds no newer windows"
        )


def _boundary(one: Change) -> Iterator[str]:
    if one.kind == "published":
        yield "boundary: from its announcement on, in windows that are not published yet"
    elif one.kind in ("changed", "renamed", "gone"):
        longest = [each.granularity for each in one.outcomes if each.rows != "begin"][-1]
        yield (
            f"boundary: windows that began before, of up to {longest}, are finished and corrected "
            f"by version {one.before}, until nothing of them can change"
        )
    if one.base_lines == "known":
        yield "increases: base lines of cumulative streams are known, nothing is missing"
    elif one.base_lines == "known of some":
        yield (
            "increases: base lines are known of cumulative streams that were counted before; "
            "others count from their first sample after the announcement on"
        )
    elif one.base_lines == "from the announcement on":
        yield (
            "increases: cumulative streams count from their first sample after the announcement on"
        )


def _past(one: Change) -> Iterator[str]:
    if one.kind == "renamed":
        yield f"  past: stands under {one.was}"
    for each in one.backfills:
        yield f"  past: {_backfill(each)}"
    if one.backfills:
        yield (
            "    no change makes it; how many tenants and points it takes is unknown here, "
            "`tidemill topic list` counts the records of the log"
        )


def _backfill(one: Backfill) -> str:
    what = "the limit of groups" if one.bounded_by == "limits.series" else "its source"
    text = (
        f"rows of {one.granularity} would reach {render_seconds(one.seconds)} back: "
        f"{one.windows:,} windows of at most {one.groups:,} rows a tenant (by {what}), at most "
        f"{one.rows:,} rows a tenant"
    )
    if one.windows_in_log is not None and one.windows_in_log < one.windows:
        text += f"; the log keeps raw points of {one.windows_in_log:,} of these windows at most"
    return text


def _store(found: Differences) -> Iterator[str]:
    for one in found.kept:
        yield (
            f"the store keeps rows of {render_seconds(one.resolution)}, of all definitions, for "
            f"{count(one.after, 'day')} instead of {one.before}, from the next start of workers on"
        )


def _summary(found: Differences) -> str:
    same = f"{count(found.same, 'definition')} the same"
    if not found:
        return f"nothing differs: {same}"
    changes = len(found.changes) + len(found.derived)
    verdicts = Counter(one.verdict for one in (*found.changes, *found.derived))
    said = ", ".join(f"{verdicts[key]} {words}" for key, words in _SUMS.items() if verdicts[key])
    return f"{count(changes, 'definition')} differ{'s' * (changes == 1)} ({said}); {same}"


_SUMS = {
    "breaking": "breaking readers",
    "numbers": "with other numbers",
    "compatible": "compatible",
}


def _names(values: Sequence[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)
