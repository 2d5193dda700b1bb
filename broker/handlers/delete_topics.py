"""DeleteTopics, by name or (version 6) by id."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from broker.groups.events import TopicsDeleted
from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode


def handle(broker: Broker, request: Request) -> Fields:
    body = request.body
    asked: list[tuple[str | None, UUID | None]] = [
        (name, None) for name in field(body, "topic_names", ())
    ]
    asked += [(item.name, item.topic_id) for item in field(body, "topics", ())]
    return {"responses": [_delete(broker, name, topic_id) for name, topic_id in asked]}


def _delete(broker: Broker, name: str | None, topic_id: UUID | None) -> Fields:
    catalog = broker.catalog
    found = catalog.topics.get(name) if name is not None else None
    if name is None and topic_id is not None:
        found = catalog.by_id.get(topic_id)
    if found is None:
        missing = ErrorCode.unknown_topic_or_partition
        return _answer(name, topic_id, missing if name is not None else ErrorCode.unknown_topic_id)
    if found.is_internal:
        return _answer(found.name, found.id, ErrorCode.invalid_topic_exception)
    topic = found
    refusal = broker.change_topics(lambda: catalog.delete(topic.name))
    if refusal is None:
        broker.tell("groups", TopicsDeleted(frozenset({topic.name})))
    return _answer(topic.name, topic.id, 0 if refusal is None else refusal.error)


def _answer(name: str | None, topic_id: UUID | None, error: int) -> Fields:
    return {"name": name, "topic_id": topic_id, "error_code": error, "error_message": None}


def failure(body: Any) -> Fields:
    error = ErrorCode.unknown_server_error
    names = [_answer(name, None, error) for name in field(body, "topic_names", ())]
    topics = [_answer(item.name, item.topic_id, error) for item in field(body, "topics", ())]
    return {"responses": names + topics}


API = Api(key=20, name="DeleteTopics", min_version=1, max_version=6, handle=handle, failure=failure)
