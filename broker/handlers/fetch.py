"""Fetch: batches as they lie in the log; waits for more while there are too few (long poll)."""

from __future__ import annotations

from collections.abc import Callable

from broker.handlers.port import Api, Broker, Request, Timer
from broker.log.partition import LEADER_EPOCH, PartitionLog, Slice
from broker.protocol.errors import ErrorCode
from broker.protocol.fetch import (
    READ_COMMITTED,
    FetchPartition,
    FetchRequest,
    FetchResult,
    decode_fetch,
    encode_fetch,
)

MOST_BYTES = 55 << 20
"""Upper bound of one answer, whatever the client asks for (Kafka's fetch.max.bytes)."""
_EMPTY = b""


def handle(broker: Broker, request: Request) -> None:
    fetch = decode_fetch(request.version, request.body)
    if fetch.session_id != 0:
        error = ErrorCode.fetch_session_id_not_found
        return request.answer_raw(encode_fetch(request.version, [], error))
    waiting = _Fetch(broker, request, fetch)
    if not waiting.try_to_answer(fetch.max_wait_ms <= 0):
        waiting.park()
    return None


class _Fetch:
    """One fetch, from its arrival to its answer."""

    __slots__ = ("_broker", "_fetch", "_forget", "_request", "_timer")

    def __init__(self, broker: Broker, request: Request, fetch: FetchRequest) -> None:
        self._broker = broker
        self._request = request
        self._fetch = fetch
        self._forget: Callable[[], None] | None = None
        self._timer: Timer | None = None

    def try_to_answer(self, at_once: bool) -> bool:
        """Answer if there is enough, an error, or no time left."""
        results, size, error = read_all(self._broker, self._fetch)
        if not (at_once or error or size >= self._fetch.min_bytes):
            return False
        self._request.answer_raw(encode_fetch(self._request.version, results))
        return True

    def park(self) -> None:
        """Wait for the logs to grow, or for the client's patience to end."""
        logs: list[PartitionLog] = []
        for part in self._fetch.partitions:
            log = self._broker.log(part.topic, part.partition)
            if log is not None:
                logs.append(log)
        self._forget = self._broker.when_visible(logs, self._grown)
        self._timer = self._broker.call_later(self._fetch.max_wait_ms, self._expired)

    def _grown(self) -> bool:
        if not self.try_to_answer(False):
            return False
        if self._timer is not None:
            self._timer.cancel()
        return True

    def _expired(self) -> None:
        if self._forget is not None:
            self._forget()
        self.try_to_answer(True)


def read_all(broker: Broker, fetch: FetchRequest) -> tuple[list[FetchResult], int, bool]:
    """Results of all partitions, their bytes, and whether one has an error."""
    committed = fetch.isolation == READ_COMMITTED
    left = min(fetch.max_bytes, MOST_BYTES)
    total, error = 0, False
    results: list[FetchResult] = []
    for part in fetch.partitions:
        result = _read(broker, part, left, committed, total == 0)
        size = len(result.records)
        total += size
        left -= size
        error = error or result.error != 0
        results.append(result)
    return results, total, error


def _read(
    broker: Broker, part: FetchPartition, left: int, committed: bool, first: bool
) -> FetchResult:
    topic, partition, leader_epoch, offset, max_bytes = part
    log = broker.log(topic, partition)
    if log is None:
        error = ErrorCode.unknown_topic_or_partition
        return FetchResult(topic, partition, error, -1, -1, -1, None, _EMPTY)
    if leader_epoch > LEADER_EPOCH:
        error = ErrorCode.unknown_leader_epoch
        return FetchResult(topic, partition, error, -1, -1, -1, None, _EMPTY)
    limit = max_bytes if max_bytes < left else left
    if limit <= 0 and not first:
        piece = Slice(0, _EMPTY, [] if committed else None)
    else:
        piece = log.read(offset, limit, committed=committed, at_least_one=first)
    return FetchResult(
        topic,
        partition,
        piece.error,
        log.high_watermark,
        log.last_stable_offset(),
        log.log_start,
        piece.aborted,
        piece.records,
    )


def failure(body: memoryview, version: int) -> bytes:
    """The answer to a request whose handler raised."""
    results = [
        FetchResult(
            part.topic,
            part.partition,
            ErrorCode.unknown_server_error,
            -1,
            -1,
            -1,
            None,
            _EMPTY,
        )
        for part in decode_fetch(version, body).partitions
    ]
    return b"".join(encode_fetch(version, results))


API = Api(
    key=1, name="Fetch", min_version=4, max_version=11, handle=handle, raw=True, raw_failure=failure
)
