"""Decompresses a body, never to more than a bound (C)."""

from __future__ import annotations

import zlib
from typing import Any, cast

import cramjam
import numpy as np

_zstd = cast(Any, cramjam).zstd
_GZIP = 16 + zlib.MAX_WBITS


class TooLargeError(Exception):
    """The body decompresses to more than the bound."""


class CorruptError(Exception):
    """The body is not what its Content-Encoding says; the message says how."""


def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """The body as it was before compression, at most `limit` bytes.

    Raises TooLargeError beyond the bound (nothing larger is ever held) and CorruptError.
    """
    if coding == "identity":
        if len(body) > limit:
            raise TooLargeError
        return body
    if coding == "gzip":
        return _members(body, limit)
    if coding == "deflate":
        # "deflate" is the zlib format by RFC 9110; some senders leave its header out.
        wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
        data, rest = _stream(body, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS, limit)
        if rest:
            raise CorruptError("bytes follow the end of the deflate stream")
        return data
    return _zstd_frames(body, limit)


def _members(body: bytes, limit: int) -> bytes:
    """All members of a gzip file, one after the other (RFC 1952, 2.2)."""
    out = b""
    while True:
        data, body = _stream(body, _GZIP, limit - len(out))
        out = out + data if out else data
        if not body:
            return out


def _stream(body: bytes, window_bits: int, limit: int) -> tuple[bytes, bytes]:
    decompressor = zlib.decompressobj(window_bits)
    try:
        data = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise CorruptError(f"it can't be decompressed ({error})") from error
    if len(data) > limit:
        raise TooLargeError
    if not decompressor.eof:
        raise CorruptError("the compressed body ends too early")
    return data, decompressor.unused_data


def _zstd_frames(body: bytes, limit: int) -> bytes:
    # The buffer is reserved address space; only what is written to it takes memory.
    buffer = np.empty(limit + 1, dtype=np.uint8)
    try:
        length = int(_zstd.decompress_into(body, buffer))
    except Exception as error:
        if _declared_or_written_beyond(str(error)):
            raise TooLargeError from error
        raise CorruptError(f"it can't be decompressed ({error})") from error
    if length > limit:
        raise TooLargeError
    return buffer[:length].tobytes()


def _declared_or_written_beyond(message: str) -> bool:
    return "whole buffer" in message or "too small" in message
