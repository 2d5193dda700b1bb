"""The settings a topic may have, how each is checked, and what they mean to its logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.log.settings import LogSettings

BOOLEAN, STRING, INT, LIST, LONG, DOUBLE = 1, 2, 3, 7, 5, 6
"""Types of settings as DescribeConfigs names them (KIP-569)."""


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """One setting. `default` renders the broker's default from its log settings."""

    type: int
    default: Callable[[LogSettings], str]
    problem: Callable[[str], str | None]
    documentation: str


def _whole(least: int, most: int = 2**63 - 1) -> Callable[[str], str | None]:
    def problem(value: str) -> str | None:
        try:
            number = int(value)
        except ValueError:
            return "not a whole number"
        return None if least <= number <= most else f"not between {least} and {most}"

    return problem


def _share(value: str) -> str | None:
    try:
        return None if 0 <= float(value) <= 1 else "not between 0 and 1"
    except ValueError:
        return "not a number"


def _one_of(*allowed: str) -> Callable[[str], str | None]:
    return lambda value: None if value in allowed else f"not one of {', '.join(allowed)}"


def _policies(value: str) -> str | None:
    parts = {part.strip() for part in value.split(",")}
    return None if parts and parts <= {"delete", "compact"} else "delete, compact or both"


def _accepted(type_: int, value: str, problem: Callable[[str], str | None]) -> TopicConfig:
    return TopicConfig(
        type_,
        lambda _: value,
        problem,
        "Accepted for clients that set it; has no effect on this broker.",
    )


def _text(value: bool) -> str:
    return "true" if value else "false"


_BOOLEAN = _one_of("true", "false")

TOPIC_CONFIGS: dict[str, TopicConfig] = {
    "cleanup.policy": TopicConfig(
        LIST,
        lambda settings: ",".join(
            name
            for name, on in (("compact", settings.compacts), ("delete", settings.deletes))
            if on
        ),
        _policies,
        "delete: old segments go by time and size. compact: at least the last record of each key "
        "is kept; records need a key. Both may be given.",
    ),
    "retention.ms": TopicConfig(
        LONG,
        lambda settings: str(settings.retention_ms),
        _whole(-1),
        "Segments whose newest record is older are deleted; -1 keeps them.",
    ),
    "retention.bytes": TopicConfig(
        LONG,
        lambda settings: str(settings.retention_bytes),
        _whole(-1),
        "The oldest segments go while a partition stays at least this big; -1 is no limit.",
    ),
    "segment.bytes": TopicConfig(
        INT,
        lambda settings: str(settings.segment_bytes),
        _whole(1024, 2**31 - 1),
        "Size at which a new segment is begun.",
    ),
    "segment.ms": TopicConfig(
        LONG,
        lambda settings: str(settings.segment_ms),
        _whole(1),
        "Age at which a new segment is begun.",
    ),
    "max.message.bytes": TopicConfig(
        INT,
        lambda settings: str(settings.max_message_bytes),
        _whole(0, 2**31 - 1),
        "The largest batch that is accepted.",
    ),
    "message.timestamp.type": TopicConfig(
        STRING,
        lambda settings: "LogAppendTime" if settings.stamp_append_time else "CreateTime",
        _one_of("CreateTime", "LogAppendTime"),
        "Whose time records carry: the producer's or the broker's.",
    ),
    "tidemill.check.records": TopicConfig(
        BOOLEAN,
        lambda settings: _text(settings.check_records),
        _BOOLEAN,
        "Parse every record of a batch before it is appended, not only the header and checksum.",
    ),
    "delete.retention.ms": TopicConfig(
        LONG,
        lambda settings: str(settings.delete_retention_ms),
        _whole(0),
        "How long a compacted topic keeps tombstones and transaction markers once it cleaned them: "
        "the time a reader that begins at offset 0 has to see them.",
    ),
    "min.cleanable.dirty.ratio": TopicConfig(
        DOUBLE,
        lambda settings: str(settings.min_cleanable_ratio),
        _share,
        "Share of a compacted log that must be new before it is cleaned.",
    ),
    "min.compaction.lag.ms": TopicConfig(
        LONG,
        lambda settings: str(settings.min_compaction_lag_ms),
        _whole(0),
        "Segments with a record that is younger are not compacted.",
    ),
    "max.compaction.lag.ms": TopicConfig(
        LONG,
        lambda settings: str(settings.max_compaction_lag_ms),
        _whole(1),
        "A record that waited longer is compacted whatever the share of new ones.",
    ),
    "compression.type": _accepted(STRING, "producer", _one_of("producer")),
    "min.insync.replicas": _accepted(INT, "1", _one_of("1")),
    "flush.ms": _accepted(LONG, str(2**63 - 1), _whole(0)),
    "flush.messages": _accepted(LONG, str(2**63 - 1), _whole(1)),
    "unclean.leader.election.enable": _accepted(BOOLEAN, "false", _BOOLEAN),
    "message.timestamp.difference.max.ms": _accepted(LONG, str(2**63 - 1), _whole(0)),
}


def conflict(defaults: LogSettings, configs: Mapping[str, str]) -> str | None:
    """Why (checked) settings do not go together, None if they do."""
    settings = log_settings(defaults, configs)
    if settings.min_compaction_lag_ms > settings.max_compaction_lag_ms:
        return "min.compaction.lag.ms is greater than max.compaction.lag.ms"
    return None


def log_settings(defaults: LogSettings, configs: Mapping[str, str]) -> LogSettings:
    """The log settings of a topic with these (checked) settings of its own."""

    def text(name: str) -> str:
        return configs.get(name) or TOPIC_CONFIGS[name].default(defaults)

    return LogSettings(
        segment_bytes=int(text("segment.bytes")),
        segment_ms=int(text("segment.ms")),
        retention_bytes=int(text("retention.bytes")),
        retention_ms=int(text("retention.ms")),
        max_message_bytes=int(text("max.message.bytes")),
        stamp_append_time=text("message.timestamp.type") == "LogAppendTime",
        deletes="delete" in text("cleanup.policy"),
        compacts="compact" in text("cleanup.policy"),
        min_cleanable_ratio=float(text("min.cleanable.dirty.ratio")),
        delete_retention_ms=int(text("delete.retention.ms")),
        min_compaction_lag_ms=int(text("min.compaction.lag.ms")),
        max_compaction_lag_ms=int(text("max.compaction.lag.ms")),
        check_records=text("tidemill.check.records") == "true",
        producer_expiry_ms=defaults.producer_expiry_ms,
    )
