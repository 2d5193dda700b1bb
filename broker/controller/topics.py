"""The topics of this node: names, ids, partition counts, configuration. A table that is changed by
methods that say yes or give Kafka's error, and written down whole after a change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

from broker.controller.topic_config import TOPIC_CONFIGS, conflict, log_settings
from broker.log.settings import LogSettings
from broker.protocol.errors import ErrorCode
from broker.records.batch import Refusal

INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state"})
MAX_PARTITIONS = 10_000
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    id: UUID
    partitions: int
    configs: Mapping[str, str]

    @property
    def is_internal(self) -> bool:
        return self.name in INTERNAL_TOPICS


class ConfigChange(NamedTuple):
    """One change of one setting; a value of None goes back to the default."""

    name: str
    value: str | None


class TopicCatalog:
    """All topics, and the log settings that follow from their configuration."""

    def __init__(self, defaults: LogSettings) -> None:
        self.topics: dict[str, Topic] = {}
        self.by_id: dict[UUID, Topic] = {}
        self.defaults = defaults

    def check_new(
        self, name: str, partitions: int, replicas: int, configs: Mapping[str, str | None]
    ) -> Refusal | None:
        """Why a topic can't be made, None if it can. `partitions` -1: the default count."""
        if not _LEGAL_NAME.fullmatch(name) or name in {".", ".."}:
            return Refusal(
                ErrorCode.invalid_topic_exception,
                "a topic's name is 1 to 249 of the characters a-z A-Z 0-9 . _ -",
            )
        if name in self.topics:
            return Refusal(ErrorCode.topic_already_exists, f"topic {name!r} exists")
        if not (1 <= partitions <= MAX_PARTITIONS):
            return Refusal(
                ErrorCode.invalid_partitions, f"between 1 and {MAX_PARTITIONS} partitions"
            )
        if replicas not in (-1, 1):
            return Refusal(
                ErrorCode.invalid_replication_factor, "this is one node: replication factor 1"
            )
        return self._check_configs(configs)

    def _check_configs(self, configs: Mapping[str, str | None]) -> Refusal | None:
        for name, value in configs.items():
            known = TOPIC_CONFIGS.get(name)
            if known is None:
                return Refusal(ErrorCode.invalid_config, f"unknown topic setting {name!r}")
            problem = None if value is None else known.problem(value)
            if problem is not None:
                return Refusal(ErrorCode.invalid_config, f"{name}={value!r}: {problem}")
        given = {name: value for name, value in configs.items() if value is not None}
        problem = conflict(self.defaults, given)
        return None if problem is None else Refusal(ErrorCode.invalid_config, problem)

    def create(
        self, name: str, topic_id: UUID, partitions: int, configs: Mapping[str, str | None]
    ) -> Topic:
        """Add a topic that `check_new` found no fault with."""
        kept = {key: value for key, value in configs.items() if value is not None}
        return self._put(Topic(name, topic_id, partitions, kept))

    def _put(self, topic: Topic) -> Topic:
        self.topics[topic.name] = topic
        self.by_id[topic.id] = topic
        return topic

    def delete(self, name: str) -> Topic | None:
        topic = self.topics.pop(name, None)
        if topic is not None:
            del self.by_id[topic.id]
        return topic

    def check_partitions(self, name: str, count: int) -> Refusal | None:
        """Why a topic can't be given `count` partitions."""
        topic = self.topics.get(name)
        if topic is None:
            return Refusal(ErrorCode.unknown_topic_or_partition, f"no topic {name!r}")
        if topic.is_internal:
            return Refusal(ErrorCode.invalid_topic_exception, "an internal topic")
        if not topic.partitions < count <= MAX_PARTITIONS:
            return Refusal(
                ErrorCode.invalid_partitions,
                f"topic {name!r} has {topic.partitions} partitions; a count can only grow, "
                f"to {MAX_PARTITIONS} at most",
            )
        return None

    def grow(self, name: str, count: int) -> Topic:
        return self._put(replace(self.topics[name], partitions=count))

    def check_alter(
        self, name: str, changes: list[ConfigChange], *, all_of_them: bool
    ) -> Refusal | None:
        """Why a topic's configuration can't be changed so."""
        if name not in self.topics:
            return Refusal(ErrorCode.unknown_topic_or_partition, f"no topic {name!r}")
        before: Mapping[str, str] = {} if all_of_them else self.topics[name].configs
        return self._check_configs({**before, **{item.name: item.value for item in changes}})

    def alter(self, name: str, changes: list[ConfigChange], *, all_of_them: bool) -> Topic:
        """Change settings; with `all_of_them` those not named go back to their defaults."""
        topic = self.topics[name]
        configs = {} if all_of_them else dict(topic.configs)
        for change in changes:
            configs.pop(change.name, None)
            if change.value is not None:
                configs[change.name] = change.value
        return self._put(replace(topic, configs=configs))

    def replace_all(self, topics: Mapping[str, Topic]) -> None:
        """Go back to a table from before."""
        self.topics = dict(topics)
        self.by_id = {topic.id: topic for topic in topics.values()}

    def settings(self, topic: Topic) -> LogSettings:
        return log_settings(self.defaults, topic.configs)

    def encode(self) -> bytes:
        """The whole table as JSON text."""
        topics = [
            {
                "name": topic.name,
                "id": str(topic.id),
                "partitions": topic.partitions,
                "configs": dict(topic.configs),
            }
            for topic in self.topics.values()
        ]
        return (json.dumps({"topics": topics}, indent=1) + "\n").encode()

    def restore(self, data: bytes) -> None:
        """Take the table that `encode` wrote."""
        state: dict[str, Any] = json.loads(data)
        for item in state["topics"]:
            self._put(Topic(item["name"], UUID(item["id"]), item["partitions"], item["configs"]))
