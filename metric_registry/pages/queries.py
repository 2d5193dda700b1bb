"""Questions that the view of a definition answers, as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from metric_registry.granularities import text_of
from metric_registry.plan import ResolvedDefinition


class Query(NamedTuple):
    """What is asked, and how."""

    title: str
    sql: str


def queries(one: ResolvedDefinition, database: str = "tidemill") -> Iterator[Query]:
    """Questions of which the answers mean something: nothing is added up that does not add up."""
    view = f"{database}.{identifier(one.name)}"
    finest, coarsest = one.granularities[0], one.granularities[-1]
    histogram = one.instrument in ("histogram", "exponential_histogram")
    shown = "count, sum, min, max" if histogram else "value"
    yield Query(
        f"The newest windows of {text_of(finest)}",
        f"SELECT window_end, labels, {shown}, unit, revision\nFROM {view}\n"
        f"WHERE granularity = {literal(text_of(finest))}\n"
        "ORDER BY window_end DESC, toString(labels)\nLIMIT 20",
    )
    kept = [name for name in one.group_by if name != "tenant"]
    if kept and _adds_up(one):
        label, size = f"labels[{literal(kept[0])}]", literal(text_of(coarsest))
        mine = f"granularity = {size} AND version = {literal(one.version)}"
        yield Query(
            f"The greatest by {kept[0]}, in the newest window of {text_of(coarsest)}",
            f"SELECT tenant, {label} AS label, sum(value) AS total\nFROM {view}\n"
            f"WHERE {mine}\n  AND window_end = (SELECT max(window_end) FROM {view} WHERE {mine})\n"
            "GROUP BY tenant, label\nORDER BY total DESC, tenant, label\nLIMIT 10",
        )
    yield Query(
        "Rows that late points have corrected",
        f"SELECT granularity, window_end, labels, {shown}, points, late, revision\nFROM {view}\n"
        "WHERE revision > 1\nORDER BY window_end DESC, granularity, toString(labels)\nLIMIT 20",
    )


def _adds_up(one: ResolvedDefinition) -> bool:
    """Whether numbers of groups make the number of all of them."""
    return one.instrument == "sum"


def identifier(name: str) -> str:
    """A name as ClickHouse's SQL quotes it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A text as ClickHouse's SQL quotes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
