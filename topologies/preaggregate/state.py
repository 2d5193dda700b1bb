"""The state of a pre-aggregation task as blocks.

Points of open panes are not among them: they are read from the log again, from the first record
that holds one. What seals goes to the next topic; here stay the rows of the windows that `Panes`
keeps, and where in the log the points of panes are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np

from streams.errors import Fatal
from streams.kernels.fold import BASE_WIDTH
from streams.kernels.rows import STREAM_WIDTH
from topologies.deployment import Deployment
from topologies.preaggregate.aggregation import Aggregation
from topologies.preaggregate.columns import Late, Members
from topologies.preaggregate.forgetting import Forgetting
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.intake import Intake
from topologies.preaggregate.ledger import Refusal
from topologies.preaggregate.memberships import Memberships
from topologies.preaggregate.panes import I64, StreamRows, empty_bases
from topologies.preaggregate.ranges import PaneIndex, Range
from topologies.preaggregate.readings import Readings

FORMAT = 10
OLDER = 9
"""A format that lacks what streams belong to: it is read, and found out anew."""
STORES = {
    "series": f"series, their base lines and what they match, format {OLDER}",
    "windows": f"rows of sealed windows, and where the points of open ones are, format {OLDER}",
    "repeats": f"digests of records, and points seen, format {OLDER}",
}
"""What a task keeps, as its topology declares it: one that is not read on is another meaning."""
BASES_A_BLOCK = 4096
INDEX_SPAN = 64  # panes a block

_META = b"meta"
_PLAN = b"plan"
_READINGS = b"readings/"
_MEMBERS = b"members/"
_SEEN = b"seen/"


@dataclass(frozen=True, slots=True)
class Restored:
    """Blocks of a snapshot: the meta that `Blocks.changed` was given, and what was deployed."""

    meta: dict[str, Any]
    deployment: Deployment
    blocks: dict[bytes, bytes]


class Blocks:
    """What of the state has been saved, so that a snapshot holds only what changed."""

    def __init__(self) -> None:
        self.memberships = Memberships()
        self._saved_streams = 0
        self._series: list[bytes] = []
        self._gone_series: list[bytes] = []
        """Keys of blocks of series, and of those that are of no more use."""
        self._saved_bases: dict[str, I64] = {}
        self._restored_bases: dict[str, dict[int, I64]] = {}
        self._saved_plan: bytes | None = None
        self._written: Deployment | None = None
        """What `_saved_plan` was written of."""
        self._saved_joined: dict[str, int] = {}

    # --- writing -----------------------------------------------------------------------------

    def changed_members(self, groups: Groups) -> dict[bytes, bytes | None]:
        """The blocks of memberships that changed since the last call; None deletes one."""
        changed = self.memberships.changed_blocks(groups)
        return {_MEMBERS + b"%d" % number: block for number, block in changed}

    def changed(
        self,
        meta: dict[str, Any],
        intake: Intake,
        aggregations: Sequence[Aggregation],
        deployment: Deployment,
    ) -> dict[bytes, bytes | None]:
        """The blocks that changed since the last call; None deletes one."""
        blocks: dict[bytes, bytes | None] = {}
        if deployment is not self._written:  # tables of lookups are too much to write each time
            self._written, deployed = deployment, deployment.to_json()
            if deployed != self._saved_plan:
                blocks[_PLAN] = self._saved_plan = deployed
        blocks.update(dict.fromkeys(self._gone_series))
        self._gone_series = []
        for number, block in enumerate(intake.series.export_new(self._saved_streams)):
            key = f"series/{self._saved_streams:012}/{number:06}".encode()
            blocks[key] = block
            self._series.append(key)
        self._saved_streams = len(intake.series)
        for minute, block in intake.digests.changed_blocks():
            blocks[f"digests/{minute}".encode()] = block
        for span, block in intake.repeats.changed_blocks():
            blocks[f"repeats/{span}".encode()] = block
        stored: dict[str, Any] = {}
        for aggregation in aggregations:
            name = aggregation.key.text()
            stored[name] = {
                "frontier": aggregation.panes.frontier,
                "pending": aggregation.pending,
                "pending_since": aggregation.pending_since,
                "over": aggregation.over,
                "told": aggregation.told,
                "whole_from": aggregation.whole_from,
            }
            blocks.update(self._bases(name, aggregation))
            blocks.update(_rows(name, aggregation))
            blocks.update(_index(name, aggregation))
            chains = aggregation.panes.chains
            if chains.changed:
                blocks[f"chains/{name}/0".encode()] = _squeeze(chains.encode())
                chains.changed = False
            if self._saved_joined.get(name, 0) != len(aggregation.joined):
                self._saved_joined[name] = len(aggregation.joined)
                blocks[f"joined/{name}/0".encode()] = _squeeze(aggregation.joined.tobytes())
        body = {"format": FORMAT, **meta, "aggregations": stored}
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
        shorter = -(-len(bases) // BASES_A_BLOCK) * BASES_A_BLOCK
        for start in range(shorter, 0 if saved is None else len(saved), BASES_A_BLOCK):
            blocks[f"bases/{name}/{start}".encode()] = None
        self._saved_bases[name] = bases.copy()
        return blocks

    def renumbered(self) -> None:
        """Slots have other numbers: all that is kept by slot is written once more."""
        self._gone_series += self._series
        self._series, self._saved_streams = [], 0
        self._saved_joined = dict.fromkeys(self._saved_joined, -1)

    # --- reading -----------------------------------------------------------------------------

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> Restored | None:
        """Sort blocks out; None: there is no state.

        Raises:
            Fatal: The state is of a format that this program does not read.
        """
        found = dict(blocks)
        if _META not in found:
            return None
        meta = json.loads(found[_META])
        if meta["format"] not in (OLDER, FORMAT):
            raise Fatal(
                f"the state of this task is of format {meta['format']}, this program reads "
                f"format {FORMAT}",
                "Run the release that wrote it, or a newer one",
            )
        self._saved_plan = found[_PLAN]
        return Restored(meta, Deployment.from_json(found[_PLAN]), found)

    def fill(self, restored: Restored, intake: Intake, aggregations: Sequence[Aggregation]) -> None:
        """Put everything but base lines into its place."""
        series: list[tuple[bytes, bytes]] = []
        by_name = {aggregation.key.text(): aggregation for aggregation in aggregations}
        for key, value in restored.blocks.items():
            kind, _, rest = key.partition(b"/")
            if kind == b"series":
                series.append((rest, value))
                self._series.append(key)
            elif kind == b"digests":
                intake.digests.restore(int(rest), value)
            elif kind == b"repeats":
                intake.repeats.restore(int(rest), value)
            elif kind in (b"bases", b"rows", b"states", b"index", b"joined", b"chains"):
                of_window = kind in (b"rows", b"states")
                text, _, number = rest.decode().rpartition("|" if of_window else "/")
                if text in by_name:  # not of a pane key that went with its definitions
                    self._fill_one(kind, by_name[text], number, value)
        intake.series.load([block for _, block in sorted(series)])
        self._saved_streams = len(intake.series)
        for name, stored in restored.meta["aggregations"].items():
            aggregation = by_name[name]
            aggregation.panes.frontier = stored["frontier"]
            aggregation.pending = [Late(*late) for late in stored["pending"]]
            aggregation.pending_since = stored["pending_since"]
            aggregation.over = stored["over"]
            aggregation.told = stored.get("told", stored["frontier"])  # up to the release before
            aggregation.whole_from = stored["whole_from"]

    def _fill_one(self, kind: bytes, aggregation: Aggregation, number: str, value: bytes) -> None:
        if kind == b"rows":
            level, end = (int(part) for part in number.split(":"))
            aggregation.panes.rows[level, end] = _rows_of(_unsqueeze(value))
        elif kind == b"states":
            level, end = (int(part) for part in number.split(":"))
            aggregation.panes.states.decode((level, end), _unsqueeze(value))
        elif kind == b"index":
            for end, ranges in json.loads(value):
                aggregation.index[end] = PaneIndex([Range(*each) for each in ranges])
        elif kind == b"chains":
            aggregation.panes.chains.restore(_unsqueeze(value))
        elif kind == b"joined":
            aggregation.joined = np.frombuffer(_unsqueeze(value), np.int64).copy()
            self._saved_joined[aggregation.key.text()] = len(aggregation.joined)
        else:
            part = np.frombuffer(_unsqueeze(value), np.int64).reshape(-1, BASE_WIDTH)
            parts = self._restored_bases.setdefault(aggregation.key.text(), {})
            parts[int(number)] = part.copy()

    def restore_members(
        self, restored: Restored, groups: Groups, streams: int, slots: int
    ) -> tuple[Members, dict[int, list[Refusal]]] | None:
        """What streams belong to, and who refuses them; None: it has to be found out anew."""
        stored = {
            int(key.removeprefix(_MEMBERS)): block
            for key, block in restored.blocks.items()
            if key.startswith(_MEMBERS)
        }
        meta = restored.meta.get("members", {})
        return self.memberships.restore(meta, stored, groups, streams, slots)

    def fill_seen(
        self, restored: Restored, forgetting: Forgetting, streams: int, newest: int
    ) -> None:
        """Put back when streams were heard of."""
        blocks = [
            (int(key.removeprefix(_SEEN)), value)
            for key, value in restored.blocks.items()
            if key.startswith(_SEEN)
        ]
        forgetting.restore(blocks, streams, newest)

    def fill_readings(self, restored: Restored, readings: Readings, streams: int) -> None:
        """Put the readings of `streams` series back."""
        blocks = [
            (int(key.removeprefix(_READINGS)), value)
            for key, value in restored.blocks.items()
            if key.startswith(_READINGS)
        ]
        readings.restore(restored.meta["conversions"], blocks, streams)

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


def seen_blocks(forgetting: Forgetting) -> dict[bytes, bytes | None]:
    """The blocks of when streams were heard of that changed since the last call."""
    return {_SEEN + b"%d" % start: block for start, block in forgetting.changed_blocks()}


def readings_blocks(readings: Readings) -> dict[bytes, bytes | None]:
    """The blocks of readings that changed since the last call."""
    return {_READINGS + b"%d" % start: block for start, block in readings.changed_blocks()}


def _squeeze(raw: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(raw, 1))


def _unsqueeze(block: bytes) -> bytes:
    return bytes(cramjam.zstd.decompress(block))


def _rows(name: str, aggregation: Aggregation) -> dict[bytes, bytes | None]:
    blocks: dict[bytes, bytes | None] = {}
    for level, end in aggregation.panes.changed_rows:
        rows = aggregation.panes.rows.get((level, end))
        key = f"rows/{name}|{level}:{end}".encode()
        blocks[key] = None if rows is None else _squeeze(_rows_bytes(rows))
        if aggregation.panes.states:
            states = b"" if rows is None else aggregation.panes.states.encode((level, end))
            blocks[b"states" + key[len(b"rows") :]] = _squeeze(states) if states else None
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
    by_span: dict[int, list[list[Any]]] = {span: [] for span in spans}
    for end, entry in aggregation.index.items():
        span = end // pane // INDEX_SPAN
        if span in by_span:
            by_span[span].append([end, entry.ranges])
    return {
        f"index/{name}/{span}".encode(): json.dumps(rows).encode() if rows else None
        for span, rows in by_span.items()
    }
