"""OTLP metric requests from files, in every form that agents write them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import cramjam
import msgspec

from topologies.edge.otlp_json import JsonError, request_to_protobuf

FileForm = Literal["auto", "json", "request", "sized", "delimited"]
"""JSON lines; one request; each after its size (4 bytes, big-endian); each after a varint."""

_ZSTD = b"\x28\xb5\x2f\xfd"
_SIZE = struct.Struct(">I")
Frame = tuple[int, int]
"""Where a request lies in the content: [start, end)."""


class Unreadable(ValueError):
    """The file is in none of the forms, or not in the form that was named."""


def read_requests(path: Path, form: FileForm = "auto") -> Iterator[tuple[str, bytes | str]]:
    """Where each request of a file is (`file:line` or `file@byte`), and its bytes.

    A JSON line that is no OTLP comes as a str that says why. Compressed content (zstd) is told by
    its first bytes, of the whole file or of one request. The file is read into memory.

    Raises:
        Unreadable: As a whole it cannot be cut into requests.
        OSError: It cannot be read.
    """
    content = _plain(path.read_bytes())
    if form == "auto":
        form = _form(path, content)
    if form == "json":
        yield from _json(path, content)
        return
    frames = _frames(content, form)
    if frames is None:
        raise Unreadable(f"{path} is not in the form `{form}`: it ends within a request")
    for start, end in frames:
        yield f"{path}@{start}", _plain(content[start:end])


def _plain(content: bytes) -> bytes:
    if not content.startswith(_ZSTD):
        return content
    return bytes(cast("Any", cramjam).zstd.decompress(content))


def _form(path: Path, content: bytes) -> FileForm:
    if content.lstrip()[:1] == b"{":
        return "json"
    if content[:1] == b"\0" and _frames(content, "sized"):
        return "sized"
    delimited = _frames(content, "delimited")
    if delimited and all(
        content[start : start + 1] in (b"", b"\n", b"(") for start, _ in delimited
    ):
        return "delimited"
    if content[:1] in (b"", b"\n"):  # the tag of resource_metrics
        return "request"
    raise Unreadable(
        f"{path} is no OTLP that is known here: neither JSON lines, nor one request, nor requests "
        "each after its size; say which with --format"
    )


def _frames(content: bytes, form: FileForm) -> list[Frame] | None:
    """The requests; None if the content ends within one."""
    if form == "request":
        return [(0, len(content))]
    frames: list[Frame] = []
    at = 0
    while at < len(content):
        head = _sized(content, at) if form == "sized" else _varint(content, at)
        if head is None or head[0] + head[1] > len(content):
            return None
        at = head[0] + head[1]
        frames.append((head[0], at))
    return frames


def _sized(content: bytes, at: int) -> tuple[int, int] | None:
    """Where a request begins, and its size."""
    if at + _SIZE.size > len(content):
        return None
    return at + _SIZE.size, _SIZE.unpack_from(content, at)[0]


def _varint(content: bytes, at: int) -> tuple[int, int] | None:
    number = 0
    for shift in range(0, 35, 7):
        if at >= len(content):
            return None
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, number
    return None


def _json(path: Path, content: bytes) -> Iterator[tuple[str, bytes | str]]:
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    if len(lines) > 1 and not _whole(lines[0][1]):
        lines = [(1, content)]  # one document, laid out over many lines
    for number, line in lines:
        try:
            yield f"{path}:{number}", request_to_protobuf(line)
        except JsonError as error:
            yield f"{path}:{number}", str(error)


def _whole(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True
