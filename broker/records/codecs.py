"""The codecs of record batches, by their numbers in the header: none, gzip, snappy, lz4, zstd."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cramjam

_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEAD = _XERIAL + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK = 32 << 10


class CorruptRecordsError(Exception):
    """The records are not what the batch's header says."""


def decompress(codec: int, data: bytes) -> bytes:
    """The records' bytes. Raises CorruptRecordsError."""
    try:
        return _DECOMPRESS[codec](data)
    except KeyError:
        raise CorruptRecordsError(f"compression codec {codec}") from None
    except (cramjam.DecompressionError, ValueError, struct.error) as problem:
        raise CorruptRecordsError(f"codec {codec}: {problem}") from problem


def compress(codec: int, data: bytes, like: bytes) -> bytes:
    """`data` as `decompress` reads it. `like`: what was there before; snappy keeps its framing."""
    if codec == 2 and like.startswith(_XERIAL):
        return _xerial(data)
    return _COMPRESS[codec](data)


def _gzip(data: bytes) -> bytes:
    return bytes(cramjam.gzip.decompress(data))


def _lz4(data: bytes) -> bytes:
    return bytes(cramjam.lz4.decompress(data))


def _zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.decompress(data))


def _snappy(data: bytes) -> bytes:
    """Raw snappy, or the Java library's framing: a 16-byte head, then sized blocks."""
    if not data.startswith(_XERIAL):
        return bytes(cramjam.snappy.decompress_raw(data))
    out = bytearray()
    at = 16
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        out += bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return bytes(out)


def _xerial(data: bytes) -> bytes:
    out = bytearray(_XERIAL_HEAD)
    for at in range(0, len(data), _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(data[at : at + _XERIAL_BLOCK]))
        out += struct.pack(">i", len(block)) + block
    return bytes(out)


def _to_lz4(data: bytes) -> bytes:
    """A frame of independent blocks: Java's client reads no others."""
    compressor = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
    compressor.compress(data)
    return bytes(compressor.finish())


_DECOMPRESS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: _gzip,
    2: _snappy,
    3: _lz4,
    4: _zstd,
}
_COMPRESS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: lambda data: bytes(cramjam.gzip.compress(data)),
    2: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    3: _to_lz4,
    4: lambda data: bytes(cramjam.zstd.compress(data)),
}
