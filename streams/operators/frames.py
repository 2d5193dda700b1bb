"""What tasks of one topology tell each other over its internal topics.

A record's value is a frame: a header (JSON) and a body. Kinds:

| kind | says | body |
|---|---|---|
| `rows` | rows of a stream, of one source, for this partition; may be none | table |
| `groups` | states of groups, of one piece of a windowed aggregation, or of all time | groups |
| `table` | changes of a table | table |
| `mark` | how far the source has come: `until`, its watermark or the last window it has closed | |
| `time` | how far the source's time has come, while windows are open: `until` | |
| `ready` | this source of a table was read to its end once | |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from streams.aggregates.encoding import UnreadableState, pack, unpack
from streams.batch import decode_table, encode_table
from streams.errors import UNREADABLE_JSON, Rejected
from streams.operators.groups import I64, Groups
from streams.operators.keys import U64
from streams.schema import Schema
from streams.task.processor import OutputRecord
from streams.values import Values, from_table, to_table

Kind = Literal["rows", "groups", "table", "mark", "time", "ready"]

LARGEST = 900_000  # bytes of a body; brokers refuse records much above a megabyte


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. `feed` names what it belongs to, `source` who sent it (`topic/partition`)."""

    kind: Kind
    feed: str
    source: str
    until: int = 0
    tag: int = 0
    pane: int = 0
    body: bytes = field(default=b"", repr=False)


class _Header(msgspec.Struct, array_like=True):
    kind: Kind
    feed: str
    source: str
    until: int
    tag: int
    pane: int


_decoder = msgspec.json.Decoder(_Header)


def encode_frame(frame: Frame) -> bytes:
    """The frame as a record's value."""
    head = _Header(frame.kind, frame.feed, frame.source, frame.until, frame.tag, frame.pane)
    return pack("frame", 1, 0, msgspec.json.encode(head), frame.body)


def decode_frame(value: bytes | None) -> Frame:
    """The frame of a record's value.

    Raises:
        Rejected: It is none of this version.
    """
    try:
        _, (head, body) = unpack("frame", 1, value or b"", 2)
        found = _decoder.decode(head)
    except (UnreadableState, *UNREADABLE_JSON) as error:
        raise Rejected("not-a-frame", f"no message of this topology: {error}") from error
    return Frame(found.kind, found.feed, found.source, found.until, found.tag, found.pane, body)


def to_partition(topic: str, partition: int, frame: Frame) -> OutputRecord:
    """The record that carries the frame."""
    return OutputRecord(topic, partition, frame.source.encode(), encode_frame(frame))


def encode_columns(columns: dict[str, Values]) -> bytes:
    """Columns as a body."""
    return encode_table(to_table(columns))


def decode_columns(body: bytes, schema: Schema) -> dict[str, Values]:
    """The columns of a body. Raises `MalformedTable`."""
    return from_table(decode_table(body), schema)


def group_bodies(groups: Groups, slots: I64) -> Iterator[bytes]:
    """The groups in bodies that brokers take; one alone may be larger."""
    body = groups.encode(slots)
    if len(body) <= LARGEST or len(slots) == 1:
        yield body
        return
    middle = len(slots) // 2
    yield from group_bodies(groups, slots[:middle])
    yield from group_bodies(groups, slots[middle:])


def split_by_partition(hashes: U64, partitions: int) -> Sequence[I64]:
    """For each partition, which of the hashes belong to it, in their order."""
    to = (hashes % np.uint64(partitions)).astype(np.int64)
    order = np.argsort(to, kind="stable")
    return np.split(order, np.searchsorted(to[order], np.arange(1, partitions)))
