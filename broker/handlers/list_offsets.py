"""ListOffsets: the first, last, or first-at-a-time offset of partitions (KIP-79, KIP-734)."""

from __future__ import annotations

from typing import Any

from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.log.partition import LEADER_EPOCH
from broker.protocol.errors import ErrorCode

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL = -1, -2, -3, -4
READ_COMMITTED = 1


def handle(broker: Broker, request: Request) -> Fields:
    committed = field(request.body, "isolation_level", 0) == READ_COMMITTED
    return {
        "topics": [
            {
                "name": topic.name,
                "partitions": [
                    _partition(broker, topic.name, part, committed) for part in topic.partitions
                ],
            }
            for topic in request.body.topics
        ]
    }


def _partition(broker: Broker, topic: str, part: Any, committed: bool) -> Fields:
    index: int = part.partition_index
    log = broker.log(topic, index)
    if log is None:
        return _answer(index, ErrorCode.unknown_topic_or_partition, -1, -1)
    if field(part, "current_leader_epoch", -1) > LEADER_EPOCH:
        return _answer(index, ErrorCode.unknown_leader_epoch, -1, -1)
    limit = log.last_stable_offset() if committed else log.high_watermark
    time: int = part.timestamp
    if time == LATEST:
        return _answer(index, 0, -1, limit)
    if time in (EARLIEST, EARLIEST_LOCAL):
        return _answer(index, 0, -1, log.log_start)
    if time == MAX_TIMESTAMP:
        found = log.offset_of_max_time(limit)
    elif time >= 0:
        found = log.offset_for_time(time, limit)
    else:
        return _answer(index, ErrorCode.unsupported_version, -1, -1)
    if found is None:
        return _answer(index, 0, -1, -1)
    return _answer(index, 0, found.timestamp, found.offset)


def _answer(index: int, error: int, timestamp: int, offset: int) -> Fields:
    return {
        "partition_index": index,
        "error_code": error,
        "timestamp": timestamp,
        "offset": offset,
        "leader_epoch": LEADER_EPOCH if offset >= 0 else -1,
    }


def failure(body: Any) -> Fields:
    return {
        "topics": [
            {
                "name": topic.name,
                "partitions": [
                    _answer(part.partition_index, ErrorCode.unknown_server_error, -1, -1)
                    for part in topic.partitions
                ],
            }
            for topic in body.topics
        ]
    }


API = Api(key=2, name="ListOffsets", min_version=1, max_version=8, handle=handle, failure=failure)
