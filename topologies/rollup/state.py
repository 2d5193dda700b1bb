"""The state of a roll-up task as blocks.

One a window; two a domain, pane key and window size for the series of the final topic (which groups
had data last changes seldom, all else with every window); one for all the rest.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import cramjam
import msgspec
import numpy as np

from streams.batch import Column, Table, decode_table, encode_table
from streams.errors import Fatal
from topologies.epochs import Epoch
from topologies.partials import PartialRows, columns_of, from_table
from topologies.rollup.final import Correction, FinalSeries, TableKey
from topologies.rollup.final import Table as SeriesTable
from topologies.rollup.groups import Published
from topologies.rollup.ledger import Limits
from topologies.rollup.stored import Stored, Window
from topologies.rollup.windows import Domain, Seals, Windows, WindowState

FORMAT = 9
OLDEST = 7
"""Formats from this one on are read. In 7 windows do not say by themselves whose they are; up to 8
they always have what stands published, and the groups that had data last are in the block of their
series."""
STORES = {
    "windows": f"partials and what was published of them, format {OLDEST}",
    "final-series": f"series of the final topic, format {OLDEST}",
}
"""What a task keeps, as its topology declares it: one that is not read on is another meaning."""
META = b"meta"
_PREFIX = b"window/"
_SERIES = b"series/"
_PRESENT = b"present/"
_ZSTD = b"\x28\xb5\x2f\xfd"
_WHOSE = struct.Struct(">H")


def block_of(window: Window) -> bytes:
    """The key of a window's block."""
    pane, level, end = window
    return _PREFIX + f"{pane}|{level}|{end}".encode()


def _window_of(block: bytes) -> Window:
    pane, level, end = block[len(_PREFIX) :].decode().split("|")
    return pane, int(level), int(end)


def blocks_of_series(key: TableKey, table: SeriesTable | None) -> dict[bytes, bytes | None]:
    """The blocks of a table of series that have changed; `table` None: it is gone."""
    domain, pane, level = key
    name = f"{domain}|{pane}|{level}".encode()
    if table is None:
        return {_SERIES + name: None, _PRESENT + name: None}
    blocks: dict[bytes, bytes | None] = {_SERIES + name: _encode_series(table)}
    if not table.saved:
        groups = _encode_groups(table.present, with_end=False)
        blocks[_PRESENT + name] = bytes(cramjam.zstd.compress(groups, 1))
        table.saved = True
    return blocks


def _encode_series(table: SeriesTable) -> bytes:
    raw = msgspec.msgpack.encode(
        {
            "end": table.end,
            "present_end": int(table.present.end[0]) if len(table.present) else 0,
            "silent": _encode_groups(table.silent),
            "totals": encode_table(Table({**columns_of(table.totals), "start": table.starts})),
            "waiting": [
                [one.source, one.offset, one.after, encode_table(Table(columns_of(one.rows)))]
                for one in table.waiting
            ],
        }
    )
    return bytes(cramjam.zstd.compress(raw, 1))


def _encode_groups(rows: PartialRows, with_end: bool = True) -> bytes:
    columns: dict[str, Column] = {
        "definition": rows.definition,
        "level": rows.level,
        "high": rows.high,
        "low": rows.low,
        "labels": rows.labels,
    }
    return encode_table(Table({**columns, "end": rows.end} if with_end else columns))


def _decode_groups(raw: bytes) -> PartialRows:
    table = decode_table(raw)
    ends = table.array("end") if "end" in table.columns else np.zeros(table.rows)
    return PartialRows(
        table.array("definition").astype(np.uint16),
        table.array("level").astype(np.int64),
        ends.astype(np.int64),
        table.array("high").astype(np.uint64),
        table.array("low").astype(np.uint64),
        table.strings("labels"),
        np.empty((table.rows, 0), np.int64),
        {},
    )


def _decode_series(block: bytes, present: bytes | None) -> SeriesTable:
    stored: dict[str, Any] = msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(block)))
    totals = decode_table(stored["totals"])
    if present is None:  # up to format 8
        groups = _decode_groups(stored["present"])
    else:
        groups = _decode_groups(bytes(cramjam.zstd.decompress(present)))
        groups = replace(groups, end=np.full(len(groups), stored["present_end"]))
    return SeriesTable(
        end=stored["end"],
        present=groups,
        saved=present is not None,
        silent=_decode_groups(stored["silent"]),
        totals=from_table(totals),
        starts=totals.array("start").astype(np.int64),
        waiting=[
            Correction(source, offset, after, from_table(decode_table(raw)))
            for source, offset, after, raw in stored["waiting"]
        ],
    )


def encode_window(state: WindowState) -> bytes:
    """A window's block: whose it is alone (empty: not just one domain's), then all of it."""
    published = state.published
    raw = msgspec.msgpack.encode(
        {
            "sealed": {
                source: encode_table(Table(columns_of(PartialRows.join(parts))))
                for source, parts in state.sealed.items()
            },
            "waiting": [
                [source, offset, encode_table(Table(columns_of(rows)))]
                for source, offset, rows in state.waiting
            ],
            "unmerged": sorted(state.unmerged),
            "domain": state.domain,
            "plain": state.plain,
            "published": None if published is None else _encode_published(published),
        }
    )
    only = state.domain if state.only_of(state.domain) else ""
    name = only.encode()
    return b"".join((_WHOSE.pack(len(name)), name, bytes(cramjam.zstd.compress(raw, 1))))


def _encode_published(published: Published) -> bytes:
    columns = columns_of(published.rows)
    columns["value"] = published.values
    columns["first_points"] = published.first_points
    columns["revision"] = published.revisions
    columns["deleted"] = published.deleted.astype(np.uint8)
    if published.histograms is not None:
        columns["histogram"] = published.histograms
    return encode_table(Table(columns))


def stored_window(block: bytes) -> Stored[WindowState]:
    """The window of a block, read when it is needed."""
    if block.startswith(_ZSTD):  # as older releases wrote it
        state = _decode_window(block)
        return Stored(state.domain if state.only_of(state.domain) else "", lambda: state)
    head = _WHOSE.size + _WHOSE.unpack_from(block)[0]
    only = block[_WHOSE.size : head].decode()
    return Stored(only, lambda: _decode_window(memoryview(block)[head:]))


def _decode_window(squeezed: bytes | memoryview) -> WindowState:
    stored: dict[str, Any] = msgspec.msgpack.decode(cramjam.zstd.decompress(squeezed))
    state = WindowState(
        sealed={s: [from_table(decode_table(raw))] for s, raw in stored["sealed"].items()},
        waiting=[(s, at, from_table(decode_table(raw))) for s, at, raw in stored["waiting"]],
        unmerged=set(stored["unmerged"]),
        domain=stored["domain"],
        plain=stored.get("plain", False),
    )
    if stored["published"] is not None:
        table = decode_table(stored["published"])
        state.published = Published(
            from_table(table),
            table.array("value").astype(np.float64),
            table.array("first_points").astype(np.int64),
            table.array("revision").astype(np.int64),
            table.array("deleted").astype(np.bool_),
            table.strings("histogram") if "histogram" in table.columns else None,
        )
    return state


def encode_meta(
    windows: Windows, definitions: list[dict[str, Any]], limits: Limits, position: int
) -> bytes:
    """The block of all that is not a window."""
    domains = {
        name: {
            "epochs": {topic: [e.sources, e.since, e.until] for topic, e in domain.epochs.items()},
            "closed": domain.closed,
            "told": domain.told,
            "seals": [
                [source, pane, s.frontier, s.revisable, s.holds, s.untils, s.offsets, s.idle]
                for (source, pane), s in domain.seals.items()
            ],
        }
        for name, domain in windows.domains.items()
    }
    return json.dumps(
        {
            "format": FORMAT,
            "position": position,
            "definitions": definitions,
            "domains": domains,
            "forgotten": windows.forgotten,
            "swept": windows.swept,
            "rows_refused": windows.rows_refused,
            "limits": limits.to_meta(),
        }
    ).encode()


def restore(
    blocks: Iterable[tuple[bytes, bytes]], windows: Windows, series: FinalSeries, limits: Limits
) -> tuple[list[dict[str, Any]], int | None]:
    """Load blocks into `windows`, `series` and `limits`.

    Returns the definitions and the position (None: no state).

    Raises:
        Fatal: The state is of a format that this program does not read.
    """
    definitions: list[dict[str, Any]] = []
    position: int | None = None
    present: dict[bytes, bytes] = {}
    tables: dict[bytes, bytes] = {}
    for key, value in blocks:
        if key == META:
            meta = cast("dict[str, Any]", json.loads(value))
            if not OLDEST <= meta["format"] <= FORMAT:
                raise Fatal(
                    f"the state of this task is of format {meta['format']}, this program reads "
                    f"formats {OLDEST} to {FORMAT}",
                    "Run the release that wrote it, or a newer one",
                )
            definitions, position = meta["definitions"], int(meta["position"])
            windows.rows_refused = meta["rows_refused"]
            limits.restore(meta["limits"])
            windows.swept = meta["swept"]
            windows.forgotten = {pane: (a, b) for pane, (a, b) in meta["forgotten"].items()}
            for name, stored in meta["domains"].items():
                epochs = {topic: Epoch(*epoch) for topic, epoch in stored["epochs"].items()}
                domain = Domain(epochs, closed=stored["closed"], told=stored["told"])
                for source, pane, *seals in stored["seals"]:
                    domain.seals[source, pane] = Seals(*seals)
                windows.domains[name] = domain
        elif key.startswith(_PREFIX):
            windows.states.put(_window_of(key), stored_window(value))
        elif key.startswith(_SERIES):
            tables[key[len(_SERIES) :]] = value
        elif key.startswith(_PRESENT):
            present[key[len(_PRESENT) :]] = value
    for name, block in tables.items():
        domain, pane, level = name.decode().split("|")
        series.tables[domain, pane, int(level)] = _decode_series(block, present.get(name))
    return definitions, position
