"""Lengths and counts of the hand codecs, none of which is believed.

What a negative length would step back over is read again, for as many times as a count says.
"""

from __future__ import annotations

import struct

from broker.protocol.errors import MalformedRequestError

_I16 = struct.Struct(">h")
_I32 = struct.Struct(">i")


def read_name(body: memoryview, at: int) -> tuple[str, int]:
    """A string that may not be null, and where it ends. Raises MalformedRequestError,
    struct.error, UnicodeDecodeError."""
    (length,) = _I16.unpack_from(body, at)
    end = at + 2 + length
    if length < 0 or end > len(body):
        raise MalformedRequestError(f"a name of {length} bytes")
    return str(body[at + 2 : end], "utf-8"), end


def read_count(body: memoryview, at: int) -> tuple[int, int]:
    """How many elements an array has that may not be null, and where they begin. Raises
    MalformedRequestError, struct.error."""
    (count,) = _I32.unpack_from(body, at)
    if count < 0:
        raise MalformedRequestError(f"an array of {count}")
    return count, at + 4
