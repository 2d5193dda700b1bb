"""Produce: check each batch, append it, answer when it is as durable as the configuration says."""

from __future__ import annotations

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
from broker.records.batch import TRANSACTIONAL, Refusal, check_client_batch
from broker.records.keys import without_key

OLDEST_WITH_MAGIC_2 = 3


def handle(broker: Broker, request: Request) -> None:
    version = request.version
    produce = decode_produce(request.body, version)
    acks = produce.acks
    refusal = None
    if version < OLDEST_WITH_MAGIC_2:
        refusal = Refusal(ErrorCode.unsupported_version, "Produce before version 3")
    elif not -1 <= acks <= 1:
        refusal = Refusal(ErrorCode.invalid_required_acks, f"acks={acks}: -1, 0 or 1")
    if refusal is not None:
        return _answer(request, acks, [_refused(data, refusal) for data in produce.partitions])
    logs: list[PartitionLog] = []
    results = [_append(broker, data, logs) for data in produce.partitions]
    if acks == 0:
        broker.when_durable(logs, _nothing)
        return request.answer_nothing()
    broker.when_durable(logs, lambda: _answer(request, acks, _settled(broker, logs, results)))
    return None


def _append(broker: Broker, data: PartitionData, logs: list[PartitionLog]) -> PartitionResult:
    """Append one partition's batch; `logs` gets the log that it went to."""
    topic, partition, records = data
    log = broker.log(topic, partition)
    if log is None:
        missing = f"no partition {partition} of a topic {topic!r}"
        return _refused(data, Refusal(ErrorCode.unknown_topic_or_partition, missing))
    if topic in INTERNAL_TOPICS:
        return _refused(data, Refusal(ErrorCode.invalid_topic_exception, "an internal topic"))
    if records is None:
        return _refused(data, Refusal(ErrorCode.invalid_record, "no batch"))
    header = check_client_batch(records, log.settings.max_message_bytes)
    if isinstance(header, Refusal):
        return _refused(data, header)
    if header.attributes & TRANSACTIONAL:
        error = broker.admissions.refusal(
            header.producer_id, header.producer_epoch, topic, partition
        )
        if error:
            missing = f"no open transaction of this producer holds {topic}-{partition}"
            return _refused(data, Refusal(error, missing))
    if log.settings.compacts:
        bad = without_key(records, header)
        if bad is not None:
            return _refused(data, Refusal(bad.error, bad.message), bad.indexes)
    outcome = log.append(records, header, broker.now_ms())
    if isinstance(outcome, Refusal):
        return _refused(data, outcome)
    logs.append(log)
    return PartitionResult(
        topic, partition, 0, outcome.base_offset, outcome.append_time, log.log_start
    )


def _settled(
    broker: Broker, logs: list[PartitionLog], results: list[PartitionResult]
) -> list[PartitionResult]:
    """The results once the syncs are over: what could not be synced is not acknowledged."""
    for log in logs:
        if log.failed is not None:
            break
    else:
        return results
    return [
        _refused(
            PartitionData(result.topic, result.partition, None),
            Refusal(ErrorCode.kafka_storage_error, why),
        )
        if result.error == 0 and (why := _lost(broker, result))
        else result
        for result in results
    ]


def _lost(broker: Broker, result: PartitionResult) -> str | None:
    log = broker.log(result.topic, result.partition)
    return "the topic was deleted" if log is None else log.failed


def _refused(
    data: PartitionData, refusal: Refusal, bad_records: tuple[int, ...] = ()
) -> PartitionResult:
    error, message = refusal
    return PartitionResult(data.topic, data.partition, error, -1, -1, -1, message, bad_records)


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
