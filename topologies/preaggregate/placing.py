"""The cells of new streams: which are known, and into which buckets new ones go."""

from __future__ import annotations

from typing import Any

from streams.kernels.compile import kernel
from streams.kernels.numbering import find

Array = Any


@kernel(
    "UniTuple(i64, 2)(i64, i64[::1], i64[::1], i64[::1], i64[::1], i64, i64[:, ::1], i64[::1],"
    " i64[::1], i64[::1], i64[::1], i64[::1], i64[::1], i32[::1])",
    allocates=False,
)
def place_cells(
    row: int,
    wanted: Array,
    wanted_buckets: Array,
    table: Array,
    keys: Array,
    count: int,
    places: Array,
    bucket_table: Array,
    buckets: Array,
    groups: Array,
    most: Array,
    merged: Array,
    shard: Array,
    out: Array,
) -> tuple[int, int]:
    """out[row:] = the cells of keys i64[n], in order; those that are new get the next numbers.

    ``wanted``: definition << 32 | group; ``wanted_buckets``: the keys of the buckets these are in.
    ``table`` and ``keys`` (see `streams.kernels.numbering`) hold ``count`` cells, with room for the
    others; ``places`` i64[cells, 2] gets shard and bucket of new ones. ``groups``, ``most``,
    ``merged`` and ``shard`` are of buckets, see `guard.Buckets`.

    Returns (the first row that is not placed, the number of cells): one whose bucket is new or
    just full, or that is the merged group of its bucket.
    """
    while row < wanted.shape[0]:
        key = wanted[row]
        cell = find(table, keys, key)
        if cell < 0:
            bucket = find(bucket_table, buckets, wanted_buckets[row])
            if bucket < 0 or groups[bucket] == most[bucket] or merged[bucket] == key & 0xFFFFFFFF:
                return row, count
            table[-cell - 1] = count + 1
            keys[count] = key
            places[count, 0], places[count, 1] = shard[bucket], bucket
            groups[bucket] += 1
            cell = count
            count += 1
        out[row] = cell
        row += 1
    return row, count
