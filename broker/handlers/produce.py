"""Produce: check each batch, append it, answer when it is as durable as the configuration says."""

from __future__ import annotations

from typing import NamedTuple

from broker.controller.topics import INTERNAL_TOPICS
from broker.handlers.port import Api, Broker, Request
from broker.log.partition import PartitionLog
from broker.protocol.errors import ErrorCode
from broker.protocol.produce import (
    PartitionData,
    PartitionResult,
    decode_produce,
    encode_produce,
)
from broker.records.batch import Refusal, check_client_batch

OLDEST_WITH_MAGIC_2 = 3


class _Written(NamedTuple):
    result: PartitionResult
    log: PartitionLog


def handle(broker: Broker, request: Request) -> None:
    version = request.version
    produce = decode_produce(request.body, version)
    acks = produce.acks
    if version < OLDEST_WITH_MAGIC_2:
        refusal = Refusal(ErrorCode.unsupported_version, "Produce before version 3")
        return _answer(request, acks, [_refused(data, refusal) for data in produce.partitions])
    if acks not in (-1, 0, 1):
        refusal = Refusal(ErrorCode.invalid_required_acks, f"acks={acks}: -1, 0 or 1")
        return _answer(request, acks, [_refused(data, refusal) for data in produce.partitions])
    outcomes: list[PartitionResult | _Written] = []
    logs: list[PartitionLog] = []
    for data in produce.partitions:
        outcome = _append(broker, data)
        outcomes.append(outcome)
        if isinstance(outcome, _Written):
            logs.append(outcome.log)
    if acks == 0:
        broker.when_durable(logs, _nothing)
        return request.answer_nothing()
    if not logs:
        results = [outcome for outcome in outcomes if isinstance(outcome, PartitionResult)]
        return _answer(request, acks, results)
    broker.when_durable(logs, lambda: _answer(request, acks, _settled(outcomes)))
    return None


def _append(broker: Broker, data: PartitionData) -> PartitionResult | _Written:
    topic, partition, records = data
    log = broker.log(topic, partition)
    if log is None:
        return _refused(
            data, Refusal(ErrorCode.unknown_topic_or_partition, f"no {topic}-{partition}")
        )
    if topic in INTERNAL_TOPICS:
        return _refused(data, Refusal(ErrorCode.invalid_topic_exception, "an internal topic"))
    if records is None:
        return _refused(data, Refusal(ErrorCode.invalid_record, "no batch"))
    header = check_client_batch(records, log.settings.max_message_bytes)
    if isinstance(header, Refusal):
        return _refused(data, header)
    if header.attributes & 0x10:
        error = broker.admissions.refusal(
            header.producer_id, header.producer_epoch, topic, partition
        )
        if error:
            return _refused(
                data,
                Refusal(error, f"no open transaction of this producer holds {topic}-{partition}"),
            )
    outcome = log.append(records, header, broker.now_ms())
    if isinstance(outcome, Refusal):
        return _refused(data, outcome)
    result = PartitionResult(
        topic, partition, 0, outcome.base_offset, outcome.append_time, log.log_start
    )
    return _Written(result, log)


def _settled(outcomes: list[PartitionResult | _Written]) -> list[PartitionResult]:
    """The results once the syncs are over: what could not be synced is not acknowledged."""
    results: list[PartitionResult] = []
    for outcome in outcomes:
        if isinstance(outcome, PartitionResult):
            results.append(outcome)
        elif outcome.log.failed is None:
            results.append(outcome.result)
        else:
            results.append(
                outcome.result._replace(
                    error=ErrorCode.kafka_storage_error,
                    base_offset=-1,
                    message=outcome.log.failed,
                )
            )
    return results


def _refused(data: PartitionData, refusal: Refusal) -> PartitionResult:
    return PartitionResult(data.topic, data.partition, refusal.error, -1, -1, -1, refusal.message)


def _answer(request: Request, acks: int, results: list[PartitionResult]) -> None:
    if acks == 0:
        request.answer_nothing()
    else:
        request.answer_raw([encode_produce(request.version, results)])


def _nothing() -> None:
    """Nobody waits for acks=0, but the sync is due all the same."""


def failure(body: memoryview, version: int) -> bytes:
    """The answer to a request whose handler raised: every partition has an unknown error."""
    refusal = Refusal(ErrorCode.unknown_server_error, "the broker failed, see its log")
    produce = decode_produce(body, version)
    return encode_produce(version, [_refused(data, refusal) for data in produce.partitions])


API = Api(
    key=0,
    name="Produce",
    min_version=0,
    max_version=8,
    handle=handle,
    raw=True,
    raw_failure=failure,
)
