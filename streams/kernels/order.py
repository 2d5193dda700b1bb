"""Groups in order, and where one set of groups is in another."""

from __future__ import annotations

from streams.kernels.compile import kernel
from streams.kernels.types import Column, Word

# The type of the keys of groups, as kernels take them: definition u32, high and low u64.
KEYS = "Tuple((u32[::1], u64[::1], u64[::1]))"


@kernel(f"i64({KEYS}, i64, {KEYS}, i64)", forceinline=True, allocates=False)
def _compare(left: Column, i: Word, right: Column, j: Word) -> Word:
    """-1, 0 or 1: how group i of left stands to group j of right."""
    if left[0][i] != right[0][j]:
        return -1 if left[0][i] < right[0][j] else 1
    if left[1][i] != right[1][j]:
        return -1 if left[1][i] < right[1][j] else 1
    if left[2][i] != right[2][j]:
        return -1 if left[2][i] < right[2][j] else 1
    return 0


@kernel(f"void({KEYS}, i64[::1], i64, i64, i64, i64[::1])", forceinline=True, allocates=False)
def _merge(keys: Column, order: Column, low: Word, middle: Word, high: Word, out: Column) -> None:
    """Merge order[low:middle] and order[middle:high] into out[low:high]; equals stay in order."""
    i = low
    j = middle
    for at in range(low, high):
        if i < middle and (j >= high or _compare(keys, order[i], keys, order[j]) <= 0):
            out[at] = order[i]
            i += 1
        else:
            out[at] = order[j]
            j += 1


@kernel(f"i64({KEYS}, i64[::1], i64[::1], i64[::1])", allocates=False)
def order_groups(keys: Column, order: Column, scratch: Column, runs: Column) -> Word:
    """Write to order i64[n] the indexes of groups in order of (definition, high, low), stable.

    A merge of the runs that are in order already; scratch i64[n], runs i64[n + 1]. Returns how many
    runs there were: 1, and order is 0..n-1. NumPy: ``np.lexsort((low, high, definition))``.
    """
    n = order.shape[0]
    count = 0
    for i in range(n):
        order[i] = i
        if i == 0 or _compare(keys, i - 1, keys, i) > 0:
            runs[count] = i
            count += 1
    runs[count] = n
    found = count
    while count > 1:
        kept = 0
        for run in range(0, count, 2):
            high = runs[min(run + 2, count)]
            _merge(keys, order, runs[run], runs[min(run + 1, count)], high, scratch)
            runs[kept] = runs[run]
            kept += 1
        runs[kept] = n
        count = kept
        for i in range(n):
            order[i] = scratch[i]
    return found


@kernel(f"void({KEYS}, {KEYS}, i64[::1])", allocates=False)
def find_groups(keys: Column, among: Column, found: Column) -> None:
    """found[i] = the index in `among` of group i of `keys`, -1 if it is not there.

    Both in order of (definition, high, low), without repeats; found i64[n].
    """
    j = 0
    m = among[0].shape[0]
    for i in range(found.shape[0]):
        while j < m and _compare(among, j, keys, i) < 0:
            j += 1
        found[i] = j if j < m and _compare(among, j, keys, i) == 0 else -1
