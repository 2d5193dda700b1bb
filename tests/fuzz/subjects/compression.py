"""Content codings and the codecs of record batches, beside other implementations of them.

Of zstd what both take is compared: `cramjam` reads formats before 0.8, and takes damaged blocks
(three of 10**6) that the release of libzstd in `zstandard` refuses.
"""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import cramjam
import lz4.frame
import zstandard

from broker.records.codecs import CorruptRecordsError, decompress
from tests.fuzz.subject import Outcome, shown
from tests.fuzz.subjects.otlp import requests
from tidemill.embedded_store.compression import unpack
from tidemill.embedded_store.errors import StoreError
from topologies.edge.inflate import CorruptError, TooLargeError, inflate

LIMIT = 1 << 20
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4


def _plain_texts() -> list[bytes]:
    return [b"", b"a", *requests()[:6], random.Random(1).randbytes(300), b"x" * 5000]


def _zstd_unsized(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_content_size=False).compress(data)


def _zstd_reference(data: bytes) -> bytes:
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    found = reader.read(LIMIT + 1)
    if len(found) > LIMIT:
        raise ValueError("too large")
    return found


def _gzip_reference(data: bytes) -> bytes:
    return gzip.decompress(data)


def _lz4_reference(data: bytes) -> bytes:
    found = b""
    while data:
        piece, used = lz4.frame.decompress(data, return_bytes_read=True)
        found, data = found + piece, data[used:]
    return found


def _snappy_reference(data: bytes) -> bytes:
    """Snappy by its format description, a byte at a time; in the framing of Java's library too."""
    if not data.startswith(b"\x82SNAPPY\0"):
        return _raw_snappy(data)
    out, at = b"", 16
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        if size < 0 or at + 4 + size > len(data):
            raise ValueError("a block reaches past the end")
        out += _raw_snappy(data[at + 4 : at + 4 + size])
        at += 4 + size
    return out


def _raw_snappy(data: bytes) -> bytes:
    size = shift = at = 0
    while True:
        size |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            break
    if size > LIMIT or at > 5:
        raise ValueError("too large")
    out = bytearray()
    while at < len(data):
        tag, kind = data[at] >> 2, data[at] & 3
        at += 1
        if kind == 0:
            if tag >= 60:
                width = tag - 59
                tag = int.from_bytes(data[at : at + width], "little")
                at += width
            if at + tag + 1 > len(data):
                raise ValueError("a literal reaches past the end")
            out += data[at : at + tag + 1]
            at += tag + 1
            continue
        if kind == 1:
            length, back = 4 + (tag & 7), (tag >> 3) << 8 | data[at]
            at += 1
        else:
            width = 2 if kind == 2 else 4
            if at + width > len(data):
                raise ValueError("cut short")
            length, back = tag + 1, int.from_bytes(data[at : at + width], "little")
            at += width
        if not 0 < back <= len(out) or len(out) + length > size:
            raise ValueError("a copy from before the beginning")
        for _ in range(length):
            out.append(out[-back])
    if len(out) != size:
        raise ValueError("another size")
    return bytes(out)


def _tried(decode: Callable[[bytes], bytes], data: bytes) -> bytes | None:
    """None: refused, in any way (the references raise what they like)."""
    try:
        return decode(data)
    except Exception:
        return None


class RecordCodecs:
    """`broker.records.codecs.decompress`; the first byte of a message is the codec's number."""

    _references: ClassVar[dict[int, Callable[[bytes], bytes]]] = {
        0: bytes, _GZIP: _gzip_reference, _SNAPPY: _snappy_reference, _LZ4: _lz4_reference,
        _ZSTD: _zstd_reference,
    }  # fmt: skip

    def corpus(self) -> list[bytes]:
        found: list[bytes] = []
        for data in _plain_texts():
            raw = bytes(cramjam.snappy.compress_raw(data))
            block = struct.pack(">ii", 1, 1) + struct.pack(">i", len(raw)) + raw
            found += [
                bytes([_GZIP]) + gzip.compress(data, 1), bytes([_SNAPPY]) + raw,
                bytes([_SNAPPY]) + b"\x82SNAPPY\0" + block,
                bytes([_LZ4]) + lz4.frame.compress(data, content_checksum=True),
                bytes([_LZ4]) + lz4.frame.compress(data),
                bytes([_ZSTD]) + zstandard.compress(data, 1), bytes([_ZSTD]) + _zstd_unsized(data),
            ]  # fmt: skip
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            codec, data = (message[0], message[1:]) if message else (0, b"")
            try:
                ours = decompress(codec, data, LIMIT)
            except CorruptRecordsError:
                continue
            accepted += 1
            theirs = _tried(self._references[codec], data)
            if ours != theirs and (codec != _ZSTD or theirs is not None):
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)


def _inflate_reference(coding: str, data: bytes) -> bytes:
    if coding == "gzip":
        return gzip.decompress(data)
    if coding == "deflate":
        wrapped = len(data) >= 2 and data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
        found = b""
        while True:  # the edge refuses what follows the first stream
            one = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
            found += one.decompress(data)
            if not one.eof:
                raise ValueError("cut short")
            if not (data := one.unused_data):
                return found
    if coding == "lz4":
        return _lz4_reference(data)
    return _zstd_reference(data) if coding == "zstd" else data


_CODINGS = ("identity", "gzip", "deflate", "zstd", "lz4")


def _bodies(codings: Sequence[int]) -> list[bytes]:
    found: list[bytes] = []
    for data in _plain_texts():
        packed: dict[int, list[bytes]] = {
            0: [data], 1: [gzip.compress(data, 1), gzip.compress(data) * 2],
            2: [zlib.compress(data)], 3: [zstandard.compress(data), _zstd_unsized(data) * 2],
            4: [lz4.frame.compress(data), lz4.frame.compress(data) * 3],
        }  # fmt: skip
        found += [bytes([coding]) + each for coding in codings for each in packed[coding]]
    return found


class EdgeBodies:
    """`topologies.edge.inflate`; the first byte says which coding."""

    def corpus(self) -> list[bytes]:
        return _bodies((1, 2, 3))

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            coding, data = _CODINGS[message[0] % 4 if message else 0], message[1:]
            try:
                ours = inflate(data, coding, LIMIT)
            except (CorruptError, TooLargeError):
                continue
            accepted += 1
            theirs = _tried(lambda data, c=coding: _inflate_reference(c, data), data)
            if ours != theirs and (coding != "zstd" or theirs is not None):
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)


class StoreBodies:
    """`tidemill.embedded_store.compression.unpack`; the first byte says which coding."""

    def corpus(self) -> list[bytes]:
        return _bodies((1, 2, 3, 4))

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            coding, data = _CODINGS[message[0] % 5 if message else 0], message[1:]
            try:
                ours = b"".join(unpack(coding, data, LIMIT))
            except StoreError:
                continue
            accepted += 1
            theirs: Any = _tried(lambda data, c=coding: _inflate_reference(c, data), data)
            if ours != theirs and data:
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)
