"""States as bytes: name, version, rows, then the aggregate's own parts.

Layout, little endian: magic `TA`, length of the name u8, the name, version u16, rows u64, number of
parts u8, then each part as its length u64 and its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from streams.aggregates.port import I64
from streams.errors import Fatal

MAGIC = b"TA"


class UnreadableState(Fatal):
    """Bytes that are no state of this aggregate in this version."""


def pack(name: str, version: int, rows: int, *parts: bytes) -> bytes:
    """The parts with a header that says whose they are."""
    title = name.encode()
    header = [MAGIC, struct.pack("<B", len(title)), title]
    header.append(struct.pack("<HQB", version, rows, len(parts)))
    for part in parts:
        header += [struct.pack("<Q", len(part)), part]
    return b"".join(header)


def unpack(name: str, version: int, data: bytes, parts: int) -> tuple[int, list[bytes]]:
    """The number of rows, and the parts.

    Raises:
        UnreadableState: The header names another aggregate, version or number of parts, or the
            bytes are cut short or go on too long.
    """
    try:
        if data[:2] != MAGIC:
            raise _damaged(name, "they do not begin as one")
        at = 3 + data[2]
        found = data[3:at].decode(errors="replace")
        theirs, rows, count = struct.unpack_from("<HQB", data, at)
        if found != name:
            raise UnreadableState(
                f"these bytes are a state of the aggregate {found!r}, not of {name!r}",
                "give them to the aggregate that wrote them",
            )
        if theirs != version:
            raise UnreadableState(
                f"a state of the aggregate {name!r} has version {theirs}; "
                f"only version {version} can be read",
                "run the release that wrote it, or compute the windows from the log again",
            )
        if count != parts:
            raise _damaged(name, f"it has {count} parts, not {parts}")
        at += 11
        cut: list[bytes] = []
        for _ in range(parts):
            (size,) = struct.unpack_from("<Q", data, at)
            cut.append(data[at + 8 : at + 8 + size])
            at += 8 + size
    except (struct.error, IndexError, OverflowError):
        raise _damaged(name, "they are cut short") from None
    if at != len(data):
        raise _damaged(name, f"they should be {at} bytes and are {len(data)}")
    return rows, cut


def sized(name: str, part: bytes, size: int) -> bytes:
    """The part, which must be this long.

    Raises:
        UnreadableState: It is not.
    """
    if len(part) != size:
        raise _damaged(name, f"a part should be {size} bytes and is {len(part)}")
    return part


def array(name: str, part: bytes, shape: tuple[int, ...]) -> I64:
    """The part as an array i64[shape], of its own memory."""
    size = 8
    for length in shape:
        size *= length
    return np.frombuffer(sized(name, part, size), "<i8").astype(np.int64).reshape(shape)


def pack_integers(amounts: Mapping[int, int]) -> bytes:
    """Integers of any size by row, ascending: row u64, length u32, two's complement."""
    parts: list[bytes] = []
    for row in sorted(amounts):
        amount = amounts[row]
        size = amount.bit_length() // 8 + 1
        parts += [struct.pack("<QI", row, size), amount.to_bytes(size, "little", signed=True)]
    return b"".join(parts)


def unpack_integers(name: str, part: bytes, rows: int) -> dict[int, int]:
    """What `pack_integers` was given, of a state with so many rows."""
    amounts: dict[int, int] = {}
    at, last = 0, -1
    while at < len(part):
        if at + 12 > len(part):
            raise _damaged(name, "they are cut short")
        row, size = struct.unpack_from("<QI", part, at)
        at += 12
        if not last < row < rows or size == 0 or at + size > len(part):
            raise _damaged(name, f"an integer of {size} bytes for row {row} of {rows}")
        amounts[row] = int.from_bytes(part[at : at + size], "little", signed=True)
        at, last = at + size, row
    return amounts


def _damaged(name: str, why: str) -> UnreadableState:
    return UnreadableState(
        f"these bytes are no state of the aggregate {name!r}: {why}",
        "restore the state from the changelog",
    )
