"""Messages of ``telemetry.rollups`` as blocks of the two tables. Columns in, bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from streams.batch import MalformedTable, Table, decode_table
from topologies.sink import native

CHUNK_ROWS = 500_000
"""Rows of one insert at most: the store writes up to 1,048,449 as one block, and only one block at
a time is deduplicated whole. Part of what a token means: never change it for a topic in use."""

_COLUMNS = {
    "definition": "u2", "resolution": "u4", "window_end": "i8", "group_hi": "u8", "group_lo": "u8",
    "value": "f8", "points": "u8", "revision": "u4", "deleted": "u1", "late": "u8",
}  # fmt: skip
ROLLUP_COLUMNS = (
    "rollup", "version", "unit", "tenant", "resolution", "window_end", "group", "labels", "value",
    "points", "late", "revision", "is_deleted", "source_partition", "source_offset",
)  # fmt: skip
CERTIFICATE_COLUMNS = (
    "source_partition", "source_offset", "resolution", "window_end", "domain", "sources", "idle",
)  # fmt: skip
_MAX_KEYS = 60_000
_MAX_LABELS = 1_000_000
_NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """A record of the log, ready to be inserted.

    Attributes:
        blocks: Native blocks of ``rollups_v1`` with their rows, none above ``CHUNK_ROWS``.
        certificates: JSON lines of ``certificates_v1``.
        names: The definitions it has rows of.
        fault: Why it cannot be stored; empty when it can.
        raw: Its bytes, kept only where there is a fault.
    """

    offset: int
    blocks: tuple[tuple[int, bytes], ...] = ()
    certificates: bytes = b""
    names: frozenset[str] = frozenset()
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
    if bool((table.array("window_end") % _NS_PER_MS).any()):
        raise ValueError("a window does not end on a whole millisecond")


def _labels_of(raw: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(raw, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise ValueError(f"labels {raw[:80]!r} are no object of strings: {error}") from error


@dataclass(frozen=True, slots=True)
class _Labels:
    """Labels as Native wants them, prepared once for each distinct set."""

    size: int
    keys: bytes
    values: bytes
    tenant: int


class _Names:
    """Strings with a number each, in the order they came."""

    def __init__(self) -> None:
        self.listed: list[bytes] = []
        self._number: dict[str, int] = {}

    def number(self, name: str) -> int:
        found = self._number.get(name)
        if found is None:
            found = self._number[name] = len(self.listed)
            self.listed.append(name.encode())
        return found


class MessageReader:
    """Reads records; remembers labels, since the same groups come every window. One thread."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._known: dict[bytes, _Labels] = {}
        self._keys = _Names()
        self._tenants = _Names()

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
        except (MalformedTable, TypeError, KeyError, ValueError) as error:
            return Message(offset, fault=f"not a table of rollups: {error}", raw=raw)
        names = frozenset(str(d["name"]) for d in table.meta.get("definitions", []))
        return Message(offset, blocks, certificates, names)

    def _block(self, partition: int, offset: int, table: Table) -> bytes:
        rows = table.rows
        if len(self._known) > _MAX_LABELS or len(self._keys.listed) > _MAX_KEYS:
            self._forget()
        labels = [self._prepared(raw) for raw in table.strings("labels")]
        keys = np.frombuffer(b"".join([known.keys for known in labels]), np.uint16)
        tenants = np.fromiter((known.tenant for known in labels), np.uint32, rows)
        sizes = np.fromiter((known.size for known in labels), np.int64, rows)
        group = np.empty((rows, 2), np.uint64)
        group[:, 0], group[:, 1] = table.array("group_lo"), table.array("group_hi")
        values = [known.values for known in labels]
        ends = table.array("window_end") // _NS_PER_MS
        place = {"partition": np.full(rows, partition), "offset": np.full(rows, offset)}
        return native.block(
            rows,
            [
                *_definition_columns(table),
                (
                    "tenant",
                    "LowCardinality(String)",
                    native.low_cardinality(self._tenants.listed, tenants),
                ),
                ("resolution", "UInt32", native.numbers(table.array("resolution"), "<u4")),
                ("window_end", "DateTime64(3, 'UTC')", native.numbers(ends, "<i8")),
                ("group", "UInt128", native.numbers(group, "<u8")),
                (
                    "labels",
                    "Map(LowCardinality(String), String)",
                    native.string_map(sizes, self._keys.listed, keys, values),
                ),
                ("value", "Float64", native.numbers(table.array("value"), "<f8")),
                ("points", "UInt64", native.numbers(table.array("points"), "<u8")),
                ("late", "UInt64", native.numbers(table.array("late"), "<u8")),
                ("revision", "UInt32", native.numbers(table.array("revision"), "<u4")),
                ("is_deleted", "UInt8", native.numbers(table.array("deleted"), "<u1")),
                ("source_partition", "UInt32", native.numbers(place["partition"], "<u4")),
                ("source_offset", "UInt64", native.numbers(place["offset"], "<u8")),
            ],
        )

    def _prepared(self, raw: bytes) -> _Labels:
        known = self._known.get(raw)
        if known is None:
            labels = _labels_of(raw)
            numbers = [self._keys.number(name) for name in labels]
            known = self._known[raw] = _Labels(
                len(labels),
                np.array(numbers, np.uint16).tobytes(),
                b"".join(native.text(value.encode()) for value in labels.values()),
                self._tenants.number(labels.get("tenant", "")),
            )
        return known


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
