"""The settings of one deployment, in one place.

`tidemill up` writes them to `settings.json` in the data directory and hands that file to every
process it starts; a process started alone reads the same file or takes the defaults. Past one
machine three of them change: `bootstrap`, `store_url` and the number of workers.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from streams.topology.topics import Topic

ENVIRONMENT = "TIDEMILL_SETTINGS"
"""Where `faust -A tidemill.worker worker` finds the settings file."""


class SettingsError(ValueError):
    """A settings file that does not parse, or names what does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the processes of a deployment agree on.

    Attributes:
        data: The data directory, with one folder a process.
        definitions: Files and folders of metric definitions, and packs (`tidemill:gpu`).
        aggregates: Python files, and folders of them, that add aggregates of users' own; relative
            to the settings file.
        environment: The one of which definitions and defaults say something of their own; empty:
            none.
        starter_definitions: Whether those that come with tidemill are computed, too.
        bootstrap: Kafka bootstrap servers.
        store_url: ClickHouse's HTTP interface.
        raw_partitions: Partitions of `telemetry.raw` and of every history topic.
        shard_partitions: Partitions of `telemetry.partials`, `telemetry.rollups` and `metrics`.
        replication: Replicas of every topic.
        key: Hex secret that fingerprints are made with.
        standby_replicas: How many other workers keep a copy of each task's state, ready to go on
            with it; costs their disk and the reading of its changelog.
        idle_after_ms: How long a partition stays empty before it counts as idle.
        stream_gap_ms: How long a stream may be silent, in event time, before it is unknown.
        epoch_margin_ms: How long before anything depends on it a new epoch is announced.
    """

    data: str = ".tidemill"
    definitions: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    environment: str = ""
    starter_definitions: bool = True
    bootstrap: str = "127.0.0.1:9092"
    broker_port: int = 9092
    broker_metrics_port: int = 9644
    edge_port: int = 4318
    store_url: str = "http://127.0.0.1:8123"
    worker_port: int = 6066
    workers: int = 1
    standby_replicas: int = 0
    host_interval: float = 2.0
    raw_partitions: int = 4
    shard_partitions: int = 4
    replication: int = 1
    key: str = "00112233445566778899aabbccddeeff"
    idle_after_ms: int = 3_000
    snapshot_interval_ms: int = 10_000
    settle_ms: int = 2_000
    stream_gap_ms: int = 900_000
    epoch_margin_ms: int = 300_000
    raw_retention_hours: int = 48
    app: str = "tidemill"

    @property
    def folder(self) -> Path:
        """The data directory."""
        return Path(self.data)

    @property
    def file(self) -> Path:
        """Where `save` puts them."""
        return self.folder / "settings.json"

    def save(self) -> Path:
        """Write the settings for the other processes, atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".new")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        os.replace(temporary, self.file)
        return self.file


_SETTINGS = msgspec.json.Decoder(Settings)


def load(file: Path | None) -> Settings:
    """The settings of a file, or the defaults.

    Raises:
        SettingsError: The file is missing or not valid; the message says which field.
    """
    if file is None:
        return Settings()
    try:
        found = _SETTINGS.decode(file.read_bytes())
    except FileNotFoundError:
        raise SettingsError(
            f"no settings file {file}: `tidemill up` writes one into its data directory"
        ) from None
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{file}: {error}") from error
    beside = file.resolve().parent
    return replace(found, aggregates=tuple(str(beside / each) for each in found.aggregates))


def with_own_key(settings: Settings) -> Settings:
    """The settings of the data directory's earlier run, or a secret of its own for a new one."""
    if settings.file.exists():
        return replace(settings, key=load(settings.file).key)
    return replace(settings, key=secrets.token_hex(16))


def announcements(settings: Settings) -> str:
    """The transactional id of whoever changes definitions or partitions: one at a time, since the
    next one fences the one before."""
    return f"{settings.app}-announcements"


def topics(settings: Settings) -> list[Topic]:
    """Every topic of a deployment (DESIGN 4), but for history topics, which `load` creates."""
    hours = 3_600_000
    large = {"max.message.bytes": str(16 << 20)}

    def kept(hours_kept: int, policy: str = "delete") -> dict[str, str]:
        return {**large, "cleanup.policy": policy, "retention.ms": str(hours_kept * hours)}

    shards, raw = settings.shard_partitions, settings.raw_partitions
    changelog = {**large, "cleanup.policy": "compact", "segment.bytes": str(32 << 20)}
    return [
        Topic("telemetry.raw", raw, kept(settings.raw_retention_hours)),
        Topic("telemetry.partials", shards, kept(24), internal=True),
        Topic("telemetry.rollups", shards, kept(7 * 24)),
        Topic("telemetry.progress", 1, kept(7 * 24, "compact,delete"), internal=True),
        Topic("telemetry.tasks", 1, changelog),
        Topic("telemetry.definitions", 1, changelog),
        Topic("telemetry.epochs", 1, changelog),
        Topic("telemetry.ledger", 1, kept(30 * 24)),
        Topic("telemetry.dead-letter", 1, kept(30 * 24)),
        Topic("metrics", shards, kept(7 * 24)),
        Topic("rollups", shards, kept(7 * 24, "compact,delete")),
    ]
