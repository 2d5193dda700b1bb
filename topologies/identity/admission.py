"""The cold path, compiled: streams seen for the first time, from a point's bytes to a slot.

For each missed row, in order: canonical bytes, their BLAKE2b-128 hash, the numbers of origin
(tenant and resource), context (scope and metric) and stream. A stream's number is its slot.
"""

from __future__ import annotations

from typing import Any

from streams.kernels.compile import kernel
from topologies.encodings import points, schema
from topologies.encodings.schema import validate
from topologies.encodings.wire import next_field
from topologies.identity.blake2b import STATE, begin_hash, finish_hash, hash_blocks
from topologies.identity.canonical_kernel import (
    OVERHEAD,
    UNUSUAL,
    put_attributes,
    put_metric,
    put_resource,
    put_text,
)
from topologies.identity.fingerprints import remember, slot_of
from topologies.identity.interning import ARRAYS, Arrays, intern

Array = Any

_ATTRIBUTES = 58

# Why `admit` stopped before the end.
# UNUSUAL is another reason, -1.
DONE, NO_ROOM = 0, 1

# Places in `counts`.
ORIGINS, CONTEXTS, STREAMS, FINGERPRINTS, STATUS = range(5)


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
    "i64(u8[::1], i32[::1], i32[::1], i32[::1], i32[::1], i64[::1], i64[:, ::1])",
    allocates=False,
)
def check_missed(
    buffer: Array,
    missed: Array,
    message: Array,
    begin: Array,
    end: Array,
    status: Array,
    stack: Array,
) -> int:
    """Validate the attributes of missed rows; ``status`` i64[messages] gets codes.

    Returns how many messages are malformed.
    """
    bad = 0
    for row in missed:
        if status[message[row]] == 0:
            code = validate_attributes(buffer, begin[row], end[row], stack)
            if code != 0:
                status[message[row]] = code
                bad += 1
    return bad


@kernel(
    f"i64(u8[::1], i64, i64, {ARRAYS}, {ARRAYS}, i64[::1], u64[::1], u64[::1])",
    allocates=False,
)
def _intern_context(
    scratch: Array,
    origin_end: int,
    context_end: int,
    origins: Arrays,
    contexts: Arrays,
    counts: Array,
    state: Array,
    block: Array,
) -> int:
    """The number of the context in ``scratch[:context_end]``, or -1: no room."""
    begin_hash(state)
    finish_hash(scratch, 0, origin_end, state, block)
    origin = intern(origins, counts[ORIGINS], state[0], state[1], 0, scratch, 0, origin_end)
    if origin < 0:
        return -1
    counts[ORIGINS] = max(counts[ORIGINS], origin + 1)
    begin_hash(state)
    finish_hash(scratch, 0, context_end, state, block)
    context = intern(
        contexts, counts[CONTEXTS], state[0], state[1], origin, scratch, origin_end, context_end
    )
    counts[CONTEXTS] = max(counts[CONTEXTS], context + 1)
    return context


@kernel(
    f"i64(u8[::1], i64, i64, i64, i64, {ARRAYS}, i64[::1], u64[::1], u64[::1], u64[::1])",
    allocates=False,
)
def _intern_stream(
    scratch: Array,
    hashed: int,
    context_end: int,
    end: int,
    context: int,
    streams: Arrays,
    counts: Array,
    prefix: Array,
    state: Array,
    block: Array,
) -> int:
    """The slot of the stream in ``scratch[:end]``, or -1: no room.

    ``prefix`` is the state of the hash after ``scratch[:hashed]``.
    """
    for i in range(state.shape[0]):
        state[i] = prefix[i]
    finish_hash(scratch, hashed, end, state, block)
    slot = intern(streams, counts[STREAMS], state[0], state[1], context, scratch, context_end, end)
    counts[STREAMS] = max(counts[STREAMS], slot + 1)
    return slot


@kernel(
    f"i64(u8[::1], i64, i64, i64, {ARRAYS}, {ARRAYS}, {ARRAYS}, i64[::1], u64[:, ::1])",
    allocates=False,
)
def admit_canonical(
    scratch: Array,
    origin_end: int,
    context_end: int,
    end: int,
    origins: Arrays,
    contexts: Arrays,
    streams: Arrays,
    counts: Array,
    hashing: Array,
) -> int:
    """The slot of the stream whose canonical bytes are ``scratch[:end]``, or -1: no room.

    ``hashing`` u64[3, 32] is scratch.
    """
    context = _intern_context(
        scratch, origin_end, context_end, origins, contexts, counts, hashing[1, :STATE], hashing[2]
    )
    if context < 0:
        return -1
    begin_hash(hashing[0, :STATE])
    return _intern_stream(
        scratch, 0, context_end, end, context, streams, counts, hashing[0, :STATE],
        hashing[1, :STATE], hashing[2],
    )  # fmt: skip


@kernel(
    "UniTuple(i64, 2)(u8[::1], i64[::1], u8[::1], i64, i64, u8[::1], i64[:, ::1])",
    allocates=False,
)
def _put_context(
    buffer: Array,
    metric: Array,
    tenant: Array,
    tenant_begin: int,
    tenant_end: int,
    scratch: Array,
    entries: Array,
) -> tuple[int, int]:
    """Canonical bytes of a metric's context: (end of its origin, end), or (UNUSUAL, UNUSUAL)."""
    scratch[0] = 1
    position = put_text(scratch, 1, tenant, tenant_begin, tenant_end)
    origin_end = put_resource(
        buffer,
        metric[points.RESOURCE_METRICS_BEGIN],
        metric[points.RESOURCE_METRICS_END],
        scratch,
        position,
        entries,
    )
    if origin_end < 0:
        return UNUSUAL, UNUSUAL
    end = put_metric(
        buffer,
        metric[points.SCOPE_METRICS_BEGIN],
        metric[points.SCOPE_METRICS_END],
        metric[points.METRIC_BEGIN],
        metric[points.METRIC_END],
        metric[points.METRIC_KIND],
        scratch,
        origin_end,
        entries,
    )
    return (UNUSUAL, UNUSUAL) if end < 0 else (origin_end, end)


@kernel(
    "i64(u8[::1], i32[::1], i64, UniTuple(i32[::1], 4), i64[:, ::1], i64[::1],"
    " UniTuple(u64[::1], 2), u8[::1], i64[::1], i32[::1],"
    f" {ARRAYS}, {ARRAYS}, {ARRAYS}, u64[:, ::1], i64[::1], u8[::1], i64[:, ::1], u64[:, ::1])",
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
    contexts: Arrays,
    streams: Arrays,
    known: Array,
    counts: Array,
    scratch: Array,
    entries: Array,
    hashing: Array,
) -> int:
    """Give the missed rows from ``missed[first]`` on their slots; returns where it stopped.

    ``counts[STATUS]`` says why: DONE, NO_ROOM (grow what is full and go on from there), or UNUSUAL
    (this row is for the Python form). ``where`` is (message, metric, begin, end) by row; rows of
    messages whose ``status`` is not 0 stay without slot.
    """
    message, metric, begin, end = where
    current = context = hashed = origin_end = context_end = -1
    prefix, state, block = hashing[0, :STATE], hashing[1, :STATE], hashing[2]
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
        if size + tenant_end - tenant_begin + OVERHEAD > scratch.shape[0]:
            return index
        if 2 * (counts[FINGERPRINTS] + 1) > known.shape[0]:
            return index
        if current != metric[row]:
            current = -1
            origin_end, context_end = _put_context(
                buffer, of, tenants, tenant_begin, tenant_end, scratch, entries
            )
            if origin_end < 0:
                counts[STATUS] = UNUSUAL
                return index
            context = _intern_context(
                scratch, origin_end, context_end, origins, contexts, counts, state, block
            )
            if context < 0:
                return index
            begin_hash(prefix)
            hashed = hash_blocks(scratch, 0, context_end, prefix, block)
            current = metric[row]
        stop = put_attributes(
            buffer, begin[row], end[row], _ATTRIBUTES, scratch, context_end, entries
        )
        if stop < 0:
            counts[STATUS] = UNUSUAL
            return index
        slot = _intern_stream(
            scratch, hashed, context_end, stop, context, streams, counts, prefix, state, block
        )
        if slot < 0:
            return index
        remember(known, fingerprint[0][row], fingerprint[1][row], slot)
        counts[FINGERPRINTS] += 1
        slots[row] = slot
    counts[STATUS] = DONE
    return missed.shape[0]
