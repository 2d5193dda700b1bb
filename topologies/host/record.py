"""Records real host metrics as OTLP requests into a file, and reads such a file back (S).

File: a zstd stream of (varint length, `ExportMetricsServiceRequest` protobuf) pairs, the framing of
protobuf's delimited messages. `python -m topologies.host.record --help`.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import cramjam
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from topologies.host.sensors import Sensors
from topologies.host.source import host_resource, start_provider

_ZSTD_LEVEL = 19


def write_requests(path: Path, requests: Sequence[bytes]) -> None:
    """Write serialized requests as one compressed, length-delimited file."""
    framed = b"".join(_varint(len(request)) + request for request in requests)
    path.write_bytes(bytes(cast(Any, cramjam).zstd.compress(framed, level=_ZSTD_LEVEL)))


def read_requests(path: Path) -> Iterator[bytes]:
    """The serialized requests of a recording, in the order they were taken.

    Raises ValueError when the file ends within a request.
    """
    framed = bytes(cast(Any, cramjam).zstd.decompress(path.read_bytes()))
    at = 0
    while at < len(framed):
        length, at = _read_varint(framed, at)
        if at + length > len(framed):
            raise ValueError(f"{path} ends within a request: record it again")
        yield framed[at : at + length]
        at += length


def record(
    *, seconds: float, interval: float, resource: Resource, stop: threading.Event
) -> list[bytes]:
    """Serialized requests of this machine's metrics, one each `interval` seconds for `seconds`."""
    reader = InMemoryMetricReader()
    provider = start_provider(reader, Sensors().read, resource)
    requests: list[bytes] = []
    for _ in range(max(1, round(seconds / interval))):
        data = reader.get_metrics_data()
        if data is not None:
            requests.append(encode_metrics(data).SerializeToString())
        if stop.wait(interval):
            break
    provider.shutdown()
    return requests


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError("the recording is damaged: a length has no end")


def main(argv: Sequence[str] | None = None) -> int:
    """Record into a file; the host is called by --name, so that a recording names no machine."""
    parser = argparse.ArgumentParser(prog="python -m topologies.host.record", description=__doc__)
    parser.add_argument("file", type=Path, help="where to write, e.g. host_10m.otlp.zst")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--name", default="recorded-host", help="host.name and host.id written")
    options = parser.parse_args(argv)
    resource = host_resource().merge(Resource({"host.name": options.name, "host.id": options.name}))
    requests = record(
        seconds=options.seconds,
        interval=options.interval,
        resource=resource,
        stop=threading.Event(),
    )
    write_requests(options.file, requests)
    size = options.file.stat().st_size
    print(f"{options.file}: {len(requests)} requests, {size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
