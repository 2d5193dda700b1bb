"""The first so many rows of every bucket."""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.types import Column, Word


@kernel("i64(i32[::1], i64[::1], i64[::1], u8[::1])", allocates=False)
def keep_first(bucket: Column, most: Column, count: Column, kept: Column) -> Word:
    """Write to kept u8[n] whether each row is one of the first most[bucket[i]] of its bucket.

    bucket i32[n], below len(most), or negative: kept, and not counted; most i64[buckets];
    count i64[buckets] is added to: the rows of each bucket. Returns how many rows are not kept.
    """
    over = 0
    for i in range(bucket.shape[0]):
        b = bucket[i]
        kept[i] = 1
        if b < 0 or b >= most.shape[0]:
            continue
        count[b] += 1
        if count[b] > most[b]:
            kept[i] = 0
            over += 1
    return over
