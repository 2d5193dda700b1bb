"""Which fields of OTLP's messages hold messages, strings or packed numbers, and the check of them.

The table is made from the message descriptors of ``opentelemetry.proto``, so :func:`validate`
accepts what the reference parser accepts of these messages (but for groups).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from streams.kernels.compile import kernel
from topologies.encodings.wire import DEPTH, PACKED, UTF8, Bytes, is_utf8, next_field, read_varint

DEEPEST = 100
_SKIP, _STRING, _PACKED_VARINT, _PACKED_32, _PACKED_64, _MESSAGE = 0, 1, 2, 3, 4, 5
_WIDTH = 16
# How a repeated field of each descriptor type is written in one piece; varints where not named.
_REPEATED = {
    **dict.fromkeys((1, 6, 16), _PACKED_64),  # double, fixed64, sfixed64
    **dict.fromkeys((2, 7, 15), _PACKED_32),  # float, fixed32, sfixed32
    9: _STRING,
    12: _SKIP,  # bytes
}


def _walk(descriptor: Any, found: dict[str, Any]) -> None:
    if descriptor.name not in found:
        found[descriptor.name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                _walk(field.message_type, found)


def _action(field: Any, index: dict[str, int]) -> int:
    if field.message_type is not None:
        return _MESSAGE + index[field.message_type.name]
    if not field.is_repeated:
        return _STRING if field.type == 9 else _SKIP
    return _REPEATED.get(field.type, _PACKED_VARINT)


def _table() -> tuple[dict[str, int], NDArray[np.int64]]:
    found: dict[str, Any] = {}
    request: Any = metrics_service_pb2.ExportMetricsServiceRequest
    _walk(request.DESCRIPTOR, found)
    index = {name: position for position, name in enumerate(found)}
    table = np.zeros((len(found), _WIDTH), np.int64)
    for name, descriptor in found.items():
        for field in descriptor.fields:
            table[index[name], field.number] = _action(field, index)
    return index, table


_INDEX, _SCHEMA = _table()
RESOURCE = _INDEX["Resource"]
SCOPE = _INDEX["InstrumentationScope"]
KEY_VALUE = _INDEX["KeyValue"]
EXEMPLAR = _INDEX["Exemplar"]
GAUGE, SUM, HISTOGRAM = _INDEX["Gauge"], _INDEX["Sum"], _INDEX["Histogram"]
EXPONENTIAL_HISTOGRAM, SUMMARY = _INDEX["ExponentialHistogram"], _INDEX["Summary"]


def validation_stack() -> NDArray[np.int64]:
    """The scratch that :func:`validate` needs; one a thread."""
    return np.zeros((DEEPEST + 2, 2), np.int64)


@kernel("i64(u8[::1], i64, i64)", allocates=False)
def _packed_varints(buffer: Bytes, begin: int, end: int) -> int:
    p = begin
    while p < end:
        _, p = read_varint(buffer, p, end)
        if p < 0:
            return PACKED
    return 0


@kernel("i64(u8[::1], i64, i64, i64, i64, i64[:, ::1])", allocates=False)
def validate(
    buffer: Bytes,
    begin: int,
    end: int,
    message: int,
    depth: int,
    stack: NDArray[np.int64],
) -> int:
    """0, or the code of what is wrong with the message of this type in ``buffer[begin:end]``.

    ``depth`` is how many messages are around it. ``stack``: see :func:`validation_stack`.
    """
    if depth > DEEPEST:
        return DEPTH
    level = 0
    stack[0, 0] = end
    stack[0, 1] = message
    p = begin
    while True:
        while p >= stack[level, 0]:
            if level == 0:
                return 0
            level -= 1
        tag, first, p = next_field(buffer, p, stack[level, 0])
        if tag < 0:
            return -tag
        field = tag >> 3
        if tag & 7 != 2 or field >= _WIDTH:
            continue
        action = _SCHEMA[stack[level, 1], field]
        if action == _STRING:
            if not is_utf8(buffer, first, p):
                return UTF8
        elif action >= _MESSAGE:
            level += 1
            if depth + level > DEEPEST:
                return DEPTH
            stack[level, 0] = p
            stack[level, 1] = action - _MESSAGE
            p = first
        elif action == _PACKED_VARINT:
            if _packed_varints(buffer, first, p) != 0:
                return PACKED
        elif (action == _PACKED_64 and (p - first) % 8 != 0) or (
            action == _PACKED_32 and (p - first) % 4 != 0
        ):
            return PACKED
