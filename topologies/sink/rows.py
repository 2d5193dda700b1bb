"""Messages of ``telemetry.rollups`` as blocks of the two tables. Columns in, bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn, MalformedTable, Table, decode_table
from topologies.encodings.labels import (
    DONE,
    MALFORMED,
    PROGRESS,
    UNKNOWN_KEY,
    index_texts,
    split_labels,
)
from topologies.sink import histograms, native

CHUNK_ROWS = 500_000
"""Rows of one insert at most: the store writes up to 1,048,449 as one block, and only one block at
a time is deduplicated whole. Part of what a token means: never change it for a topic in use."""

_COLUMNS = {
    "definition": "u2", "resolution": "u4", "window_end": "i8", "group_hi": "u8", "group_lo": "u8",
    "value": "f8", "points": "u8", "revision": "u4", "deleted": "u1", "late": "u8",
}  # fmt: skip
ROLLUP_COLUMNS = (
    "rollup", "version", "unit", "tenant", "resolution", "hop", "zone", "window_start",
    "window_end", "group", "labels", "value", "points", "late", "revision", "is_deleted",
    "source_partition", "source_offset", *histograms.COLUMNS,
)  # fmt: skip
"""Blocks without histograms have none of the last, which are empty then."""
CERTIFICATE_COLUMNS = (
    "source_partition", "source_offset", "resolution", "window_end", "domain", "sources", "idle",
)  # fmt: skip
_TEXT = msgspec.json.Decoder(str)
_LABELS = msgspec.json.Decoder(dict[str, str])
_MAX_NAMES = 60_000
_LARGEST_NUMBER = (1 << 16) - 1
_LEAST_PAIR = 5  # bytes of a pair in JSON
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A record of the log, ready to be inserted.

    Attributes:
        blocks: Native blocks of ``rollups_v1`` with their rows, none above ``CHUNK_ROWS``.
        certificates: JSON lines of ``certificates_v1``.
        names: The definitions it has rows of, with the kind of their histograms.
        newest: When the newest window that it tells of ended, unix ns; 0: it tells of none.
        fault: Why it cannot be stored; empty when it can.
        raw: Its bytes, kept only where there is a fault.
    """

    offset: int
    blocks: tuple[tuple[int, bytes], ...] = ()
    certificates: bytes = b""
    names: frozenset[tuple[str, str]] = frozenset()
    newest: int = 0
    fault: str = ""
    raw: bytes = b""

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.blocks)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The body of one insert."""

    rows: int
    body: bytes


def chunks(messages: Sequence[Message]) -> list[Chunk]:
    """The inserts of one batch, always the same for the same records."""
    done: list[Chunk] = []
    parts: list[bytes] = []
    total = 0
    for message in messages:
        for rows, block in message.blocks:
            if total + rows > CHUNK_ROWS:
                done.append(Chunk(total, b"".join(parts)))
                parts, total = [], 0
            parts.append(block)
            total += rows
    if total:
        done.append(Chunk(total, b"".join(parts)))
    return done


def _check(table: Table) -> None:
    for name, code in _COLUMNS.items():
        if name not in table.columns:
            raise ValueError(f"column '{name}' is missing")
        found = table.array(name).dtype.str[1:]
        if found != code:
            raise ValueError(f"column '{name}' is {found}, not {code}")
    definitions = cast("list[dict[str, Any]]", table.meta.get("definitions", []))
    for definition in definitions:
        for field in ("name", "version", "unit"):
            if not isinstance(definition.get(field), str):
                raise ValueError(f"a definition has no '{field}'")
    if table.rows and int(table.array("definition").max()) >= len(definitions):
        raise ValueError(f"a row names a definition past the {len(definitions)} of the message")
    if bool((table.array("window_end") % NS_PER_MS).any()):
        raise ValueError("a window does not end on a whole millisecond")


class _Names:
    """Strings with a number each, in the order they came; empty is 0."""

    def __init__(self) -> None:
        self.listed: list[bytes] = []
        self._number: dict[str, int] = {}

    def number(self, name: str) -> int:
        found = self._number.get(name)
        if found is None:
            found = self._number[name] = len(self.listed)
            self.listed.append(name.encode())
        return found


class _Texts:
    """Names by the form in which they stand in JSON, packed for `split_labels`."""

    def __init__(self, names: _Names) -> None:
        self._names = names
        self._written: list[bytes] = []
        self._numbers: list[int] = []
        self.packed = self._pack()

    def add(self, written: bytes) -> None:
        """Number one more. Raises ValueError where it is no JSON string."""
        try:
            name = _TEXT.decode(b'"' + written + b'"')
        except msgspec.DecodeError as error:
            raise ValueError(f"a label {written[:80]!r} is no string: {error}") from error
        number = self._names.number(name)
        if number > _LARGEST_NUMBER:
            raise ValueError(f"more than {_LARGEST_NUMBER} names of labels in one record")
        self._written.append(written)
        self._numbers.append(number)
        self.packed = self._pack()

    def _pack(self) -> tuple[Array, Array, Array, Array]:
        ends = np.cumsum([0, *map(len, self._written)], dtype=np.int64)
        data = np.frombuffer(b"".join(self._written) + bytes(8), np.uint8).copy()
        table = np.zeros(1 << (2 * len(self._written)).bit_length(), np.int32)
        index_texts(data, ends, table)
        return data, ends, np.array(self._numbers, np.int64), table


@dataclass(frozen=True, slots=True)
class _Labels:
    """The labels of some rows, as Native wants them: see `split_labels`."""

    sizes: Array
    keys: Array
    tenants: Array
    values: bytes


class MessageReader:
    """Reads records; remembers names of labels and tenants. One thread."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._keys, self._tenants = _Names(), _Names()
        self._tenants.number("")
        self._tenant_key = self._keys.number("tenant")
        self._key_texts, self._tenant_texts = _Texts(self._keys), _Texts(self._tenants)
        self._key_texts.add(b"tenant")

    def read(self, partition: int, offset: int, raw: bytes) -> Message:
        """The message of a record; one that cannot be stored has a ``fault`` and no rows.

        Args:
            partition: Where it comes from; kept in each row with the offset.
        """
        try:
            table = decode_table(raw)
            _check(table)
            slices = [t for t in _slices(table) if t.rows]
            blocks = tuple((t.rows, self._block(partition, offset, t)) for t in slices)
            certificates = _certificates(partition, offset, table)
            newest = _newest(table)
        except (MalformedTable, TypeError, KeyError, ValueError) as error:
            return Message(offset, fault=f"not a table of rollups: {error}", raw=raw)
        names = frozenset(histograms.kinds(table).items())
        return Message(offset, blocks, certificates, names, newest)

    def _block(self, partition: int, offset: int, table: Table) -> bytes:
        rows = table.rows
        if max(len(self._keys.listed), len(self._tenants.listed)) > _MAX_NAMES:
            self._forget()
        labels = self._labels(table.strings("labels"))
        group = np.empty((rows, 2), np.uint64)
        group[:, 0], group[:, 1] = table.array("group_lo"), table.array("group_hi")
        ends = table.array("window_end") // NS_PER_MS
        place = {"partition": np.full(rows, partition), "offset": np.full(rows, offset)}
        return native.block(
            rows,
            [
                *_definition_columns(table),
                (
                    "tenant",
                    "LowCardinality(String)",
                    native.low_cardinality(self._tenants.listed, labels.tenants),
                ),
                ("resolution", "UInt32", native.numbers(table.array("resolution"), "<u4")),
                *_window_columns(table),
                ("window_end", "DateTime64(3, 'UTC')", native.numbers(ends, "<i8")),
                ("group", "UInt128", native.numbers(group, "<u8")),
                (
                    "labels",
                    "Map(LowCardinality(String), String)",
                    native.string_map(
                        labels.sizes, self._keys.listed, labels.keys, [labels.values]
                    ),
                ),
                ("value", "Float64", native.numbers(table.array("value"), "<f8")),
                ("points", "UInt64", native.numbers(table.array("points"), "<u8")),
                ("late", "UInt64", native.numbers(table.array("late"), "<u8")),
                ("revision", "UInt32", native.numbers(table.array("revision"), "<u4")),
                ("is_deleted", "UInt8", native.numbers(table.array("deleted"), "<u1")),
                ("source_partition", "UInt32", native.numbers(place["partition"], "<u4")),
                ("source_offset", "UInt64", native.numbers(place["offset"], "<u8")),
                *histograms.columns(table),
            ],
        )

    def _labels(self, column: BytesColumn) -> _Labels:
        """Raises ValueError where a row's labels are no JSON object of strings."""
        try:
            return self._split(column)
        except ValueError:
            # Rare, and not ours: white space, or characters that did not need an escape.
            return self._split(BytesColumn.of(_compact(text) for text in column))

    def _split(self, column: BytesColumn) -> _Labels:
        data = np.frombuffer(column.data + bytes(8), np.uint8)
        offsets = np.array(column.offsets, np.int64)
        sizes = np.zeros(len(column), np.int64)
        keys = np.empty(len(data) // _LEAST_PAIR + 1, np.uint16)
        tenants = np.zeros(len(column), np.uint32)
        values = np.empty(2 * len(data), np.uint8)
        progress, guesses = np.zeros(PROGRESS, np.int64), np.zeros(64, np.int64)
        while True:
            split_labels(
                data, offsets, self._key_texts.packed, self._tenant_texts.packed, self._tenant_key,
                sizes, keys, tenants, values, guesses, progress,
            )  # fmt: skip
            row, why, begin, end, pairs, size = progress.tolist()
            if why == DONE:
                return _Labels(sizes, keys[:pairs], tenants, values[:size].tobytes())
            if why == MALFORMED:
                raise ValueError(f"labels {column[row][:80]!r} are no object of strings")
            texts = self._key_texts if why == UNKNOWN_KEY else self._tenant_texts
            texts.add(column.data[begin:end])


def _compact(labels: bytes) -> bytes:
    try:
        return msgspec.json.encode(_LABELS.decode(labels))
    except msgspec.DecodeError as error:
        raise ValueError(f"labels {labels[:80]!r} are no object of strings: {error}") from error


def _slices(table: Table) -> list[Table]:
    if table.rows <= CHUNK_ROWS:
        return [table]
    starts = range(0, table.rows, CHUNK_ROWS)
    return [table.take(np.arange(s, min(s + CHUNK_ROWS, table.rows))) for s in starts]


def _definition_columns(table: Table) -> list[tuple[str, str, bytes]]:
    """Name, version and unit: dictionaries of the message's definitions."""
    index: npt.NDArray[np.uint16] = table.array("definition")
    columns: list[tuple[str, str, bytes]] = []
    for field, column in (("name", "rollup"), ("version", "version"), ("unit", "unit")):
        names = _Names()
        number = [names.number(str(d[field])) for d in table.meta["definitions"]]
        numbered = np.array(number, np.uint16)[index]
        columns.append(
            (column, "LowCardinality(String)", native.low_cardinality(names.listed, numbered))
        )
    return columns


def _window_columns(table: Table) -> list[tuple[str, str, bytes]]:
    """Hop, zone and start. A message without them is of plain windows: older ones are."""
    described = cast("list[dict[str, Any]]", table.meta.get("granularities", []))
    zones = _Names()
    number = [zones.number(str(one["zone"]) if one["calendar"] else "") for one in described]
    if described:
        index = table.array("granularity")
        zone = np.array(number, np.uint16)[index]
        hop = np.array([one["hop"] for one in described], np.uint32)[index]
        starts = table.array("window_start")
    else:
        zone = np.full(table.rows, zones.number(""), np.uint16)
        hop = np.zeros(table.rows, np.uint32)
        starts = table.array("window_end") - table.array("resolution").astype(np.int64) * NS_PER_S
    return [
        ("hop", "UInt32", native.numbers(hop, "<u4")),
        ("zone", "LowCardinality(String)", native.low_cardinality(zones.listed, zone)),
        ("window_start", "DateTime64(3, 'UTC')", native.numbers(starts // NS_PER_MS, "<i8")),
    ]


def _newest(table: Table) -> int:
    ends = table.array("window_end")
    certified = cast("list[dict[str, Any]]", table.meta.get("certificates", []))
    return max([int(ends.max(initial=0)), *(int(each["window_end"]) for each in certified)])


def _certificates(partition: int, offset: int, table: Table) -> bytes:
    """The certificates of a message as JSON lines for ``certificates_v1``."""
    lines: list[bytes] = []
    for found in cast("list[dict[str, Any]]", table.meta.get("certificates", [])):
        line = {
            "source_partition": partition,
            "source_offset": offset,
            "resolution": found["resolution"],
            "window_end": found["window_end"] / NS_PER_S,
            "domain": found.get("domain", ""),
            "sources": found.get("sources", {}),
            "idle": found.get("idle", []),
        }
        lines.append(msgspec.json.encode(line) + b"\n")
    return b"".join(lines)
