"""Questions to the tables: the latest revision of what was published, and why it is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from topologies.sink.schema import Schema
from topologies.sink.stored import FIELDS, StoredHistogram, stored

DEFAULT_LIMIT = 10_000


class QueryClient(Protocol):
    """A client of ``clickhouse-connect``."""

    def query(self, query: str, parameters: dict[str, Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class RollupRow:
    """One published window of one group.

    Attributes:
        granularity: As definitions write it: 10s, 1d, 5m/1m.
        zone: Whose days, weeks or months the windows are; empty for others.
        resolution: Seconds; a month is 30 days here.
        window_start, window_end: UTC; the window is (start, end].
        points: Counted in the window; ``late`` of them after the first publication.
        revision: 1 is the first publication.
        source_partition, source_offset: The record of ``telemetry.rollups`` it comes from.
        histogram: The result, if it is one and was asked for; ``value`` is NaN then.
    """

    rollup: str
    version: str
    unit: str
    tenant: str
    granularity: str
    zone: str
    resolution: int
    window_start: datetime
    window_end: datetime
    labels: Mapping[str, str]
    value: float
    points: int
    late: int
    revision: int
    source_partition: int
    source_offset: int
    histogram: StoredHistogram | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """Up to which record of each partition a window counts (exclusive), and who was idle."""

    domain: str
    sources: Mapping[str, int]
    idle: tuple[str, ...]


_SHAPE = ("histogram", *FIELDS)
_FIELDS = tuple(RollupRow.__dataclass_fields__)[:-1]


def query_rollups(
    client: QueryClient,
    name: str,
    resolution: int,
    since: datetime,
    until: datetime,
    labels: Mapping[str, str] | None = None,
    *,
    hop: int = 0,
    zone: str = "",
    tenant: str | None = None,
    version: str | None = None,
    limit: int = DEFAULT_LIMIT,
    histograms: bool = False,
    schema: Schema | None = None,
) -> list[RollupRow]:
    """The latest revision of each window that ends in (since, until], by end, then by labels.

    Args:
        resolution: Seconds.
        hop: Seconds between windows that overlap.
        zone: Whose days, weeks or months the windows are.
        since, until: With a time zone.
        labels: Only groups with these labels; an empty value finds groups without the label.
        limit: Rows at most; the earliest are kept.
        histograms: Also what is behind rows whose result is one.

    Raises:
        ValueError: A time without a zone.
    """
    where, parameters = conditions_of(resolution, hop, zone, since, until, labels or {})
    where += ["rollup = {rollup:String}", "is_deleted = 0"]
    parameters |= {"rollup": name, "limit": limit}
    for column, wanted in (("tenant", tenant), ("version", version)):
        if wanted is not None:
            parameters[column] = wanted
            where.append(f"{column} = {{{column}:String}}")
    shown = ", ".join(f"`{field}`" for field in (*_FIELDS, *(_SHAPE if histograms else ())))
    sql = (
        f"SELECT {shown} FROM {(schema or Schema()).rollups} FINAL WHERE {' AND '.join(where)} "
        "ORDER BY window_end, tenant, version, labels LIMIT {limit:UInt64} "
        "SETTINGS do_not_merge_across_partitions_select_final = 1"
    )
    return [_row(values) for values in client.query(sql, parameters=parameters).result_rows]


def conditions_of(
    resolution: int,
    hop: int,
    zone: str,
    since: datetime,
    until: datetime,
    labels: Mapping[str, str],
) -> tuple[list[str], dict[str, Any]]:
    """What is asked of windows and groups, as SQL and its parameters.

    Raises:
        ValueError: A time without a zone.
    """
    if since.tzinfo is None or until.tzinfo is None:
        raise ValueError("since and until need a time zone, for example tzinfo=UTC")
    parameters: dict[str, Any] = {
        "resolution": resolution,
        "hop": hop,
        "zone": zone,
        "since": _milliseconds(since),
        "until": _milliseconds(until),
    }
    where = [
        "resolution = {resolution:UInt32}",
        "hop = {hop:UInt32}",
        "zone = {zone:String}",
        "window_end > fromUnixTimestamp64Milli({since:Int64}, 'UTC')",
        "window_end <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')",
    ]
    for number, (label, wanted) in enumerate(sorted(labels.items())):
        parameters[f"key{number}"], parameters[f"value{number}"] = label, wanted
        where.append(f"labels[{{key{number}:String}}] = {{value{number}:String}}")
    return where, parameters


def query_certificates(
    client: QueryClient, row: RollupRow, *, schema: Schema | None = None
) -> list[Certificate]:
    """The certificates of a row's window in the record that the row came with."""
    sql = (
        f"SELECT domain, sources, idle FROM {(schema or Schema()).certificates} FINAL "
        "WHERE source_partition = {partition:UInt32} AND source_offset = {offset:UInt64} "
        "AND resolution = {resolution:UInt32} "
        "AND window_end = fromUnixTimestamp64Milli({end:Int64}, 'UTC') ORDER BY domain"
    )
    parameters: dict[str, Any] = {
        "partition": row.source_partition,
        "offset": row.source_offset,
        "resolution": row.resolution,
        "end": _milliseconds(row.window_end),
    }
    found = client.query(sql, parameters=parameters).result_rows
    return [Certificate(str(d), dict(s), tuple(map(str, i))) for d, s, i in found]


def _row(values: Any) -> RollupRow:
    given: dict[str, Any] = dict(zip(_FIELDS, values[: len(_FIELDS)], strict=True))
    if len(values) > len(_FIELDS):
        given["histogram"] = stored(values[len(_FIELDS) :])
    for field in ("window_start", "window_end"):
        if given[field].tzinfo is None:
            given[field] = given[field].replace(tzinfo=UTC)
    return RollupRow(**given)


def _milliseconds(time: datetime) -> int:
    since_epoch = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since_epoch.days * 86_400 + since_epoch.seconds) * 1000 + round(
        since_epoch.microseconds / 1000
    )
