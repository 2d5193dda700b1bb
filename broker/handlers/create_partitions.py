"""CreatePartitions: give a topic more partitions."""

from __future__ import annotations

from typing import Any

from broker.handlers.port import Api, Broker, Fields, Request
from broker.protocol.errors import ErrorCode


def handle(broker: Broker, request: Request) -> Fields:
    body = request.body
    return {"results": [_grow(broker, topic, body.validate_only) for topic in body.topics]}


def _grow(broker: Broker, topic: Any, check_only: bool) -> Fields:
    name, count = topic.name, topic.count
    catalog = broker.catalog
    refusal = catalog.check_partitions(name, count)
    if refusal is None and not check_only:
        refusal = broker.change_topics(lambda: catalog.grow(name, count))
    return {
        "name": name,
        "error_code": 0 if refusal is None else refusal.error,
        "error_message": None if refusal is None else refusal.message,
    }


def failure(body: Any) -> Fields:
    error = ErrorCode.unknown_server_error
    return {"results": [{"name": topic.name, "error_code": error} for topic in body.topics]}


API = Api(
    key=37, name="CreatePartitions", min_version=0, max_version=3, handle=handle, failure=failure
)
