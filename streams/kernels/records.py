"""Records of a log written from columns of keys and values (Kafka protocol, "Record", magic 2)."""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, copy_bytes, i64, u64
from streams.kernels.types import Column, Word

_MULTIPLIER = 0x5BD1E995
_SEED = 0x9747B28C
_WORD = 0xFFFFFFFF


@kernel("void(text, i64[::1], i64, i64[::1])", allocates=False)
def partitions_by_key(data: Column, offsets: Column, count: Word, out: Column) -> None:
    """out i64[n]: where Kafka's clients put records with the keys data[offsets[i]:offsets[i + 1]].

    MurmurHash2, 32 bits (Austin Appleby, public domain), without its sign, modulo `count` > 0.
    """
    mask = u64(_WORD)
    factor = u64(_MULTIPLIER)
    for i in range(out.shape[0]):
        at = offsets[i]
        end = offsets[i + 1]
        found = u64(_SEED) ^ u64(end - at)
        while at + 4 <= end:
            word = u64(byte_at(data, at)) | u64(byte_at(data, at + 1) << 8)
            word |= u64(byte_at(data, at + 2) << 16) | u64(byte_at(data, at + 3) << 24)
            word = (word * factor) & mask
            word = ((word ^ (word >> u64(24))) * factor) & mask
            found = ((found * factor) & mask) ^ word
            at += 4
        if at < end:
            for k in range(end - 1, at - 1, -1):
                found ^= u64(byte_at(data, k) << (8 * (k - at)))
            found = (found * factor) & mask
        found = ((found ^ (found >> u64(13))) * factor) & mask
        found ^= found >> u64(15)
        out[i] = i64(found & u64(0x7FFFFFFF)) % count


@kernel("i64(i64)", forceinline=True, allocates=False)
def _size_of(number: Word) -> Word:
    """Bytes of a number of zero or more as a varint in zigzag."""
    size = 1
    rest = number >> 6
    while rest > 0:
        rest >>= 7
        size += 1
    return size


@kernel("i64(u8[::1], i64, i64)", forceinline=True, allocates=False)
def _put_varint(out: Column, at: Word, number: Word) -> Word:
    """Write a number of zero or more, in zigzag; where it ends."""
    rest = number << 1
    while rest >= 0x80:
        out[at] = (rest & 0x7F) | 0x80
        rest >>= 7
        at += 1
    out[at] = rest
    return at + 1


@kernel("i64(u8[::1], i64, text, i64, i64)", forceinline=True, allocates=False)
def _put_bytes(out: Column, at: Word, data: Column, first: Word, size: Word) -> Word:
    at = _put_varint(out, at, size)
    copy_bytes(out, at, data, first, size)
    return at + size


@kernel("i64(i64, i64)", forceinline=True, allocates=False)
def _body(delta: Word, rest: Word) -> Word:
    """Bytes of a record behind its length; `rest`: those of key and value with their lengths."""
    return 3 + _size_of(delta) + rest


@kernel(
    "UniTuple(i64, 2)(i64[::1], i64, text, i64[::1], u8[::1], text, i64[::1], u8[::1])",
    allocates=False,
)
def write_records(
    rows: Column,
    first: Word,
    keys: Column,
    key_offsets: Column,
    keyed: Column,
    values: Column,
    value_offsets: Column,
    out: Column,
) -> Word:
    """Write the records of rows[first:] to out u8[m], as many as it has room for.

    Record i has the key keys[key_offsets[i] : key_offsets[i + 1]] if keyed[i] is not 0, and the
    value likewise; no headers, and the time of its batch. Returns how many were written, and bytes.
    """
    at = 0
    for k in range(first, rows.shape[0]):
        row = rows[k]
        key_size = key_offsets[row + 1] - key_offsets[row] if keyed[row] != 0 else i64(-1)
        value_size = value_offsets[row + 1] - value_offsets[row]
        rest = _size_of(value_size) + value_size
        rest += 1 if key_size < 0 else _size_of(key_size) + key_size
        size = _body(k - first, rest)
        if at + _size_of(size) + size > out.shape[0]:
            return k - first, at
        at = _put_varint(out, at, size)
        out[at] = 0
        out[at + 1] = 0
        at = _put_varint(out, at + 2, k - first)
        if key_size < 0:
            out[at] = 1
            at += 1
        else:
            at = _put_bytes(out, at, keys, key_offsets[row], key_size)
        at = _put_bytes(out, at, values, value_offsets[row], value_size)
        out[at] = 0
        at += 1
    return rows.shape[0] - first, at
