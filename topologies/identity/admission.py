"""The cold path, compiled: streams seen for the first time, from a point's bytes to a slot.

For each missed row, in order: canonical bytes, their BLAKE2b-128 hash, and the numbers of origin
(tenant and resource), scope, context (metric) and stream. A stream's number is its slot. The four
parts stand behind one another in a scratch; a row writes anew only those in which it differs from
the row before, so that the work stays linear in the bytes of a message, whatever its shape. The
hash goes on from where the unchanged part ends.
"""

from __future__ import annotations

from typing import Any

from streams.kernels.compile import kernel
from streams.kernels.machine import copy_bytes, i64
from topologies.encodings import points, schema
from topologies.encodings.otlp_points import (
    BOUNDS,
    BOUNDS_PACKED,
    EXPONENTIAL_ATTRIBUTES,
    HISTOGRAM_ATTRIBUTES,
)
from topologies.encodings.schema import validate
from topologies.encodings.wire import next_field
from topologies.identity.blake2b import STATE, begin_hash, finish_hash, hash_blocks
from topologies.identity.canonical_kernel import (
    GROWTH,
    OVERHEAD,
    put_attributes,
    put_metric,
    put_resource,
    put_scope,
    put_text,
)
from topologies.identity.fingerprints import remember, slot_of
from topologies.identity.interning import ARRAYS, Arrays, intern

Array = Any

_ATTRIBUTES = 58

# Why `admit` stopped; the last three: what the Python form has to write.
DONE, NO_ROOM, UNUSUAL_ORIGIN, UNUSUAL_SCOPE, UNUSUAL_ATTRIBUTES = range(5)

# Places in `counts`: how many there are of each, and why `admit` stopped.
ORIGINS, SCOPES, CONTEXTS, STREAMS, FINGERPRINTS, STATUS = range(6)

# Places in `progress`, what the scratch holds: which ResourceMetrics, ScopeMetrics (by where they
# begin), metric and point (by row) its parts were written for, where those end, the numbers given
# to them (-1: not yet), and up to where the prefix of each is hashed.
RESOURCE, SCOPE, METRIC, POINT = range(4)
END, NUMBER, HASHED, PROGRESS = 4, 8, 12, 16


@kernel("i64(i64)", forceinline=True, allocates=False)
def _attributes_tag(kind: int) -> int:
    """The tag of a data point's attributes."""
    if kind & points.KIND_MASK == points.HISTOGRAM:
        return HISTOGRAM_ATTRIBUTES
    if kind & points.KIND_MASK == points.EXPONENTIAL_HISTOGRAM:
        return EXPONENTIAL_ATTRIBUTES
    return _ATTRIBUTES


@kernel("i64(u8[::1], i64, i64, u8[::1], i64)", allocates=False)
def _put_bounds(buffer: Array, begin: int, end: int, out: Array, at: int) -> int:
    """The bounds of a HistogramDataPoint, eight bytes each, as many as there are."""
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag in (BOUNDS_PACKED, BOUNDS):
            copy_bytes(out, at, buffer, first, p - first)
            at += p - first
    return at


@kernel("i64(u8[::1], i64, i64, i64[:, ::1])", allocates=False)
def validate_attributes(buffer: Array, begin: int, end: int, stack: Array) -> int:
    """0, or the code of what is wrong with the attributes of a NumberDataPoint."""
    p = begin
    while p < end:
        tag, first, p = next_field(buffer, p, end)
        if tag == _ATTRIBUTES:
            code = validate(buffer, first, p, schema.KEY_VALUE, 6, stack)
            if code != 0:
                return code
    return 0


@kernel(
    "i64(u8[::1], i32[::1], u8[::1], i32[::1], i32[::1], i32[::1], i64[::1], i64[:, ::1])",
    allocates=False,
)
def check_missed(
    buffer: Array,
    missed: Array,
    kinds: Array,
    message: Array,
    begin: Array,
    end: Array,
    status: Array,
    stack: Array,
) -> int:
    """Validate the attributes of missed rows; ``status`` i64[messages] gets codes.

    Those of histograms have been validated with their metric.

    Returns how many messages are malformed.
    """
    bad = 0
    for row in missed:
        number = kinds[row] & points.KIND_MASK < points.HISTOGRAM
        if status[message[row]] == 0 and number:
            code = validate_attributes(buffer, begin[row], end[row], stack)
            if code != 0:
                status[message[row]] = code
                bad += 1
    return bad


@kernel(
    f"i64(u8[::1], i64[::1], i64, {ARRAYS}, i64[::1], u64[:, ::1])",
    allocates=False,
)
def _number(
    scratch: Array, progress: Array, level: int, store: Arrays, counts: Array, hashing: Array
) -> int:
    """The number of what ends at a level, given if it is new; -1: no room.

    Goes on from the hash of the level above (``hashing[level - 1]``), and leaves that of whole
    blocks up to here in ``hashing[level]``, for levels below.
    """
    if progress[NUMBER + level] >= 0:
        return progress[NUMBER + level]
    state, block = hashing[4, :STATE], hashing[5]
    above = progress[END + level - 1] if level > 0 else 0
    hashed = progress[HASHED + level - 1] if level > 0 else 0
    owner = progress[NUMBER + level - 1] if level > 0 else 0
    end = progress[END + level]
    if level == 0:
        begin_hash(hashing[0, :STATE])
    else:
        for i in range(STATE):
            hashing[level, i] = hashing[level - 1, i]
    for i in range(STATE):
        state[i] = hashing[level, i]
    finish_hash(scratch, hashed, end, state, block)
    number = intern(store, counts[level], state[0], state[1], owner, scratch, above, end)
    if number >= 0:
        counts[level] = max(counts[level], number + 1)
        progress[NUMBER + level] = number
        if level < 3:
            progress[HASHED + level] = hash_blocks(
                scratch, hashed, end, hashing[level, :STATE], block
            )
    return number


@kernel("void(i64[::1], i64, i64, i64)", allocates=False)
def written(progress: Array, level: int, what: int, end: int) -> None:
    """Note what the scratch holds at a level, up to ``end``; levels below are to be written."""
    progress[level] = what
    progress[END + level] = end
    progress[NUMBER + level] = -1
    for below in range(level + 1, 4):
        progress[below] = -1


@kernel(
    "i64(u8[::1], i64[::1], i64, i64, i64, UniTuple(i64, 3), u8[::1], i64[::1], i64[:, ::1],"
    " u8[::1])",
    allocates=False,
)
def _write_parts(
    buffer: Array,
    metric: Array,
    metric_row: int,
    tenant_begin: int,
    tenant_end: int,
    point: tuple[int, int, int],
    scratch: Array,
    progress: Array,
    entries: Array,
    tenants: Array,
) -> int:
    """Write what of a row's canonical bytes is not in the scratch; DONE or what is unusual.

    ``point``: its row, begin and end.
    """
    begin, end = metric[points.RESOURCE_METRICS_BEGIN], metric[points.RESOURCE_METRICS_END]
    if progress[RESOURCE] != begin:
        scratch[0] = 1
        at = put_text(scratch, 1, tenants, tenant_begin, tenant_end)
        at = put_resource(buffer, begin, end, scratch, at, entries)
        if at < 0:
            return UNUSUAL_ORIGIN
        written(progress, RESOURCE, begin, at)
    begin, end = metric[points.SCOPE_METRICS_BEGIN], metric[points.SCOPE_METRICS_END]
    if progress[SCOPE] != begin:
        at = put_scope(buffer, begin, end, scratch, progress[END + RESOURCE], entries)
        if at < 0:
            return UNUSUAL_SCOPE
        written(progress, SCOPE, begin, at)
    begin, end = metric[points.METRIC_BEGIN], metric[points.METRIC_END]
    if progress[METRIC] != metric_row:
        kind = metric[points.METRIC_KIND]
        at = put_metric(buffer, begin, end, kind, scratch, progress[END + SCOPE])
        written(progress, METRIC, metric_row, at)
    row, begin, end = point
    if progress[POINT] != row:
        kind = metric[points.METRIC_KIND]
        tag = _attributes_tag(kind)
        at = put_attributes(buffer, begin, end, tag, scratch, progress[END + METRIC], entries)
        if at < 0:
            return UNUSUAL_ATTRIBUTES
        if kind & points.KIND_MASK == points.HISTOGRAM:
            at = _put_bounds(buffer, begin, end, scratch, at)
        written(progress, POINT, row, at)
    return DONE


@kernel(
    "i64(u8[::1], i32[::1], i64, UniTuple(i32[::1], 4), i64[:, ::1], i64[::1],"
    " UniTuple(u64[::1], 2), u8[::1], i64[::1], i32[::1],"
    f" {ARRAYS}, {ARRAYS}, {ARRAYS}, {ARRAYS}, u64[:, ::1], i64[::1], i64[::1], u8[::1],"
    " i64[:, ::1], u64[:, ::1])",
    allocates=False,
)
def admit(
    buffer: Array,
    missed: Array,
    first: int,
    where: tuple[Array, Array, Array, Array],
    metrics: Array,
    status: Array,
    fingerprint: tuple[Array, Array],
    tenants: Array,
    tenant_ends: Array,
    slots: Array,
    origins: Arrays,
    scopes: Arrays,
    contexts: Arrays,
    streams: Arrays,
    known: Array,
    counts: Array,
    progress: Array,
    scratch: Array,
    entries: Array,
    hashing: Array,
) -> int:
    """Give the missed rows from ``missed[first]`` on their slots; returns where it stopped.

    ``counts[STATUS]`` says why: DONE, NO_ROOM (grow what is full), or UNUSUAL_... (write that part
    into the scratch and call :func:`written`); then go on from there with the same ``progress``.
    ``where`` is (message, metric, begin, end) by row; rows of messages whose ``status`` is not 0
    stay without slot. Scratch: ``entries`` i64[attributes, 5], ``hashing`` u64[6, 32].
    """
    message, metric, begin, end = where
    for index in range(first, missed.shape[0]):
        row = missed[index]
        if status[message[row]] != 0:
            continue
        slot = slot_of(known, fingerprint[0][row], fingerprint[1][row])
        if slot >= 0:
            slots[row] = slot
            continue
        counts[STATUS] = NO_ROOM
        of = metrics[metric[row]]
        tenant_begin, tenant_end = tenant_ends[message[row]], tenant_ends[message[row] + 1]
        size = of[points.RESOURCE_METRICS_END] - of[points.RESOURCE_METRICS_BEGIN]
        if GROWTH * size + tenant_end - tenant_begin + OVERHEAD > scratch.shape[0]:
            return index
        if 2 * (counts[FINGERPRINTS] + 1) > known.shape[0]:
            return index
        point = i64(row), i64(begin[row]), i64(end[row])
        unusual = _write_parts(
            buffer, of, metric[row], tenant_begin, tenant_end, point, scratch, progress, entries,
            tenants,
        )  # fmt: skip
        if unusual != DONE:
            counts[STATUS] = unusual
            return index
        if (
            _number(scratch, progress, RESOURCE, origins, counts, hashing) < 0
            or _number(scratch, progress, SCOPE, scopes, counts, hashing) < 0
            or _number(scratch, progress, METRIC, contexts, counts, hashing) < 0
        ):
            return index
        slot = _number(scratch, progress, POINT, streams, counts, hashing)
        if slot < 0:
            return index
        remember(known, fingerprint[0][row], fingerprint[1][row], slot)
        counts[FINGERPRINTS] += 1
        slots[row] = slot
    counts[STATUS] = DONE
    return missed.shape[0]
