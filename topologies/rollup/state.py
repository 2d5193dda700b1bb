"""The state of a roll-up task as blocks: one a window, and one for all the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

import cramjam
import msgspec
import numpy as np

from streams.batch import Table, decode_table, encode_table
from topologies.partials import PartialRows, columns_of, from_table
from topologies.rollup.groups import Published
from topologies.rollup.windows import Domain, Seals, Window, Windows, WindowState

FORMAT = 1
META = b"meta"
_PREFIX = b"window/"


def block_of(window: Window) -> bytes:
    """The key of a window's block."""
    pane, level, end = window
    return _PREFIX + f"{pane}|{level}|{end}".encode()


def _window_of(block: bytes) -> Window:
    pane, level, end = block[len(_PREFIX) :].decode().split("|")
    return pane, int(level), int(end)


def encode_window(state: WindowState) -> bytes:
    """A window's block."""
    published = state.published
    raw = msgspec.msgpack.encode(
        {
            "sealed": {
                source: encode_table(Table(columns_of(PartialRows.join(parts))))
                for source, parts in state.sealed.items()
            },
            "waiting": [
                [source, encode_table(Table(columns_of(rows)))] for source, rows in state.waiting
            ],
            "unmerged": sorted(state.unmerged),
            "domain": state.domain,
            "published": None if published is None else _encode_published(published),
        }
    )
    return bytes(cramjam.zstd.compress(raw, 1))


def _encode_published(published: Published) -> bytes:
    columns = columns_of(published.rows)
    columns["value"] = published.values
    columns["first_points"] = published.first_points
    columns["revision"] = published.revisions
    return encode_table(Table(columns))


def decode_window(block: bytes) -> WindowState:
    """The window of a block."""
    stored: dict[str, Any] = msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(block)))
    state = WindowState(
        sealed={s: [from_table(decode_table(raw))] for s, raw in stored["sealed"].items()},
        waiting=[(s, from_table(decode_table(raw))) for s, raw in stored["waiting"]],
        unmerged=set(stored["unmerged"]),
        domain=stored["domain"],
    )
    if stored["published"] is not None:
        table = decode_table(stored["published"])
        state.published = Published(
            from_table(table),
            table.array("value").astype(np.float64),
            table.array("first_points").astype(np.int64),
            table.array("revision").astype(np.int64),
        )
    return state


def encode_meta(windows: Windows, definitions: list[dict[str, Any]], position: int) -> bytes:
    """The block of all that is not a window."""
    domains = {
        name: {
            "sources": domain.sources,
            "closed": domain.closed,
            "seals": [
                [source, pane, s.frontier, s.revisable, s.untils, s.offsets, s.idle]
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
        }
    ).encode()


def restore(
    blocks: Iterable[tuple[bytes, bytes]], windows: Windows
) -> tuple[list[dict[str, Any]], int | None]:
    """Load blocks into `windows`; returns the definitions and the position (None: no state)."""
    definitions: list[dict[str, Any]] = []
    position: int | None = None
    for key, value in blocks:
        if key == META:
            meta = cast("dict[str, Any]", json.loads(value))
            definitions, position = meta["definitions"], int(meta["position"])
            windows.rows_refused = meta["rows_refused"]
            windows.swept = meta["swept"]
            windows.forgotten = {pane: (a, b) for pane, (a, b) in meta["forgotten"].items()}
            for name, stored in meta["domains"].items():
                domain = Domain(stored["sources"], closed=stored["closed"])
                for source, pane, *seals in stored["seals"]:
                    domain.seals[source, pane] = Seals(*seals)
                windows.domains[name] = domain
        elif key.startswith(_PREFIX):
            windows.states[_window_of(key)] = decode_window(value)
    return definitions, position
