"""The roll-up task: partials of one shard partition in, rollups and final metrics out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streams.aggregates.needed import require
from streams.batch import decode_table
from streams.event_time.windows import EARLIEST
from streams.queries.questions import Part, Question
from streams.task.processor import InputRange, InputRecord, OutputRecord
from topologies.cardinality import Share, share_of
from topologies.epochs import Epoch
from topologies.partials import PartialRows, from_table
from topologies.queries.questions import part_of, question_of
from topologies.results import nothing
from topologies.rollup.final import Closing, Contract, Correction, FinalSeries
from topologies.rollup.groups import difference, finishing
from topologies.rollup.held_windows import held_windows
from topologies.rollup.ledger import Limits
from topologies.rollup.messages import final_requests, rollup_tables
from topologies.rollup.state import (
    META,
    block_of,
    blocks_of_series,
    encode_meta,
    encode_window,
    restore,
)
from topologies.rollup.upserts import upserts
from topologies.rollup.windows import Publication, Windows
from topologies.windows import level_of

ROLLUPS = "telemetry.rollups"
FINAL = "metrics"
UPSERTS = "rollups"
PROGRESS = "telemetry.progress"
LEDGER = "telemetry.ledger"


class RollupProcessor:
    """A `streams.task.processor.Processor` over `telemetry.partials`.

    Args:
        partition: Of the input, and of the outputs.
        live: The topic whose event time drops windows past their correction horizon.
    """

    def __init__(self, partition: int, live: str = "telemetry.raw") -> None:
        self._partition = partition
        self._live = live
        self._definitions: list[dict[str, Any]] = []
        self._ids: dict[tuple[str, str], int] = {}
        self._finishes: list[str] = []
        self._shares: list[Share] = []
        self._windows = Windows(self._finishes, self._shares)
        self._series = FinalSeries()
        self._limits = Limits()
        self._outputs: list[OutputRecord] = []
        self._dropped: set[bytes] = set()
        self._replay_from: int | None = None
        self._published = 0

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        definitions, self._replay_from = restore(blocks, self._windows, self._series, self._limits)
        for definition in definitions:
            self._define(definition)

    def _define(self, definition: dict[str, Any]) -> int:
        key = (definition["name"], definition["version"])
        index = self._ids.get(key)
        if index is None:
            index = len(self._definitions)
            self._ids[key] = index
            self._definitions.append(definition)
            self._finishes.append(finishing(definition))
            self._shares.append(share_of(definition["limit"]))
        elif self._definitions[index] == definition:
            return index
        self._definitions[index] = definition  # how it is published is no part of its version
        self._series.define(index, _contract(definition))
        return index

    def replay_from(self) -> int | None:
        return self._replay_from

    def process(self, records: Sequence[InputRecord]) -> int:
        for record in records:
            if record.value is not None:
                self._take(record.value)
        return len(records)

    def _take(self, value: bytes) -> None:
        table = decode_table(value)
        meta = table.meta
        require((d["name"], d["over_points"]) for d in meta["definitions"] if d["over_points"])
        pane, source = meta["pane"], meta["source"]
        if table.rows:
            rows = self._with_our_indexes(from_table(table), meta["definitions"])
            replaces = meta["kind"] == "revision"
            self._emit(self._windows.take(pane, source, rows, replaces, meta["offset"]))
            self._correct(meta["domain"])
        if meta["kind"] == "seal" and meta["last"]:
            before = self._windows.closed(meta["domain"], pane)
            published = self._windows.sealed(
                Epoch(meta["sources"], *meta["epoch"]), source, pane, meta["until"],
                meta["offset"], meta["idle"], meta["revisable"], meta["holds"],
            )  # fmt: skip
            self._emit(published)
            self._series.sealed(meta["domain"], pane, source, meta["offset"], meta["until"])
            self._correct(meta["domain"])
            self._close(meta["domain"], pane, before)
            self._tell(meta["domain"], pane, before, published)
            self._tell_ledger(meta["domain"], pane)
            for window in self._windows.forget(self._live, pane):
                self._dropped.add(block_of(window))

    def _correct(self, domain: str) -> None:
        """Let what sources replaced travel with later points, where definitions ask for it."""
        replaced, self._windows.replacements = self._windows.replacements, []
        for one in replaced:
            chosen = np.flatnonzero(self._series.carries(one.rows.definition))
            if not len(chosen):
                continue
            amounts = difference(one.rows.take(chosen), one.before)
            correction = Correction(one.source, one.offset, one.reached, amounts)
            self._series.correct(domain, one.window[0], one.window[1], correction)

    def _close(self, domain: str, pane: str, before: int) -> None:
        """Publish on the final topic what has closed."""
        firsts, self._windows.firsts = self._windows.firsts, []
        until = self._windows.closed(domain, pane)
        if until == before:
            return
        closings = [
            Closing(f.window[1], f.window[2], f.rows, f.values, histograms=f.histograms)
            for f in firsts
        ]
        told = self._windows.domains[domain].told.get(pane, EARLIEST)
        points = self._series.close(domain, pane, until, told, closings)
        for value in final_requests(points, self._definitions, self._live):
            headers = (("encoding", b"otlp"),)
            self._outputs.append(OutputRecord(FINAL, self._partition, None, value, headers))

    def _tell(self, domain: str, pane: str, before: int, published: list[Publication]) -> None:
        """Report to the manager what has closed."""
        until = self._windows.closed(domain, pane)
        if until == before:
            return
        reducer = f"telemetry.partials/{self._partition}"
        body = {
            "kind": "closed", "domain": domain, "reducer": reducer, "pane": pane,
            "after": before, "until": until,
            "windows": len({publication.window for publication in published}),
            "rows": sum(len(publication.rows) for publication in published),
        }  # fmt: skip
        key = f"{reducer}|{domain}|{pane}|{until}".encode()  # none replaces another
        self._outputs.append(OutputRecord(PROGRESS, 0, key, json.dumps(body).encode()))

    def _tell_ledger(self, domain: str, pane: str) -> None:
        fills, self._windows.fills = self._windows.fills, []
        until = self._windows.closed(domain, pane)
        self._limits.closed(domain, pane, until, fills, self._definitions)
        reducer = f"telemetry.partials/{self._partition}"
        row = self._limits.news(reducer)
        if row is not None:
            self._outputs.append(OutputRecord(LEDGER, 0, reducer.encode(), row))

    def _with_our_indexes(self, rows: PartialRows, described: list[dict[str, Any]]) -> PartialRows:
        ours = np.array([self._define(definition) for definition in described], np.uint16)
        return replace(rows, definition=ours[rows.definition])

    def _emit(self, publications: list[Publication]) -> None:
        if not publications:
            return
        self._published += sum(len(publication.rows) for publication in publications)
        for value in rollup_tables(publications, self._definitions):
            self._outputs.append(OutputRecord(ROLLUPS, self._partition, None, value))
        for key, value in upserts(publications, self._definitions):
            self._outputs.append(OutputRecord(UPSERTS, self._partition, key, value))

    def needs(self) -> InputRange | None:
        return None

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        raise AssertionError("a roll-up never asks for past records")

    def outputs(self) -> list[OutputRecord]:
        drained, self._outputs = self._outputs, []
        return drained

    def urgent(self) -> bool:
        return bool(self._outputs)

    def before_commit(self, position: int) -> list[OutputRecord]:
        return []

    def idle(self, now_ms: int) -> list[OutputRecord]:
        return []

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        blocks: dict[bytes, bytes | None] = dict.fromkeys(self._dropped)
        self._dropped = set()
        for window in self._windows.changed:
            state = self._windows.states.get(window)
            if state is not None:
                blocks[block_of(window)] = encode_window(state)
        self._windows.changed.clear()
        for key in self._series.changed:
            blocks.update(blocks_of_series(key, self._series.tables.get(key)))
        self._series.changed.clear()
        blocks[META] = encode_meta(self._windows, self._definitions, self._limits, position)
        return blocks

    def query(self, question: Question) -> Part:
        """What the windows of a metric hold here."""
        return part_of(held_windows(self._windows, self._definitions, question_of(question)))

    def stats(self) -> dict[str, Any]:
        """Open and closed windows, frontiers by domain, rows published and refused."""
        frontiers = {
            name: {pane: domain.frontier(pane) for pane in domain.closed}
            for name, domain in self._windows.domains.items()
        }
        waiting = {
            name: sorted({source for source, _ in domain.seals} if len(domain.seals) else [])
            for name, domain in self._windows.domains.items()
        }
        return {
            "windows": len(self._windows.states),
            "frontiers": frontiers,
            "sources": waiting,
            "rows_published": self._published,
            "rows_refused": self._windows.rows_refused,
            "limits": self._limits.rows(),
            "final_series": sum(table.series for table in self._series.tables.values()),
        }


def _contract(definition: dict[str, Any]) -> Contract:
    adds_up = definition["instrument"] != "gauge"
    return Contract(
        final=definition["final"],
        adds_up=adds_up,
        cumulative=adds_up and definition["temporality"] == "cumulative",
        carry=definition["instrument"] == "sum" and definition["late"] == "carry",
        expire_after={
            level_of(granularity, definition["zone_rules"]): windows
            for granularity, windows in definition["expire_after"]
        },
        finish=finishing(definition),
        share=share_of(definition["limit"]),
        nothing=nothing(definition["over_points"]),
    )
