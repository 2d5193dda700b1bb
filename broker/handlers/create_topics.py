"""CreateTopics."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode
from broker.records.batch import Refusal


def handle(broker: Broker, request: Request) -> Fields:
    check_only = bool(field(request.body, "validate_only", False))
    names = [topic.name for topic in request.body.topics]
    return {
        "topics": [
            _refused(topic.name, Refusal(ErrorCode.invalid_request, "named twice in one request"))
            if names.count(topic.name) > 1
            else _create(broker, topic, check_only)
            for topic in request.body.topics
        ]
    }


def _create(broker: Broker, topic: Any, check_only: bool) -> Fields:
    name: str = topic.name
    catalog = broker.catalog
    configs: dict[str, str | None] = {item.name: item.value for item in topic.configs}
    partitions, replicas = topic.num_partitions, topic.replication_factor
    if topic.assignments:
        refusal = _bad_assignment(broker.config.node_id, topic)
        if refusal is not None:
            return _refused(name, refusal)
        partitions, replicas = len(topic.assignments), 1
    if partitions == -1:
        partitions = broker.config.default_partitions
    refusal = catalog.check_new(name, partitions, replicas, configs)
    if refusal is None and not check_only:
        refusal = broker.change_topics(lambda: catalog.create(name, uuid4(), partitions, configs))
    if refusal is not None:
        return _refused(name, refusal)
    created = catalog.topics.get(name)
    return {
        "name": name,
        "topic_id": created.id if created else None,
        "error_code": 0,
        "error_message": None,
        "num_partitions": partitions,
        "replication_factor": 1,
        "configs": [
            {"name": key, "value": value, "read_only": False, "config_source": 1}
            for key, value in configs.items()
        ],
    }


def _bad_assignment(node_id: int, topic: Any) -> Refusal | None:
    """A manual assignment must name each partition from 0 and this node alone."""
    wanted = {item.partition_index: list(item.broker_ids) for item in topic.assignments}
    if wanted != {index: [node_id] for index in range(len(topic.assignments))}:
        return Refusal(
            ErrorCode.invalid_replica_assignment,
            f"partitions must count from 0 and be on node {node_id}",
        )
    return None


def _refused(name: str, refusal: Refusal) -> Fields:
    return {
        "name": name,
        "error_code": refusal.error,
        "error_message": refusal.message,
        "configs": None,
    }


def failure(body: Any) -> Fields:
    refusal = Refusal(ErrorCode.unknown_server_error, "the broker failed, see its log")
    return {"topics": [_refused(topic.name, refusal) for topic in body.topics]}


API = Api(key=19, name="CreateTopics", min_version=2, max_version=7, handle=handle, failure=failure)
