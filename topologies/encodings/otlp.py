"""OTLP metrics: protobuf requests to columns of points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.buffers import address_of
from streams.event_time.windows import EARLIEST, LATEST
from topologies.encodings.fingerprint import Words, key_words, seed_words
from topologies.encodings.otlp_kernels import scan_requests
from topologies.encodings.otlp_points import METRICS_FULL, span_of_points
from topologies.encodings.points import AGAIN, METRIC_COLUMNS, Malformed, Points
from topologies.encodings.recurring import Recurring
from topologies.encodings.schema import validation_stack
from topologies.encodings.wire import REASONS

PADDING = 32
LARGEST_BATCH = (1 << 31) - 1 - PADDING
_NOTHING = Recurring(least=LARGEST_BATCH + 1).arrays()
_CODES = {
    1: "truncated",
    2: "bad-tag",
    3: "bad-varint",
    4: "group",
    5: "bad-length",
    6: "bad-utf8",
    7: "too-deep",
    8: "bad-packed",
}


def malformed(message: int, code: int) -> Malformed:
    """The report on a message that is refused with a code of the wire format."""
    return Malformed(message, _CODES[code], f"not an OTLP metrics request: {REASONS[code]}")


class Scanner:
    """Turns micro-batches of ``ExportMetricsServiceRequest`` messages into :class:`Points`.

    ``key``: the secret, 16 bytes or more, that fingerprints are made with; another key only means
    that series tables look every series up once again. Memory is reused from call to call and
    grows to the largest micro-batch; not for use by two threads at once.
    """

    def __init__(self, key: bytes, *, points: int = 1 << 14, size: int = 1 << 20) -> None:
        self._key = key
        self._words = key_words(key)
        self._seeds: dict[str, Words] = {}
        self._stack = validation_stack()
        self._buffer = np.zeros(size + PADDING, np.uint8)
        self._allocate(points)
        self._metrics = np.zeros((1024, METRIC_COLUMNS), np.int64)

    def _allocate(self, points: int) -> None:
        self._where = np.zeros((4, points), np.int32)
        self._fingerprint = np.zeros((2, points), np.uint64)
        self._values = np.zeros((3, points), np.int64)
        self._marks = np.zeros((2, points), np.uint8)
        self._slots = np.zeros(points, np.int32)

    def scan(
        self, messages: Sequence[bytes], tenants: Sequence[str], known: Recurring | None = None
    ) -> Points:
        """The points of these messages, one tenant each; malformed messages are reported in it.

        ``known``: the messages that are known by heart, which need not be read.

        Raises ``ValueError`` if the messages are 2 GiB or more together.
        """
        ranges, addresses = self._place(messages)
        seeds = np.empty((len(messages), 2), np.uint64)
        for index, tenant in enumerate(tenants):
            seeds[index] = self._seed(tenant)
        status = np.zeros(len(messages), np.int64)
        counts = np.zeros(2, np.int64)
        again = np.zeros(len(messages), np.uint64)
        by_heart = _NOTHING if known is None else known.arrays()
        message = 0
        while True:
            message = scan_requests(
                self._buffer, ranges, addresses, seeds, self._words, message, status, counts,
                self._metrics, self._where, self._fingerprint, self._values, self._marks,
                self._stack, by_heart, self._slots, again,
            )  # fmt: skip
            if message == len(messages):
                break
            if status[message] == METRICS_FULL:
                more = np.zeros_like(self._metrics)
                self._metrics = np.concatenate([self._metrics, more])
            else:
                self._grow(int(counts[0]))
        bad: tuple[Malformed, ...] = ()
        if status.any():
            bad = tuple(malformed(int(each), int(status[each])) for each in np.flatnonzero(status))
        points = int(counts[0])
        slots = wanted = None
        if known is not None:
            slots = self._slots[:points]
            worth = np.flatnonzero(again)
            wanted = np.empty((len(worth), AGAIN), np.int64)
            wanted[:, 0], wanted[:, 1:3] = worth, ranges[worth]
            wanted[:, 3], wanted[:, 4:] = again[worth].view(np.int64), seeds[worth].view(np.int64)
        return self._points(points, int(counts[1]), tuple(tenants), bad, slots, wanted)

    def _place(self, messages: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the messages are to lie behind one another, and where they are now.

        They are put there as they are read: one that is known by heart need not be. The padding of
        zeros is behind the last.
        """
        ends = np.cumsum([len(message) for message in messages], dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        if total > LARGEST_BATCH:
            raise ValueError(f"a micro-batch of {total} bytes is too large: cut it below 2 GiB")
        if total + PADDING > self._buffer.shape[0]:
            self._buffer = np.zeros(total + total // 4 + PADDING, np.uint8)
        self._buffer[total : total + PADDING] = 0
        ranges = np.zeros((len(messages), 2), np.int64)
        ranges[1:, 0], ranges[:, 1] = ends[:-1], ends
        return ranges, np.array([address_of(message) for message in messages], np.int64)

    def _seed(self, tenant: str) -> Words:
        found = self._seeds.get(tenant)
        if found is None:
            found = self._seeds[tenant] = seed_words(self._key, tenant)
        return found

    def _grow(self, points: int) -> None:
        """Twice the room for points, the rows so far kept."""
        kept = self._where, self._fingerprint, self._values, self._marks, self._slots
        self._allocate(2 * self._where.shape[1])
        grown = self._where, self._fingerprint, self._values, self._marks, self._slots
        for old, new in zip(kept, grown, strict=True):
            new[..., :points] = old[..., :points]

    def _points(
        self,
        points: int,
        metrics: int,
        tenants: tuple[str, ...],
        bad: tuple[Malformed, ...],
        slots: NDArray[np.int32] | None,
        again: NDArray[np.int64] | None,
    ) -> Points:
        return Points(
            messages=len(tenants),
            tenants=tenants,
            buffer=self._buffer,
            fingerprint=self._fingerprint[:, :points],
            time=self._values[0, :points],
            start=self._values[1, :points],
            value=self._values[2, :points],
            kind=self._marks[0, :points],
            flags=self._marks[1, :points],
            message=self._where[0, :points],
            metric=self._where[1, :points],
            begin=self._where[2, :points],
            end=self._where[3, :points],
            metrics=self._metrics[:metrics],
            malformed=bad,
            slot=slots,
            again=again,
        )


def all_points_have_time(request: bytes) -> bool:
    """Whether every data point of the request, of whatever kind, carries a timestamp.

    Raises ``ValueError`` if it is not a request.
    """
    return times_of(request, 0)[0]


def times_of(request: bytes, received: int) -> tuple[bool, int, int]:
    """Whether every data point of the request carries a timestamp; the oldest and the newest.

    Unix ns; points without a time happened at ``received``, and so does a request without points.
    Raises ``ValueError`` if it is not a request. Compiled: about 20 ns a point.
    """
    buffer = np.empty(len(request) + PADDING, np.uint8)
    buffer.data[: len(request)] = request
    span = np.array([LATEST, EARLIEST])
    untimed = span_of_points(buffer, len(request), span)
    if untimed < 0:
        raise ValueError(malformed(0, -untimed).reason)
    oldest, newest = span.tolist()
    if untimed or oldest > newest:
        return untimed == 0, min(oldest, received), max(newest, received)
    return True, oldest, newest
