"""OffsetForLeaderEpoch: where an epoch ends. One node has one epoch (KIP-320)."""

from __future__ import annotations

from typing import Any

from broker.handlers.port import Api, Broker, Fields, Request
from broker.log.partition import LEADER_EPOCH
from broker.protocol.errors import ErrorCode


def handle(broker: Broker, request: Request) -> Fields:
    return {
        "topics": [
            {
                "topic": topic.topic,
                "partitions": [_end(broker, topic.topic, part) for part in topic.partitions],
            }
            for topic in request.body.topics
        ]
    }


def _end(broker: Broker, topic: str, part: Any) -> Fields:
    log = broker.log(topic, part.partition)
    if log is None:
        return _answer(part, ErrorCode.unknown_topic_or_partition, -1, -1)
    if part.leader_epoch != LEADER_EPOCH:
        return _answer(part, 0, -1, -1)
    return _answer(part, 0, LEADER_EPOCH, log.high_watermark)


def _answer(part: Any, error: int, epoch: int, offset: int) -> Fields:
    return {
        "error_code": error,
        "partition": part.partition,
        "leader_epoch": epoch,
        "end_offset": offset,
    }


def failure(body: Any) -> Fields:
    error = ErrorCode.unknown_server_error
    return {
        "topics": [
            {
                "topic": topic.topic,
                "partitions": [_answer(part, error, -1, -1) for part in topic.partitions],
            }
            for topic in body.topics
        ]
    }


API = Api(
    key=23,
    name="OffsetForLeaderEpoch",
    min_version=2,
    max_version=4,
    handle=handle,
    failure=failure,
)
