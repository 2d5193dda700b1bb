"""The store's tables: what they are, why, and how they change (forward only).

One wide table for all definitions: forty small inserts cost thirty times one combined.

The key is (rollup, tenant, resolution, version, window_end, group, hop, zone). Everything that
makes two rows different windows is in it, or merges would throw one away; what a question names
comes first (the rollup always; tenants and versions are few, so leaving one out costs a range
each), then time, then the group: one contiguous range for a stretch of time over all groups. Hop
and zone came later, and a key grows at its end only: five minutes have no hop, `5m/1m` have one of
60, and days, weeks and months of a zone have the zone (24 hours have none).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from metric_registry.names import TABLES
from metric_registry.pages.queries import identifier, literal
from topologies.sink import histograms

_MERGING = {"min_parts_to_merge_at_once": 10, "merge_selector_base": 8}
"""Settings of tables, where the store knows them. With its defaults a row that came in a batch of
20,000 is merged four times, which costs twice as much as its insert (tests/benchmarks/bench_store):
4.9 -> 3.2 CPU s a million rows, with a dozen more parts to read at most."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DAY = 86_400

DEFAULT_RETENTION_DAYS: Mapping[int, int] = {10: 2, 60: 14, 3600: 400, _DAY: 1825}
"""Longest resolution in seconds -> days its rows are kept. Longer resolutions: as the last."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Where tables are and how they are kept.

    Attributes:
        database: Theirs alone.
        cluster: Name for ON CLUSTER, and with it replicated engines; empty on one server.
        replica_path, replica_name: Arguments of the replicated engines (macros of the server).
        retention_days: As ``DEFAULT_RETENTION_DAYS``.
        deduplication_window: How many parts back a repeated insert is recognised.
    """

    database: str = "tidemill"
    cluster: str = ""
    replica_path: str = "/clickhouse/tables/{shard}/{database}/{table}"
    replica_name: str = "{replica}"
    retention_days: Mapping[int, int] = field(default_factory=lambda: dict(DEFAULT_RETENTION_DAYS))
    deduplication_window: int = 10_000

    def __post_init__(self) -> None:
        for name in filter(None, (self.database, self.cluster)):
            if not _NAME.match(name):
                raise ValueError(f"'{name}' is no plain name: letters, digits and _ only")
        if not self.retention_days or min(self.retention_days.values()) < 1:
            raise ValueError("retention_days needs an entry, and no fewer than one day in each")

    @property
    def rollups(self) -> str:
        return f"{self.database}.rollups_v1"

    @property
    def certificates(self) -> str:
        return f"{self.database}.certificates_v1"

    @property
    def applied(self) -> str:
        return f"{self.database}.schema_versions"

    @property
    def on_cluster(self) -> str:
        return f" ON CLUSTER '{self.cluster}'" if self.cluster else ""

    @property
    def settings(self) -> str:
        window = self.deduplication_window
        name = "replicated" if self.cluster else "non_replicated"
        return f"{name}_deduplication_window = {window}"

    def engine(self, kind: str, *arguments: str) -> str:
        """An engine of this name, replicated on a cluster."""
        given = list(arguments)
        if self.cluster:
            kind = f"Replicated{kind}"
            given = [f"'{self.replica_path}'", f"'{self.replica_name}'", *given]
        return f"{kind}({', '.join(given)})"

    @property
    def lifetime(self) -> str:
        """The TTL of rollups: counted from when a row was written, for history is loaded late."""
        steps = sorted(self.retention_days.items())
        cases = [f"resolution <= {seconds}, {days}" for seconds, days in steps[:-1]]
        last = str(steps[-1][1])
        days = f"multiIf({', '.join(cases)}, {last})" if cases else last
        return f"greatest(toDateTime(window_end), recorded_at) + toIntervalDay({days})"


class SchemaTooNew(Exception):
    """The store was written by a later version of this program."""


def migrations(schema: Schema, settings: Collection[str] = ()) -> list[tuple[int, list[str]]]:
    """Versions with the statements that lead to each from the one before. Never edit, append.

    Args:
        settings: Those of tables that the store knows, by name.
    """
    return [
        (1, [_rollups_table(schema), _certificates_table(schema), _people_view(schema, _FIRST)]),
        (2, [_calendar_and_hopping(schema), _named(schema), _people_view(schema, _SHOWN)]),
        (
            3,
            [
                histograms.added(schema.rollups, schema.on_cluster),
                _people_view(schema, f"{_SHOWN}, {histograms.SHOWN['']}"),
            ],
        ),
        (4, _merging(schema, settings)),
    ]


def preparation(schema: Schema) -> list[str]:
    """What must be there before the version can be asked for. Repeatable."""
    engine = schema.engine("ReplacingMergeTree", "applied_at")
    return [
        f"CREATE DATABASE IF NOT EXISTS {schema.database}{schema.on_cluster}",
        f"CREATE TABLE IF NOT EXISTS {schema.applied}{schema.on_cluster} "
        "(version UInt32, lifetime String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) "
        f"ENGINE = {engine} ORDER BY version",
    ]


def new_lifetime(schema: Schema) -> str:
    """The statement that gives existing rows this retention."""
    return f"ALTER TABLE {schema.rollups}{schema.on_cluster} MODIFY TTL {schema.lifetime}"


def _rollups_table(schema: Schema) -> str:
    engine = schema.engine("ReplacingMergeTree", "revision", "is_deleted")
    return f"""
CREATE TABLE IF NOT EXISTS {schema.rollups}{schema.on_cluster}
(
    rollup LowCardinality(String),
    version LowCardinality(String) COMMENT 'of the definition',
    unit LowCardinality(String),
    tenant LowCardinality(String),
    resolution UInt32 COMMENT 'seconds' CODEC(T64, ZSTD(1)),
    window_end DateTime64(3, 'UTC') COMMENT 'windows are (start, end]' CODEC(DoubleDelta, ZSTD(1)),
    window_start DateTime64(3, 'UTC') ALIAS window_end - toIntervalSecond(resolution),
    `group` UInt128 COMMENT 'canonical hash of the labels' CODEC(ZSTD(1)),
    labels Map(LowCardinality(String), String),
    value Float64 CODEC(ZSTD(1)),
    points UInt64 COMMENT 'counted in the window' CODEC(T64, ZSTD(1)),
    late UInt64 COMMENT 'of them, after the first publication' CODEC(T64, ZSTD(1)),
    revision UInt32 COMMENT '1: first publication' CODEC(T64, ZSTD(1)),
    is_deleted UInt8 CODEC(T64, ZSTD(1)),
    source_partition UInt32 COMMENT 'of telemetry.rollups' CODEC(T64, ZSTD(1)),
    source_offset UInt64 COMMENT 'certificates_v1 has its certificate' CODEC(DoubleDelta, ZSTD(1)),
    recorded_at DateTime('UTC') DEFAULT now() CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = {engine}
PARTITION BY (resolution, if(resolution < 3600, toYYYYMMDD(window_end), toYYYYMM(window_end)))
ORDER BY (rollup, tenant, resolution, version, window_end, `group`)
TTL {schema.lifetime}
SETTINGS {schema.settings}, ttl_only_drop_parts = 1,
    min_age_to_force_merge_seconds = 600, min_age_to_force_merge_on_partition_only = 1
"""


def _certificates_table(schema: Schema) -> str:
    engine = schema.engine("ReplacingMergeTree")
    days = max(schema.retention_days.values())
    return f"""
CREATE TABLE IF NOT EXISTS {schema.certificates}{schema.on_cluster}
(
    source_partition UInt32 COMMENT 'of telemetry.rollups' CODEC(T64, ZSTD(1)),
    source_offset UInt64 CODEC(DoubleDelta, ZSTD(1)),
    resolution UInt32 COMMENT 'seconds' CODEC(T64, ZSTD(1)),
    window_end DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    domain LowCardinality(String) COMMENT 'of time',
    sources Map(LowCardinality(String), UInt64) COMMENT 'partition -> first record not counted',
    idle Array(LowCardinality(String)) COMMENT 'partitions assumed idle',
    recorded_at DateTime('UTC') DEFAULT now() CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = {engine}
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (source_partition, source_offset, resolution, window_end, domain)
TTL recorded_at + toIntervalDay({days})
SETTINGS {schema.settings}, ttl_only_drop_parts = 1
"""


def _calendar_and_hopping(schema: Schema) -> str:
    """Windows that are not as long as their resolution says, and not as far apart."""
    return f"""
ALTER TABLE {schema.rollups}{schema.on_cluster}
    ADD COLUMN IF NOT EXISTS hop UInt32
        COMMENT 'seconds from window to window where they overlap, else 0' CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS zone LowCardinality(String)
        COMMENT 'whose days, weeks or months the windows are, else empty',
    MODIFY COLUMN window_start DateTime64(3, 'UTC')
        DEFAULT window_end - toIntervalSecond(resolution) CODEC(DoubleDelta, ZSTD(1)),
    MODIFY ORDER BY (rollup, tenant, resolution, version, window_end, `group`, hop, zone)
"""


def _named(schema: Schema) -> str:
    """Windows under the name that definitions give them: 10s, 5m/1m, 1mo."""
    return (
        f"ALTER TABLE {schema.rollups}{schema.on_cluster} ADD COLUMN IF NOT EXISTS "
        f"granularity String ALIAS {duration_names()}"
    )


def duration_names() -> str:
    """SQL that names windows by their resolution, hop and zone as definitions do."""
    tumbling = f"multiIf(zone = '' OR resolution = 86400, {_duration('resolution')}, "
    tumbling += "resolution = 604800, '1w', '1mo')"
    hopping = f"concat({_duration('resolution')}, '/', {_duration('hop')})"
    return f"if(hop = 0, {tumbling}, {hopping})"


def _merging(schema: Schema, known: Collection[str]) -> list[str]:
    """Merge more parts at a time, and so less often."""
    chosen = ", ".join(f"{name} = {value}" for name, value in _MERGING.items() if name in known)
    tables = (schema.rollups, schema.certificates)
    change = f"{schema.on_cluster} MODIFY SETTING {chosen}"
    return [f"ALTER TABLE {table}{change}" for table in tables] if chosen else []


def _duration(seconds: str) -> str:
    """SQL that writes a number of seconds as definitions do."""
    units = ((86_400, "d"), (3_600, "h"), (60, "m"))
    cases = [
        f"{seconds} % {each} = 0, concat(toString(intDiv({seconds}, {each})), '{letter}')"
        for each, letter in units
    ]
    return f"multiIf({', '.join(cases)}, concat(toString({seconds}), 's'))"


_FIRST = (
    "tenant, rollup, version, unit, resolution, window_start, window_end, labels, value, points, "
    "late, revision, source_partition, source_offset"
)
_SHOWN = _FIRST.replace("resolution", "granularity, zone, resolution, hop")
LATEST = "SETTINGS do_not_merge_across_partitions_select_final = 1"


def _people_view(schema: Schema, shown: str) -> str:
    return (
        f"CREATE OR REPLACE VIEW {schema.database}.rollups{schema.on_cluster} AS "
        f"SELECT {shown} FROM {schema.rollups} FINAL WHERE is_deleted = 0 {LATEST}"
    )


def definition_view(schema: Schema, rollup: str, kind: str = "") -> str | None:
    """The view of one definition, named as it is; None for a name that a table of ours has.

    kind: Of its histograms, `explicit` or `exponential`, if its results are some.

    A person writes ``SELECT * FROM tidemill.`host.cpu.seconds```.
    """
    if not rollup or rollup in TABLES:
        return None
    shown = f"{_SHOWN}, {histograms.SHOWN[kind]}" if kind else _SHOWN
    return (
        f"CREATE OR REPLACE VIEW {schema.database}.{identifier(rollup)}{schema.on_cluster} AS "
        f"SELECT {shown} FROM {schema.rollups} FINAL "
        f"WHERE rollup = {literal(rollup)} AND is_deleted = 0 {LATEST}"
    )
