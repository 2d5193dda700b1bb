"""Files of OTLP requests: a zstd stream of (varint length, protobuf) pairs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard


def read_framed(path: Path) -> Iterator[bytes]:
    """Every request of the file; ValueError when it ends within one."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        content = io.BytesIO(stream.read())
    while (length := _varint(content)) is not None:
        body = content.read(length)
        if len(body) != length:
            raise ValueError(f"{path} ends within a request")
        yield body


def write_framed(path: Path, bodies: Iterable[bytes]) -> None:
    """Write the requests to a new file."""
    content = b"".join(_encoded(len(body)) + body for body in bodies)
    path.write_bytes(zstandard.ZstdCompressor(level=9).compress(content))


def _varint(content: io.BytesIO) -> int | None:
    number = shift = 0
    while byte := content.read(1):
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return number
        shift += 7
    return None


def _encoded(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
