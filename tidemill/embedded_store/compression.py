"""Content codings of bodies: what came in, unpacked in pieces; what goes out, packed.

A body may be many frames one after the other: `clickhouse-connect` writes an lz4 frame a block.
Reading the first alone loses the rest without a word, so every coding here reads to the end.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import lz4.frame  # pyright: ignore[reportMissingTypeStubs]
import zstandard

from tidemill.embedded_store import errors

PIECE = 1 << 20
_GIVEN = 64 << 10
_GIVEN_TO_ZSTD = 1 << 10
OFFERED = ("lz4", "zstd", "gzip", "deflate")


class Packer(Protocol):
    """Packs an answer piece by piece."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def unpack(coding: str, body: bytes, limit: int) -> Iterator[bytes]:
    """The body's bytes in pieces, however many frames it has.

    Raises:
        StoreError: Unknown coding, damaged or cut short, or more than ``limit`` bytes.
    """
    if coding in ("", "identity"):
        yield body
        return
    if coding not in OFFERED:
        offered = ", ".join(OFFERED)
        raise errors.StoreError(
            errors.UNKNOWN_COMPRESSION_METHOD,
            f"Content-Encoding '{coding}' is not read here; send one of {offered}, or none",
        )
    total = 0
    for piece in _unpack_frames(coding, body):
        total += len(piece)
        if total > limit:
            raise errors.StoreError(
                errors.QUERY_IS_TOO_LARGE,
                f"the body unpacks to more than {limit} bytes; send it in smaller requests",
            )
        yield piece


class _Frame(Protocol):
    """A frame that is unpacked piece by piece, none of which is more than 32 MiB."""

    @property
    def eof(self) -> bool:
        """Whether it has ended."""
        ...

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece, and what of the data is left."""
        ...


class _Zlib:
    """zlib makes a thousand bytes of one."""

    def __init__(self, window: int) -> None:
        self._frame = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._frame.eof

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        piece = self._frame.decompress(data, PIECE)
        return piece, self._frame.unused_data if self.eof else self._frame.unconsumed_tail


class _Lz4:
    """lz4 makes 255 bytes of one: 16 MiB of what it is given at a time."""

    def __init__(self) -> None:
        self._frame: Any = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        return self._frame.decompress(data), self._frame.unused_data or b""


class _Zstd:
    """zstd makes 128 KiB of four bytes, and knows no bound: it is given little at a time."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        piece = self._frame.decompress(data[:_GIVEN_TO_ZSTD])
        return piece, self._frame.unused_data + data[_GIVEN_TO_ZSTD:]


def _frame(coding: str) -> _Frame:
    if coding == "lz4":
        return _Lz4()
    if coding == "zstd":
        return _Zstd()
    return _Zlib(15 if coding == "deflate" else 31)


def _unpack_frames(coding: str, body: bytes) -> Iterator[bytes]:
    frame = _frame(coding)
    begun = False
    for start in range(0, len(body), _GIVEN):
        data = body[start : start + _GIVEN]
        while data:
            try:
                piece, data = frame.take(data)
            except (RuntimeError, zlib.error, zstandard.ZstdError) as error:
                raise errors.StoreError(
                    errors.CANNOT_DECOMPRESS, f"the {coding} body is damaged: {error}"
                ) from error
            if piece:
                yield piece
            begun = not frame.eof
            if frame.eof:
                frame = _frame(coding)
    if begun:
        raise errors.StoreError(errors.CANNOT_DECOMPRESS, f"the {coding} body was cut short")


class _Lz4Packer:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes) -> bytes:
        head = b""
        if not self._begun:
            self._begun = True
            head = bytes(self._frame.begin())  # pyright: ignore
        return head + bytes(self._frame.compress(data))  # pyright: ignore

    def flush(self) -> bytes:
        head = b"" if self._begun else bytes(self._frame.begin())  # pyright: ignore
        return head + bytes(self._frame.flush())  # pyright: ignore


def packer(accepted: str) -> tuple[str, Packer] | None:
    """The first coding of ours that ``Accept-Encoding`` lists, or None to send as it is."""
    listed = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    coding = next((name for name in OFFERED if name in listed), None)
    if coding == "lz4":
        return coding, _Lz4Packer()
    if coding == "zstd":
        return coding, zstandard.ZstdCompressor(level=1).compressobj()
    if coding is None:
        return None
    return coding, zlib.compressobj(1, zlib.DEFLATED, 15 if coding == "deflate" else 31)
