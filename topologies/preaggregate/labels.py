"""Labels of groups, compiled: the bytes and the hash of `topologies.identity.stream.group_labels`.

A stream's attributes are read from its canonical bytes. A *recipe* (`recipes.py`) says which of
them matter to the definitions that read a metric, and what the scope and the resource say of each.
"""

from __future__ import annotations

from typing import Any

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, copy_bytes, i64, load_u64, u64
from topologies.identity import canonical
from topologies.identity.blake2b import STATE, begin_hash, finish_hash
from topologies.identity.interning import ARRAYS, Arrays, intern

Array = Any

# Where a name's text lies: in the stream's bytes, the recipes' texts, the scratch; or nowhere.
CONTENT, TEXTS, SCRATCH, NOWHERE = range(4)
LONGEST_NUMBER = 20
"""Bytes of the longest i64 in decimal."""
ESCAPED = 6
"""Bytes that one byte of a text can become in JSON."""
PLAIN, UNUSUAL = 0, -1


@kernel("i64(u8[::1], i64)", forceinline=True, allocates=False)
def _u32(data: Array, at: int) -> int:
    return (
        byte_at(data, at)
        | byte_at(data, at + 1) << 8
        | byte_at(data, at + 2) << 16
        | byte_at(data, at + 3) << 24
    )


@kernel("bool_(u8[::1], i64, i64, u8[::1], i64, i64)", allocates=False)
def equal(left: Array, a: int, a_end: int, right: Array, b: int, b_end: int) -> bool:
    """Whether two spans hold the same bytes."""
    same = a_end - a == b_end - b
    i = 0
    while same and i < a_end - a:
        same = byte_at(left, a + i) == byte_at(right, b + i)
        i += 1
    return same


@kernel("i64(u8[::1], i64, i64)", allocates=False)
def put_number(out: Array, at: int, number: int) -> int:
    """Write an i64 in decimal; returns the position after it."""
    rest = u64(number)
    if number < 0:
        out[at] = 0x2D
        at += 1
        rest = u64(0) - rest
    end, left = at + 1, rest
    while left >= u64(10):
        left = left // u64(10)
        end += 1
    for i in range(end - at):
        out[end - 1 - i] = 0x30 + i64(rest % u64(10))
        rest = rest // u64(10)
    return end


@kernel("i64(u8[::1], i64, u8[::1], i64, i64)", allocates=False)
def put_quoted(out: Array, at: int, data: Array, begin: int, end: int) -> int:
    """Write ``data[begin:end]``, UTF-8, as a JSON string; returns the position after it.

    Escaped as by `json.encoder.encode_basestring`. ``out`` has room for ESCAPED bytes a byte and 2.
    """
    out[at] = 0x22
    at += 1
    for i in range(begin, end):
        byte = byte_at(data, i)
        if byte >= 0x20 and byte not in (0x22, 0x5C):
            out[at] = byte
            at += 1
            continue
        out[at] = 0x5C
        short = 0
        if byte in (0x22, 0x5C):
            short = byte
        elif byte == 0x08:
            short = 0x62
        elif byte == 0x09:
            short = 0x74
        elif byte == 0x0A:
            short = 0x6E
        elif byte == 0x0C:
            short = 0x66
        elif byte == 0x0D:
            short = 0x72
        if short != 0:
            out[at + 1] = short
            at += 2
            continue
        low = byte & 15
        out[at + 1], out[at + 2], out[at + 3] = 0x75, 0x30, 0x30
        out[at + 4] = 0x30 + (byte >> 4)
        out[at + 5] = (0x30 if low < 10 else 0x57) + low
        at += 6
    out[at] = 0x22
    return at + 1


@kernel(
    "i64(u8[::1], i64, u8[::1], i64[::1], i64, i64[:, ::1], i64[:, ::1], u8[::1])",
    allocates=False,
)
def find_texts(
    content: Array,
    begin: int,
    texts: Array,
    code: Array,
    names: int,
    fixed: Array,
    found: Array,
    scratch: Array,
) -> int:
    """Where the text of each wanted name is, into ``found`` i64[names, 3] (place, begin, end).

    ``content`` from ``begin`` on: a canonical map, and perhaps more. ``code`` at ``names``: how
    many names, and where the key of each is in ``texts`` (-1: not looked for in the map; an end
    below zero: something is made of it, by the Python form).
    ``fixed``: what is found if the map does not have it. Numbers are written to the scratch.

    Returns how much of the scratch is used, or UNUSUAL: a value that only the Python form writes.
    """
    wanted = code[names]
    for name in range(wanted):
        found[name, 0] = TEXTS if fixed[name, 0] >= 0 else NOWHERE
        found[name, 1] = fixed[name, 0]
        found[name, 2] = fixed[name, 1]
    used = 0
    at = begin + 4
    for _ in range(_u32(content, begin)):
        key, at = at + 4, at + 4 + _u32(content, at)
        key_end = at
        kind = byte_at(content, at)
        first = at + 1
        if kind in (canonical.STRING, canonical.BYTES):
            first = at + 5
            at = first + _u32(content, at + 1)
        elif kind == canonical.BOOL:
            at = first + 1
        elif kind in (canonical.INT, canonical.DOUBLE, canonical.STRING_INDEX):
            at = first + 8
        elif kind == canonical.ABSENT:
            at = first
        else:
            return UNUSUAL
        for name in range(wanted):
            spelled, spelled_end = code[names + 1 + 2 * name], code[names + 2 + 2 * name]
            watched = spelled_end < 0
            if watched:
                spelled_end = -spelled_end
            if spelled < 0 or not equal(content, key, key_end, texts, spelled, spelled_end):
                continue
            if watched:
                return UNUSUAL
            if kind == canonical.STRING:
                found[name, 0] = CONTENT
                found[name, 1] = first
                found[name, 2] = at
                continue
            found[name, 0] = SCRATCH
            found[name, 1] = used
            if kind in (canonical.INT, canonical.STRING_INDEX):
                used = put_number(scratch, used, i64(load_u64(content, first)))
            elif kind == canonical.ABSENT:
                used = _put_word(scratch, used, 0x6C6C756E, 4)  # null
            elif kind == canonical.BOOL and byte_at(content, first) != 0:
                used = _put_word(scratch, used, 0x65757274, 4)  # true
            elif kind == canonical.BOOL:
                used = _put_word(scratch, used, 0x65736C6166, 5)  # false
            else:
                return UNUSUAL
            found[name, 2] = used
    return used


@kernel("i64(u8[::1], i64, i64, i64)", forceinline=True, allocates=False)
def _put_word(out: Array, at: int, word: int, size: int) -> int:
    for i in range(size):
        out[at + i] = word >> (8 * i) & 0xFF
    return at + size


@kernel(
    "bool_(u8[::1], u8[::1], u8[::1], i64[:, ::1], i64, i64, i64)",
    allocates=False,
)
def reads(
    content: Array, texts: Array, scratch: Array, found: Array, name: int, begin: int, end: int
) -> bool:
    """Whether a name's text is ``texts[begin:end]``."""
    place, first, after = found[name, 0], found[name, 1], found[name, 2]
    if place == CONTENT:
        return equal(content, first, after, texts, begin, end)
    if place == TEXTS:
        return equal(texts, first, after, texts, begin, end)
    return place == SCRATCH and equal(scratch, first, after, texts, begin, end)


@kernel(
    "i64(u8[::1], u8[::1], i64[::1], i64, i64[:, ::1], u8[::1], i64)",
    allocates=False,
)
def put_labels(
    content: Array, texts: Array, code: Array, keep: int, found: Array, scratch: Array, at: int
) -> int:
    """Write a group's labels to the scratch from ``at`` on; returns the position after them.

    ``code`` at ``keep``: how many labels, and of each, in order of name, which name it is and where
    ``"name":`` is in ``texts``.
    """
    scratch[at] = 0x7B
    begin = at + 1
    at = begin
    for label in range(code[keep]):
        name = code[keep + 1 + 3 * label]
        place, first, after = found[name, 0], found[name, 1], found[name, 2]
        if place == NOWHERE:
            continue
        if at > begin:
            scratch[at] = 0x2C
            at += 1
        spelled, size = code[keep + 2 + 3 * label], code[keep + 3 + 3 * label]
        copy_bytes(scratch, at, texts, spelled, size - spelled)
        at += size - spelled
        if place == CONTENT:
            at = put_quoted(scratch, at, content, first, after)
        elif place == TEXTS:
            at = put_quoted(scratch, at, texts, first, after)
        else:
            at = put_quoted(scratch, at, scratch, first, after)
    scratch[at] = 0x7D
    return at + 1


@kernel("u64(u64)", forceinline=True, allocates=False)
def _swapped(word: Any) -> Any:
    """The word of the same eight bytes in the other order."""
    result = u64(0)
    for i in range(8):
        result |= (word >> u64(8 * i) & u64(255)) << u64(56 - 8 * i)
    return result


@kernel(f"i64(u8[::1], i64, i64, {ARRAYS}, i64, u64[:, ::1])", allocates=False)
def number_of(
    labels: Array, begin: int, end: int, groups: Arrays, count: int, hashing: Array
) -> int:
    """The number of the group with these labels, ``count`` if it is new; -1: no room.

    ``hashing`` u64[2, 32] is scratch.
    """
    state = hashing[0, :STATE]
    begin_hash(state)
    finish_hash(labels, begin, end, state, hashing[1])
    return intern(groups, count, _swapped(state[0]), _swapped(state[1]), 0, labels, begin, end)
