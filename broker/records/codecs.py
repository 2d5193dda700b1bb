"""The codecs of record batches, by their numbers in the header: none, gzip, snappy, lz4, zstd."""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable

import cramjam

_XERIAL_HEAD = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK = 32 << 10


LARGEST = 128 << 20
"""Bytes that the records of one batch may have: a hundred times what a topic takes by default."""


class CorruptRecordsError(Exception):
    """The records are not what the batch's header says."""


def decompress(codec: int, data: bytes, limit: int = LARGEST) -> bytes:
    """The records' bytes. Raises CorruptRecordsError, also if there are more than `limit` of them:
    never is more than that held."""
    try:
        return _DECOMPRESS[codec](data, limit)
    except KeyError:
        raise CorruptRecordsError(f"compression codec {codec}") from None
    except (cramjam.DecompressionError, ValueError, zlib.error, struct.error) as problem:
        raise CorruptRecordsError(f"codec {codec}, at most {limit} bytes: {problem}") from problem


def compress(codec: int, data: bytes, like: bytes) -> bytes:
    """`data` as `decompress` reads it. `like`: what was there before; snappy keeps its framing."""
    if codec == 2 and like.startswith(_XERIAL_HEAD):
        return _xerial(data)
    return _COMPRESS[codec](data)


def _plain(data: bytes, limit: int) -> bytes:
    return bytes(data)


def _gzip(data: bytes, limit: int) -> bytes:
    """All members, one after the other."""
    out = b""
    while True:
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        out += member.decompress(data, limit + 1 - len(out))
        if not member.eof or len(out) > limit:
            raise ValueError("it ends too early, or is too large")
        if not (data := member.unused_data):
            return out


def _into(decompress_into: Callable[[bytes, mmap.mmap], int]) -> Callable[[bytes, int], bytes]:
    """With room for the limit, of which only what is written takes memory."""

    def decompress(data: bytes, limit: int) -> bytes:
        with mmap.mmap(-1, limit) as room:
            return room[: decompress_into(data, room)]

    return decompress


def _snappy(data: bytes, limit: int) -> bytes:
    """Raw snappy, or the Java library's framing: a 16-byte head, then sized blocks."""
    if not data.startswith(_XERIAL_HEAD):
        return _raw_snappy(data, limit)
    out = bytearray()
    at = 16
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        if not 0 <= size <= len(data) - at - 4:
            raise ValueError("a block reaches past the records")
        out += _raw_snappy(data[at + 4 : at + 4 + size], limit - len(out))
        at += 4 + size
    return bytes(out)


def _raw_snappy(data: bytes, limit: int) -> bytes:
    size = cramjam.snappy.decompress_raw_len(data)
    if size > limit:
        raise ValueError(f"it says to have {size} bytes")
    return bytes(cramjam.snappy.decompress_raw(data))


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


_DECOMPRESS: dict[int, Callable[[bytes, int], bytes]] = {
    0: _plain,
    1: _gzip,
    2: _snappy,
    3: _into(cramjam.lz4.decompress_into),
    4: _into(cramjam.zstd.decompress_into),
}
_COMPRESS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: lambda data: bytes(cramjam.gzip.compress(data)),
    2: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    3: _to_lz4,
    4: lambda data: bytes(cramjam.zstd.compress(data)),
}
