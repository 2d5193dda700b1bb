"""Metadata: the node, and topics with their partitions."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from broker.controller.topics import Topic
from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode


def handle(broker: Broker, request: Request) -> Fields:
    body = request.body
    wanted = body.topics
    if wanted is None or (request.version == 0 and not wanted):
        topics = [_topic(broker, topic) for topic in broker.catalog.topics.values()]
    else:
        may_create = bool(field(body, "allow_auto_topic_creation", True))
        topics = [_asked(broker, item, may_create) for item in wanted]
    host = broker.config.advertised_host or broker.config.host
    node = broker.config.node_id
    return {
        "brokers": [{"node_id": node, "host": host, "port": broker.port, "rack": None}],
        "cluster_id": broker.cluster_id,
        "controller_id": node,
        "topics": topics,
    }


def _asked(broker: Broker, item: Any, may_create: bool) -> Fields:
    topic_id: UUID | None = field(item, "topic_id")
    name: str | None = item.name
    if name is None:
        found = broker.catalog.by_id.get(topic_id) if topic_id else None
        if found is None:
            return _missing(None, topic_id, ErrorCode.unknown_topic_id)
        return _topic(broker, found)
    found = broker.catalog.topics.get(name)
    if found is not None:
        return _topic(broker, found)
    catalog, partitions = broker.catalog, broker.config.default_partitions
    refusal = catalog.check_new(name, partitions, -1, {})
    if refusal is not None:
        return _missing(name, None, refusal.error)
    if not (may_create and broker.config.auto_create_topics):
        return _missing(name, None, ErrorCode.unknown_topic_or_partition)
    refusal = broker.change_topics(lambda: catalog.create(name, uuid4(), partitions, {}))
    if refusal is not None:
        return _missing(name, None, refusal.error)
    return _topic(broker, catalog.topics[name])


def _missing(name: str | None, topic_id: UUID | None, error: int) -> Fields:
    return {"error_code": error, "name": name, "topic_id": topic_id, "partitions": []}


def _topic(broker: Broker, topic: Topic) -> Fields:
    node = broker.config.node_id
    partitions = [
        {
            "error_code": 0,
            "partition_index": index,
            "leader_id": node,
            "leader_epoch": 0,
            "replica_nodes": [node],
            "isr_nodes": [node],
            "offline_replicas": [],
        }
        for index in range(topic.partitions)
    ]
    return {
        "error_code": 0,
        "name": topic.name,
        "topic_id": topic.id,
        "is_internal": topic.is_internal,
        "partitions": partitions,
    }


def failure(body: Any) -> Fields:
    names = [item.name for item in body.topics or ()]
    return {"topics": [_missing(name, None, ErrorCode.unknown_server_error) for name in names]}


API = Api(key=3, name="Metadata", min_version=0, max_version=12, handle=handle, failure=failure)
