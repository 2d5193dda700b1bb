"""What the store of a running stack says of definitions: how fresh, and how many groups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from metric_registry.pages.catalogue import Live, LiveSize
from metric_registry.plan import ResolvedDefinition
from topologies.sink.schema import Schema

_ASKED = """
SELECT rollup, version, granularity, toString(max(window_end)) AS newest,
    uniqExactIf(tuple(tenant, `group`), window_end > now() - INTERVAL 1 HOUR) AS series,
    countIf(revision = 1 AND window_end > now() - INTERVAL 1 HOUR) AS first,
    quantileExactIf(0.5)(dateDiff('second', window_end, recorded_at),
        revision = 1 AND window_end > now() - INTERVAL 1 HOUR) AS usual,
    maxIf(dateDiff('second', window_end, recorded_at),
        revision = 1 AND window_end > now() - INTERVAL 1 HOUR) AS longest
FROM {table} FINAL
WHERE is_deleted = 0 AND rollup IN {{names:Array(String)}}
GROUP BY `rollup`, version, granularity
ORDER BY `rollup`, min(resolution), granularity
"""


def figures(
    client: Any, definitions: Sequence[ResolvedDefinition], schema: Schema | None = None
) -> Live:
    """What the store's table holds of these versions.

    How fresh rows were is told of those that are as they were published first: when a row came into
    the table, in whole seconds. Raises what clickhouse-connect raises.
    """
    versions = {one.name: one.version for one in definitions}
    asked = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    statement = _ASKED.format(table=(schema or Schema()).rollups)
    rows: list[tuple[Any, ...]] = client.query(
        statement, parameters={"names": sorted(versions)}
    ).result_rows
    found: dict[str, list[LiveSize]] = {}
    for rollup, version, granularity, newest, series, first, usual, longest in rows:
        if versions.get(rollup) != version:
            continue
        known = bool(first)
        found.setdefault(rollup, []).append(
            LiveSize(
                granularity,
                f"{newest[:19].replace(' ', 'T')}Z",
                int(series),
                max(int(usual), 0) if known else None,
                max(int(longest), 0) if known else None,
            )
        )
    return Live(asked, found)
