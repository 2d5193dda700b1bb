"""Rows of delimited text (RFC 4180) found in bytes, and fields of a column read and written.

A field is data[starts[f] : ends[f]], without its quotes, and of a kind: PLAIN, QUOTED, or DOUBLED
(quoted, and quotes within stand twice).
"""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.machine import byte_at, copy_bytes, i64, u64
from streams.kernels.types import Column, Word

PLAIN, QUOTED, DOUBLED = 0, 1, 2
GOOD, UNCLOSED, TEXT_BEHIND = 0, 1, 2
"""Of a row: also a quote that is not closed, and text behind one that is."""
VALUE, NOTHING, OTHER = 0, 1, 2
"""Of a field: what was asked for, nothing, or something else."""
RECORD, FIRST, LINE, BEGIN, END, ERROR = range(6)
ROW_WIDTH = 6

_QUOTE, _LF, _CR = 0x22, 0x0A, 0x0D
_LARGEST = 0x7FFFFFFFFFFFFFFF


@kernel("i64(text, i64, i64)", forceinline=True, allocates=False)
def _line_end(data: Column, at: Word, end: Word) -> Word:
    """Bytes of the line end at a place: 0, 1 or 2."""
    if at >= end:
        return 0
    byte = byte_at(data, at)
    if byte == _LF:
        return 1
    if byte != _CR:
        return 0
    return 2 if at + 1 < end and byte_at(data, at + 1) == _LF else 1


@kernel("i64(text, i64, i64, i64)", forceinline=True, allocates=False)
def _plain_end(data: Column, at: Word, end: Word, delimiter: Word) -> Word:
    while at < end:
        byte = byte_at(data, at)
        if byte in (delimiter, _LF, _CR):
            break
        at += 1
    return at


@kernel(
    "UniTuple(i64, 2)(text, i64[::1], i64, i64[::1], i64[::1], u8[::1], i64[:, ::1])",
    allocates=False,
)
def split_rows(
    data: Column,
    bounds: Column,
    delimiter: Word,
    starts: Column,
    ends: Column,
    kinds: Column,
    rows: Column,
) -> Word:
    """All rows of the records data[bounds[k] : bounds[k + 1]]; blank lines are none.

    Writes each row's record, first field, line in its record (from 1), begin, end and error to
    rows i64[m, ROW_WIDTH], and the fields to starts, ends i64[f] and kinds u8[f]: m and f are at
    least the delimiters, LFs, CRs and records together. Returns how many rows and fields there are.
    """
    count = 0
    fields = 0
    for k in range(bounds.shape[0] - 1):
        at = bounds[k]
        end = bounds[k + 1]
        line = 1
        while at < end:
            skipped = _line_end(data, at, end)
            if skipped > 0:
                at += skipped
                line += 1
                continue
            rows[count, RECORD] = k
            rows[count, FIRST] = fields
            rows[count, LINE] = line
            rows[count, BEGIN] = at
            error = GOOD
            while True:
                kind = PLAIN
                start = at
                if at < end and byte_at(data, at) == _QUOTE:
                    kind = QUOTED
                    start = at + 1
                    at += 1
                    error = UNCLOSED if error == GOOD else error
                    while at < end:
                        if byte_at(data, at) == _QUOTE:
                            if at + 1 >= end or byte_at(data, at + 1) != _QUOTE:
                                error = GOOD if error == UNCLOSED else error
                                break
                            kind = DOUBLED
                            at += 2
                        else:
                            skipped = _line_end(data, at, end)
                            line += 1 if skipped > 0 else 0
                            at += max(skipped, 1)
                    ends[fields] = at
                    at = min(at + 1, end)
                    behind = _plain_end(data, at, end, delimiter)
                    if behind > at:
                        error = TEXT_BEHIND if error == GOOD else error
                        at = behind
                else:
                    at = _plain_end(data, at, end, delimiter)
                    ends[fields] = at
                starts[fields] = start
                kinds[fields] = kind
                fields += 1
                if at >= end or byte_at(data, at) != delimiter:
                    break
                at += 1
            rows[count, END] = at
            rows[count, ERROR] = error
            count += 1
            at += _line_end(data, at, end)
            line += 1
    return count, fields


@kernel("void(text, i64[::1], i64[::1], i64[::1], i64[::1], u8[::1])", allocates=False)
def read_integers(
    data: Column, starts: Column, ends: Column, which: Column, out: Column, status: Column
) -> None:
    """Decimals of the fields which i64[n], with a sign or without, as out i64[n]."""
    for i in range(which.shape[0]):
        at = starts[which[i]]
        end = ends[which[i]]
        out[i] = 0
        status[i] = NOTHING if at >= end else OTHER
        if at >= end:
            continue
        negative = byte_at(data, at) == 0x2D
        if negative or byte_at(data, at) == 0x2B:
            at += 1
        if at >= end:
            continue
        limit = u64(_LARGEST) + (u64(1) if negative else u64(0))
        found = u64(0)
        good = True
        for k in range(at, end):
            digit = byte_at(data, k) - 0x30
            if digit < 0 or digit > 9 or found > (limit - u64(digit)) // u64(10):
                good = False
                break
            found = found * u64(10) + u64(digit)
        if good:
            status[i] = VALUE
            out[i] = i64(u64(0) - found) if negative else i64(found)


@kernel("void(text, i64[::1], i64[::1], i64[::1], i64[::1], u8[::1])", allocates=False)
def read_words(
    data: Column, starts: Column, ends: Column, which: Column, out: Column, status: Column
) -> None:
    """`true` and `false`, in any case, or 1 and 0, of the fields which i64[n]: 1 or 0."""
    for i in range(which.shape[0]):
        at = starts[which[i]]
        size = ends[which[i]] - at
        out[i] = 0
        status[i] = NOTHING if size == 0 else OTHER
        first = byte_at(data, at) if size > 0 else 0
        if size == 1 and (first == 0x30 or first == 0x31):
            status[i] = VALUE
            out[i] = first - 0x30
        elif size == 4 or size == 5:
            word = u64(0)
            for k in range(size):
                word = (word << u64(8)) | u64(byte_at(data, at + k) | 0x20)
            if size == 4 and word == u64(0x74727565):
                status[i] = VALUE
                out[i] = 1
            elif size == 5 and word == u64(0x66616C7365):
                status[i] = VALUE


@kernel("i64(text, i64, i64)", forceinline=True, allocates=False)
def _digits_end(data: Column, at: Word, end: Word) -> Word:
    while at < end and 0x30 <= byte_at(data, at) <= 0x39:
        at += 1
    return at


@kernel("void(text, i64[::1], i64[::1], i64[::1], u8[::1])", allocates=False)
def classify_numbers(
    data: Column, starts: Column, ends: Column, which: Column, status: Column
) -> None:
    """Which of the fields i64[n] are numbers as JSON writes them (RFC 8259, 6), but -0.

    As an integer it has no sign.
    """
    for i in range(which.shape[0]):
        at = starts[which[i]]
        end = ends[which[i]]
        status[i] = NOTHING if at >= end else OTHER
        if at >= end:
            continue
        if byte_at(data, at) == 0x2D:
            at += 1
        whole = _digits_end(data, at, end)
        if whole == at or (byte_at(data, at) == 0x30 and whole > at + 1):
            continue
        at = whole
        if at < end and byte_at(data, at) == 0x2E:
            after = _digits_end(data, at + 1, end)
            if after == at + 1:
                continue
            at = after
        if at < end and (byte_at(data, at) | 0x20) == 0x65:
            at += 1
            if at < end and byte_at(data, at) in (0x2B, 0x2D):
                at += 1
            after = _digits_end(data, at, end)
            if after == at:
                continue
            at = after
        minus_zero = at == starts[which[i]] + 2 and byte_at(data, at - 2) == 0x2D
        if at == end and not (minus_zero and byte_at(data, at - 1) == 0x30):
            status[i] = VALUE


@kernel("void(text, i64[::1], i64[::1], u8[::1], i64[::1], i64[::1])", allocates=False)
def measure_fields(
    data: Column, starts: Column, ends: Column, kinds: Column, which: Column, offsets: Column
) -> None:
    """Where the fields which i64[n] end behind one another: offsets i64[n + 1]."""
    offsets[0] = 0
    for i in range(which.shape[0]):
        field = which[i]
        size = ends[field] - starts[field]
        if kinds[field] == DOUBLED:
            k = starts[field]
            while k < ends[field]:
                if byte_at(data, k) == _QUOTE:
                    size -= 1
                    k += 1
                k += 1
        offsets[i + 1] = offsets[i] + size


@kernel("void(text, i64[::1], i64[::1], u8[::1], i64[::1], i64[::1], u8[::1])", allocates=False)
def copy_fields(
    data: Column,
    starts: Column,
    ends: Column,
    kinds: Column,
    which: Column,
    to: Column,
    out: Column,
) -> None:
    """Write the fields which i64[n] to out at to[i], as long as `measure_fields` said."""
    for i in range(which.shape[0]):
        field = which[i]
        at = to[i]
        if kinds[field] != DOUBLED:
            copy_bytes(out, at, data, starts[field], ends[field] - starts[field])
            continue
        k = starts[field]
        while k < ends[field]:
            byte = byte_at(data, k)
            out[at] = byte
            at += 1
            k += 2 if byte == _QUOTE else 1


@kernel("i64(text, i64, i64, i64)", forceinline=True, allocates=False)
def _quotes_needed(data: Column, first: Word, end: Word, delimiter: Word) -> Word:
    """Bytes that quoting adds: 2 and one for each quote; 0 where none is needed."""
    needed = first == end
    more = 2
    for k in range(first, end):
        byte = byte_at(data, k)
        if byte == _QUOTE:
            needed = True
            more += 1
        elif byte in (delimiter, _LF, _CR):
            needed = True
    return more if needed else 0


@kernel("void(text, i64[::1], u8[::1], i64, i64[::1])", allocates=False)
def measure_cells(
    data: Column, offsets: Column, valid: Column, delimiter: Word, ends: Column
) -> None:
    """Where each string's field ends, for `write_cells`; of those without a value it is empty."""
    ends[0] = 0
    for i in range(valid.shape[0]):
        size = 0
        if valid[i] != 0:
            more = _quotes_needed(data, offsets[i], offsets[i + 1], delimiter)
            size = offsets[i + 1] - offsets[i] + more
        ends[i + 1] = ends[i] + size


@kernel("void(text, i64[::1], u8[::1], u8[::1], i64[::1])", allocates=False)
def write_cells(data: Column, offsets: Column, valid: Column, out: Column, ends: Column) -> None:
    """Byte strings as fields, quoted where they must be; `""` is one that holds nothing."""
    for i in range(valid.shape[0]):
        at = ends[i]
        size = offsets[i + 1] - offsets[i]
        if valid[i] == 0:
            continue
        if ends[i + 1] - at == size:
            copy_bytes(out, at, data, offsets[i], size)
            continue
        out[at] = _QUOTE
        at += 1
        for k in range(offsets[i], offsets[i + 1]):
            byte = byte_at(data, k)
            out[at] = byte
            at += 1
            if byte == _QUOTE:
                out[at] = _QUOTE
                at += 1
        out[at] = _QUOTE
