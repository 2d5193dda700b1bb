"""The state of a pre-aggregation task as blocks.

Points of open panes are not among them: they are read from the log again, from the first record
that holds one. What seals goes to the next topic and is forgotten here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np

from metric_registry.plan import Plan
from streams.errors import Fatal
from streams.kernels.fold import BASE_WIDTH
from streams.kernels.rows import STREAM_WIDTH
from topologies.preaggregate.aggregation import Aggregation, PaneIndex
from topologies.preaggregate.intake import Intake
from topologies.preaggregate.panes import I64, StreamRows, empty_bases

if TYPE_CHECKING:
    from topologies.preaggregate.processor import Counts

FORMAT = 1
BASES_A_BLOCK = 4096
INDEX_SPAN = 64  # panes a block

_META = b"meta"
_PLAN = b"plan"


def counts_of(counts: Counts) -> dict[str, int]:
    """The counts by name."""
    return asdict(counts)


class Blocks:
    """What of the state has been saved, so that a snapshot holds only what changed."""

    def __init__(self) -> None:
        self._saved_streams = 0
        self._saved_bases: dict[str, I64] = {}
        self._restored_bases: dict[str, dict[int, I64]] = {}
        self._plan_saved = False

    # --- writing -----------------------------------------------------------------------------

    def changed(
        self,
        meta: dict[str, Any],
        intake: Intake,
        aggregations: Sequence[Aggregation],
        plan: Plan,
    ) -> dict[bytes, bytes | None]:
        """The blocks that changed since the last call; None deletes one."""
        blocks: dict[bytes, bytes | None] = {}
        if not self._plan_saved:
            blocks[_PLAN] = plan.to_json()
            self._plan_saved = True
        for number, block in enumerate(intake.series.export_new(self._saved_streams)):
            blocks[f"series/{self._saved_streams:012}/{number:06}".encode()] = block
        self._saved_streams = len(intake.series)
        for minute, block in intake.digests.changed_blocks():
            blocks[f"digests/{minute}".encode()] = block
        stored: dict[str, Any] = {}
        for aggregation in aggregations:
            name = aggregation.key.text()
            stored[name] = {
                "frontier": aggregation.panes.frontier,
                "pending": aggregation.pending,
                "pending_since": aggregation.pending_since,
                "dirty": [[*window, sorted(slots)] for window, slots in aggregation.dirty.items()],
            }
            blocks.update(self._bases(name, aggregation))
            blocks.update(_open_rows(name, aggregation))
            blocks.update(_index(name, aggregation))
        body = {"format": FORMAT, "plan": plan.hash, **meta, "aggregations": stored}
        blocks[_META] = json.dumps(body).encode()
        return blocks

    def _bases(self, name: str, aggregation: Aggregation) -> dict[bytes, bytes | None]:
        bases = aggregation.panes.bases
        saved = self._saved_bases.get(name)
        blocks: dict[bytes, bytes | None] = {}
        for start in range(0, len(bases), BASES_A_BLOCK):
            part = bases[start : start + BASES_A_BLOCK]
            if saved is not None and np.array_equal(saved[start : start + len(part)], part):
                continue
            blocks[f"bases/{name}/{start}".encode()] = _squeeze(part.tobytes())
        self._saved_bases[name] = bases.copy()
        return blocks

    # --- reading -----------------------------------------------------------------------------

    def restore(
        self,
        blocks: Iterable[tuple[bytes, bytes]],
        intake: Intake,
        aggregations: Sequence[Aggregation],
        plan: Plan,
    ) -> dict[str, Any] | None:
        """Load blocks; returns the meta that `changed` was given, or None: there is no state."""
        meta: dict[str, Any] | None = None
        series: list[tuple[bytes, bytes]] = []
        by_name = {aggregation.key.text(): aggregation for aggregation in aggregations}
        for key, value in blocks:
            kind, _, rest = key.partition(b"/")
            if key == _META:
                meta = json.loads(value)
            elif kind == b"series":
                series.append((rest, value))
            elif kind == b"digests":
                intake.digests.restore(int(rest), value)
            elif kind in (b"bases", b"rows", b"index"):
                text, _, number = rest.decode().rpartition("|" if kind == b"rows" else "/")
                _restore_one(kind, text, number, value, by_name, self._restored_bases)
        if meta is None:
            return None
        if meta["format"] != FORMAT or meta["plan"] != plan.hash:
            raise Fatal(
                f"the state of this task is of plan {meta['plan']}, format {meta['format']}; the "
                f"definitions in force make plan {plan.hash}, format {FORMAT}",
                "Start with the definitions it was made with, or under another application name",
            )
        intake.series.load([block for _, block in sorted(series)])
        self._saved_streams = len(intake.series)
        self._plan_saved = True
        for name, stored in meta["aggregations"].items():
            aggregation = by_name[name]
            aggregation.panes.frontier = stored["frontier"]
            aggregation.pending = [(slot, time) for slot, time in stored["pending"]]
            aggregation.pending_since = stored["pending_since"]
            aggregation.dirty = {(a, b): set(slots) for a, b, slots in stored["dirty"]}
        return meta

    def restore_bases(self, aggregations: Sequence[Aggregation]) -> None:
        """Put base lines back, once the aggregations know how many streams there are."""
        for aggregation in aggregations:
            name = aggregation.key.text()
            parts = self._restored_bases.pop(name, {})
            size = max((start + len(part) for start, part in parts.items()), default=0)
            aggregation.panes.grow(size)
            bases = empty_bases(len(aggregation.panes.bases))
            for start, part in parts.items():
                bases[start : start + len(part)] = part
            aggregation.panes.bases = bases
            self._saved_bases[name] = bases.copy()


def _squeeze(raw: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(raw, 1))


def _unsqueeze(block: bytes) -> bytes:
    return bytes(cramjam.zstd.decompress(block))


def _open_rows(name: str, aggregation: Aggregation) -> dict[bytes, bytes | None]:
    blocks: dict[bytes, bytes | None] = {}
    for level, end in aggregation.panes.changed_rows:
        rows = aggregation.panes.open_rows.get((level, end))
        key = f"rows/{name}|{level}:{end}".encode()
        blocks[key] = None if rows is None else _squeeze(_rows_bytes(rows))
    aggregation.panes.changed_rows.clear()
    return blocks


def _rows_bytes(rows: StreamRows) -> bytes:
    spills = json.dumps([[*key, str(amount)] for key, amount in rows.spills.items()]).encode()
    head = len(rows.slots).to_bytes(8, "little") + len(spills).to_bytes(8, "little")
    return head + spills + rows.slots.tobytes() + rows.rows.tobytes()


def _rows_of(raw: bytes) -> StreamRows:
    count, size = int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:16], "little")
    spills = {(slot, column): int(n) for slot, column, n in json.loads(raw[16 : 16 + size])}
    slots = np.frombuffer(raw, np.int32, count, 16 + size).copy()
    rows = np.frombuffer(raw, np.int64, count * STREAM_WIDTH, 16 + size + 4 * count)
    return StreamRows(slots, rows.reshape(count, STREAM_WIDTH).copy(), spills)


def _index(name: str, aggregation: Aggregation) -> dict[bytes, bytes | None]:
    pane = aggregation.key.pane
    spans = {end // pane // INDEX_SPAN for end in aggregation.changed_index}
    aggregation.changed_index.clear()
    by_span: dict[int, list[list[int]]] = {span: [] for span in spans}
    for end, entry in aggregation.index.items():
        span = end // pane // INDEX_SPAN
        if span in by_span:
            by_span[span].append([end, entry.first, entry.last, entry.watermark])
    return {
        f"index/{name}/{span}".encode(): json.dumps(rows).encode() if rows else None
        for span, rows in by_span.items()
    }


def _restore_one(
    kind: bytes,
    name: str,
    number: str,
    value: bytes,
    by_name: dict[str, Aggregation],
    bases: dict[str, dict[int, I64]],
) -> None:
    aggregation = by_name.get(name)
    if aggregation is None:  # of another plan; `Blocks.restore` says so
        return
    if kind == b"rows":
        level, end = (int(part) for part in number.split(":"))
        aggregation.panes.open_rows[level, end] = _rows_of(_unsqueeze(value))
    elif kind == b"index":
        for end, first, last, watermark in json.loads(value):
            aggregation.index[end] = PaneIndex(first, last, watermark)
    else:
        part = np.frombuffer(_unsqueeze(value), np.int64).reshape(-1, BASE_WIDTH)
        bases.setdefault(name, {})[int(number)] = part.copy()
