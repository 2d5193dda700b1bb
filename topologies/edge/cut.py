"""Cuts a request by resource into the records of the raw topic (C)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.edge.oversize import points_in, split_oversize
from topologies.edge.records import Record
from topologies.encodings.otlp import all_points_have_time, times_of
from topologies.epochs import ONE_EPOCH, Epochs
from topologies.identity.split import MalformedError, canonical_resource_key, split_by_resource


class UnparsableError(ValueError):
    """The body is no request; the message says why."""


@dataclass(frozen=True, slots=True)
class RefusedPiece:
    """A piece that can never be stored. `code` is kebab-case, `reason` a sentence."""

    value: bytes
    points: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cutting:
    """What a request becomes: records, and what is refused for good."""

    records: tuple[Record, ...]
    refused: tuple[RefusedPiece, ...]


def cut(
    request: bytes,
    *,
    tenant: str,
    topic: str,
    partitions: int,
    received_ns: int,
    limit: int,
    epochs: Epochs = ONE_EPOCH,
) -> Cutting:
    """The records of an OTLP request, one a resource and epoch, of at most `limit` bytes each.

    The whole request is parsed first, so that nothing of a damaged one is stored. `topic` and its
    `partitions` are the first epoch. Raises UnparsableError.
    """
    try:
        ExportMetricsServiceRequest.FromString(request)
        wholes = split_by_resource(request)
    except (DecodeError, MalformedError) as error:
        message = f"the body is not an ExportMetricsServiceRequest in protobuf's encoding: {error}"
        raise UnparsableError(message) from error
    records: list[Record] = []
    refused: list[RefusedPiece] = []
    for resource, whole in wholes:
        for value in (whole,) if len(whole) <= limit else split_oversize(whole, limit):
            if len(value) <= limit:
                found = _record(value, resource, tenant, topic, partitions, received_ns, epochs)
                records.extend(found)
            else:
                reason = (
                    f"a data point and its resource are {len(value)} bytes; {limit} is the most"
                )
                refused.append(RefusedPiece(value, points_in(value), "point-too-large", reason))
    return Cutting(tuple(records), tuple(refused))


def warm_up() -> None:
    """Load (or, once, compile) the kernel that `cut` uses: the first request should not wait."""
    all_points_have_time(b"")


def partition_of(key: bytes, partitions: int) -> int:
    """Where a routing key goes: its first 8 bytes, big endian, modulo the partition count."""
    return int.from_bytes(key[:8], "big") % partitions


def digest(tenant: str, value: bytes) -> bytes:
    """What tells a repeat: 16 bytes of BLAKE2b over tenant, NUL, value."""
    return hashlib.blake2b(tenant.encode() + b"\0" + value, digest_size=16).digest()


def _record(
    value: bytes,
    resource: bytes,
    tenant: str,
    topic: str,
    partitions: int,
    received_ns: int,
    epochs: Epochs,
) -> Iterator[Record]:
    """The piece as it goes to every epoch that counts some of it, or knows it as a base line."""
    headers = [
        ("encoding", b"otlp"),
        ("tenant", tenant.encode()),
        ("received", str(received_ns).encode()),
    ]
    # Points without a time stand for the moment they came: two such requests may well be equal.
    try:
        timed, oldest, newest = times_of(value, received_ns)
    except ValueError as error:  # the workers read with this scanner: they would refuse it too
        raise UnparsableError(str(error)) from error
    if timed:
        headers.append(("digest", digest(tenant, value)))
    for epoch in epochs.of(topic, partitions, oldest, newest):
        key = canonical_resource_key(tenant, resource, epoch.key)
        where = partition_of(key, epoch.partitions)
        yield Record(epoch.topic, where, key, value, tuple(headers))
