"""DeleteRecords: move the start of partitions' logs (KIP-107)."""

from __future__ import annotations

from typing import Any

from broker.controller.topics import INTERNAL_TOPICS
from broker.handlers.port import Api, Broker, Fields, Request
from broker.protocol.errors import ErrorCode
from broker.records.batch import Refusal


def handle(broker: Broker, request: Request) -> Fields:
    return {
        "topics": [
            {
                "name": topic.name,
                "partitions": [_delete(broker, topic.name, part) for part in topic.partitions],
            }
            for topic in request.body.topics
        ]
    }


def _delete(broker: Broker, topic: str, part: Any) -> Fields:
    log = broker.log(topic, part.partition_index)
    if log is None:
        return _answer(part, ErrorCode.unknown_topic_or_partition, -1)
    if topic in INTERNAL_TOPICS:
        return _answer(part, ErrorCode.invalid_topic_exception, -1)
    if log.settings.compacts and not log.settings.deletes:
        return _answer(part, ErrorCode.policy_violation, -1)
    start = log.delete_before(part.offset)
    if isinstance(start, Refusal):
        return _answer(part, start.error, -1)
    return _answer(part, 0, start)


def _answer(part: Any, error: int, low_watermark: int) -> Fields:
    return {
        "partition_index": part.partition_index,
        "low_watermark": low_watermark,
        "error_code": error,
    }


def failure(body: Any) -> Fields:
    error = ErrorCode.unknown_server_error
    return {
        "topics": [
            {
                "name": topic.name,
                "partitions": [_answer(part, error, -1) for part in topic.partitions],
            }
            for topic in body.topics
        ]
    }


API = Api(
    key=21, name="DeleteRecords", min_version=0, max_version=2, handle=handle, failure=failure
)
