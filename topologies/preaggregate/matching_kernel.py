"""Which definitions new streams belong to, and in which group of each: the loop over streams."""

from __future__ import annotations

from typing import Any

from streams.kernels.compile import kernel
from topologies.identity.interning import ARRAYS, Arrays
from topologies.preaggregate.labels import (
    ESCAPED,
    LONGEST_NUMBER,
    UNUSUAL,
    find_texts,
    number_of,
    put_labels,
    reads,
)

Array = Any

# Columns of a context: its shape, its first row in `fixed`, the bytes of its texts, its tenant.
SHAPE, FIXED, TEXT_BYTES, TENANT, CONTEXT_WIDTH = range(5)
# Places of a shape's code, from where it begins.
NAMES, KEEPS, PARTS, NAME_BYTES, SHAPE_WIDTH = range(5)
# Places of a part's code; its conditions follow: a name, how many texts, where each is.
DEFINITION, KIND, CONVERSION, REFUSAL, KEEP, CONDITIONS, PART_WIDTH = range(7)
# Columns of a match. What the definition refuses has the refusal's number as its group.
SERIES, WHOSE, HOW, READ_AS, GROUP, MATCH_WIDTH = range(6)
REFUSED = -1
"""In the column HOW."""
# Places in `counts`, and why `match_streams` stopped.
GROUPS, MATCHES, REASON, COUNTS = range(4)
DONE, NO_ROOM, NO_SCRATCH, IS_UNUSUAL = range(4)


@kernel("i64(i64[::1], i64)", forceinline=True, allocates=False)
def _behind(code: Array, part: int) -> int:
    """Where a part's code ends."""
    at = part + PART_WIDTH
    for _ in range(code[part + CONDITIONS]):
        at += 2 + 2 * code[at + 1]
    return at


@kernel(
    "bool_(u8[::1], u8[::1], i64[::1], i64, i64[:, ::1], u8[::1])",
    allocates=False,
)
def _passes(
    content: Array, texts: Array, code: Array, part: int, found: Array, scratch: Array
) -> bool:
    """Whether a stream has, of each name that the part asks about, one of the texts."""
    at = part + PART_WIDTH
    for _ in range(code[part + CONDITIONS]):
        name, texts_of = code[at], code[at + 1]
        at += 2
        passed = False
        for each in range(texts_of):
            begin, end = code[at + 2 * each], code[at + 2 * each + 1]
            if reads(content, texts, scratch, found, name, begin, end):
                passed = True
                break
        if not passed:
            return False
        at += 2 * texts_of
    return True


@kernel(
    "i64(i64, u8[::1], u8[::1], i64[::1], i64, i64[:, ::1], u8[::1],"
    f" i64[::1], {ARRAYS}, u64[:, ::1], i64[::1], i64[:, ::1])",
    allocates=False,
)
def _match(
    series: int,
    content: Array,
    texts: Array,
    code: Array,
    shape: int,
    found: Array,
    scratch: Array,
    chosen: Array,
    groups: Arrays,
    hashing: Array,
    counts: Array,
    matches: Array,
) -> int:
    """Add the matches of one stream, whose texts are found; DONE or NO_ROOM."""
    keeps = code[shape + KEEPS]
    for keep in range(code[keeps]):
        chosen[keep] = -1
    parts = code[shape + PARTS]
    part = parts + 1
    for _ in range(code[parts]):
        here = part
        part = _behind(code, here)
        if not _passes(content, texts, code, here, found, scratch):
            continue
        row = counts[MATCHES]
        if row == matches.shape[0]:
            return NO_ROOM
        matches[row, SERIES] = series
        matches[row, WHOSE] = code[here + DEFINITION]
        matches[row, READ_AS] = code[here + CONVERSION]
        if code[here + REFUSAL] >= 0:
            matches[row, HOW] = REFUSED
            matches[row, GROUP] = code[here + REFUSAL]
            counts[MATCHES] = row + 1
            continue
        keep = code[here + KEEP]
        if chosen[keep] < 0:
            first = scratch.shape[0] // 2
            after = put_labels(content, texts, code, code[keeps + 1 + keep], found, scratch, first)
            group = number_of(scratch, first, after, groups, counts[GROUPS], hashing)
            if group < 0:
                return NO_ROOM
            counts[GROUPS] = max(counts[GROUPS], group + 1)
            chosen[keep] = group
        matches[row, HOW] = code[here + KIND]
        matches[row, GROUP] = chosen[keep]
        counts[MATCHES] = row + 1
    return DONE


@kernel(
    "i64(i64, i64, u8[::1], i64[::1], i32[::1], i64[:, ::1], i64[:, ::1], i64[::1], u8[::1],"
    f" u8[::1], i64[:, ::1], i64[::1], {ARRAYS}, u64[:, ::1], i64[::1], i64[:, ::1])",
    allocates=False,
)
def match_streams(
    first: int,
    last: int,
    content: Array,
    ends: Array,
    owners: Array,
    contexts: Array,
    fixed: Array,
    code: Array,
    texts: Array,
    scratch: Array,
    found: Array,
    chosen: Array,
    groups: Arrays,
    hashing: Array,
    counts: Array,
    matches: Array,
) -> int:
    """Match the streams ``first`` to ``last - 1``, whose contexts have recipes.

    ``content``, ``ends``, ``owners``: of the streams' interner; ``groups``: another's, of labels.
    ``found`` i64[names, 3], ``chosen`` i64[keeps], ``hashing`` u64[2, 32] and ``scratch`` are room
    to work; half of the scratch is for labels. ``matches`` i64[room, MATCH_WIDTH].

    Returns the first stream that is not matched; ``counts`` tells why.
    """
    counts[REASON] = DONE
    for series in range(first, last):
        context = owners[series]
        shape = contexts[context, SHAPE]
        if code[code[shape + PARTS]] == 0:
            continue
        begin, end = ends[series], ends[series + 1]
        names = code[shape + NAMES]
        most = ESCAPED * (end - begin + contexts[context, TEXT_BYTES])
        most += code[shape + NAME_BYTES] + (LONGEST_NUMBER + 3) * code[names] + 2
        if most > scratch.shape[0] // 2:
            counts[REASON] = NO_SCRATCH
            return series
        row = contexts[context, FIXED]
        used = find_texts(content, begin, texts, code, names, fixed[row:], found, scratch)
        if used == UNUSUAL:
            counts[REASON] = IS_UNUSUAL
            return series
        before = counts[MATCHES]
        reason = _match(
            series, content, texts, code, shape, found, scratch, chosen, groups,
            hashing, counts, matches,
        )  # fmt: skip
        if reason != DONE:
            counts[MATCHES] = before
            counts[REASON] = reason
            return series
    return last
