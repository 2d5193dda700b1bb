"""The upsert topic, read as any user would: the last record of each key stands."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from demo.verdict import Finding, Verdict
from oracle.definitions import Definition
from oracle.histograms import Shown, mark, of_json
from oracle.log import Record
from oracle.oracle import Key, Result
from oracle.upserts import row_of

TOPIC = "rollups"


class Upsert(NamedTuple):
    """What a key's last record says."""

    value: Shown
    points: int
    revision: int


def standing(records: Iterable[Record]) -> dict[Key, Upsert]:
    """By row what stands on the topic, records in order of offset within each partition."""
    found: dict[Key, Upsert] = {}
    for record in records:
        key = row_of(record.key)
        if not record.value:
            found.pop(key, None)
            continue
        row = json.loads(record.value)
        value = of_json(row["histogram"]) if "histogram" in row else float(row["value"])
        found[key] = Upsert(value, row["points"], row["revision"])
    return found


def judge_upserts(
    verdict: Verdict,
    definitions: Iterable[Definition],
    before: Result,
    after: Result,
    found: dict[Key, Upsert],
) -> int:
    """Add to the verdict what is wrong with the topic; how many rows are right.

    What `before` demands must be there; what is there must be demanded by `after`.
    """
    asked = {definition.name for definition in definitions if definition.upsert}
    demanded = [key for key in before.latest if key.definition in asked]
    right = 0
    for key in sorted({*demanded, *found}):
        got = found.get(key)
        cells = [one for one in (before.latest.get(key), after.latest.get(key)) if one]
        values = [cell.value for cell in cells]
        what = ""
        if key.definition not in asked:
            what = "an upsert that nobody asked for"
        elif got is None:
            what = "an upsert is missing"
        elif not cells:
            what = "an upsert that the log does not justify"
        elif (mark(got.value), got.points) not in [(mark(c.value), c.points) for c in cells]:
            what = "another upsert"
        if what:
            seen = [] if got is None else [got.value]
            verdict.findings.append(Finding(key, what, values, seen, cells[-1] if cells else None))
        else:
            right += 1
    return right
