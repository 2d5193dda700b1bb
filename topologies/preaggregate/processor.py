"""The pre-aggregation task: raw points of one partition in, sealed partials out."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.batch import encode_table
from streams.event_time.windows import EARLIEST, LATEST
from streams.queries.questions import Part, Question
from streams.task.processor import InputRange, InputRecord, OutputRecord
from topologies.deployment import Deployment
from topologies.epochs import Bounds, domain_of, first_bounds
from topologies.partials import split, to_table
from topologies.preaggregate import state
from topologies.preaggregate.aggregation import Aggregation, Found, Publishes
from topologies.preaggregate.columns import PaneKey
from topologies.preaggregate.config import PreaggregateConfig
from topologies.preaggregate.contents import Contents
from topologies.preaggregate.epochs import owned
from topologies.preaggregate.forgetting import Forgetting
from topologies.preaggregate.histograms import Contradiction
from topologies.preaggregate.intake import BATCH, Batch, Intake, idle_mark
from topologies.preaggregate.known import KnownStreams
from topologies.preaggregate.ledger import Ledger
from topologies.preaggregate.members import carries, pane_keys
from topologies.preaggregate.open_windows import open_windows
from topologies.preaggregate.outward import Job
from topologies.preaggregate.stops import Stops
from topologies.queries.questions import part_of, question_of

PARTIALS = "telemetry.partials"
PROGRESS = "telemetry.progress"
LEDGER = "telemetry.ledger"
DEAD_LETTER = "telemetry.dead-letter"


class PreaggregateProcessor:
    """A `streams.task.processor.Processor` over `telemetry.raw` or a history topic."""

    def __init__(self, config: PreaggregateConfig, topic: str, partition: int) -> None:
        self._config = config
        self._topic = topic
        self._partition = partition
        self._source = f"{topic}/{partition}"
        self._domain = domain_of(topic)
        self._live = self._domain == config.live
        self.bounds = first_bounds(topic)
        self._intake = Intake(self._live, config.key, config.stream_gap, self.bounds)
        self.deployed = config.wanted
        self._keep_from = config.keep_from
        self.ledger = Ledger()
        self._blocks = state.Blocks()
        self._known = KnownStreams(
            self.deployed.plan,
            self._intake.series,
            Forgetting(config.stream_gap, config.forget_above),
            self.ledger.refusals,
            self._blocks,
            Contents(config.compact_above),
        )
        self.aggregations = self._aggregations()
        self.watermark = EARLIEST
        self.received = 0
        self._receipt = 0  # of data, by edges' clocks
        self.newest = EARLIEST
        self._position = 0
        self._replay_from: int | None = None
        self._refill_until = 0
        self._jobs: deque[Job] = deque()
        self._outputs: list[OutputRecord] = []
        self._asked_for: Deployment | None = None

    # --- restoring ---------------------------------------------------------------------------

    def _aggregations(self) -> list[Aggregation]:
        return [self._aggregation(*each) for each in pane_keys(self.deployed)]

    def _aggregation(
        self, key: PaneKey, levels: tuple[int, ...], definitions: dict[int, Publishes]
    ) -> Aggregation:
        gap, shards = self._config.stream_gap, self._config.shard_partitions
        made = Aggregation(
            key, levels, definitions, gap, shards, self._keep_from, self._known.groups,
            self._known.contents,
        )  # fmt: skip
        made.enter(self.bounds)
        return made

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        restored = self._blocks.restore(blocks)
        if restored is None:
            return
        self.deployed = restored.deployment  # what was in force; `before_commit` asks for a change
        self._keep_from = restored.meta["keep_from"]  # else rows would be missing, or stay
        self.bounds = self._intake.bounds = Bounds(*restored.meta["bounds"])
        self.aggregations = self._aggregations()
        self._blocks.fill(restored, self._intake, self.aggregations)
        meta = restored.meta
        self.ledger.restore(meta["ledger"])
        members = self._known.restored(self.deployed.plan, restored)
        for aggregation in self.aggregations:
            chosen = members.of(aggregation.definitions)
            aggregation.cells.add_streams(len(self._known.readings), chosen)
            aggregation.panes.grow(aggregation.cells.streams)
        self._blocks.restore_bases(self.aggregations)
        self.watermark = meta["watermark"]
        self.received = meta["received"]
        self._receipt = self._intake.newest = meta["receipt"]
        self.newest = meta["newest"]
        self._position = meta["position"]
        self._refill_until = self._position
        self._replay_from = min(meta["refill_from"], self._position)

    def replay_from(self) -> int | None:
        return self._replay_from

    def _refill(self, records: Sequence[InputRecord]) -> None:
        """Put the points of panes that were open at the snapshot back where they were."""
        for cut in range(0, len(records), BATCH):
            part = records[cut : cut + BATCH]
            batch = self._intake.read(part, again=True)
            self._known.learn(self.aggregations)
            points, whose, _ = self._known.readings.read(batch.points, batch.record, batch.scanned)
            self._known.take(points, batch.scanned)
            for aggregation in self.aggregations:
                wanted = aggregation.cells.wanted()[points.slots]
                mask = wanted & ~aggregation.panes.late(points)
                mask &= aggregation.has_joined(points, _offsets(part)[whose])
                aggregation.panes.add(points.where(mask))

    # --- processing --------------------------------------------------------------------------

    def process(self, records: Sequence[InputRecord]) -> int:
        consumed = 0
        if not self._jobs:
            times = self.watermark, self.newest
            self._known.forget(self.aggregations, times, self._position)
        if self._refill_until and records and records[0].offset < self._refill_until:
            old = [r for r in records if r.offset < self._refill_until]
            self._refill(old)
            consumed = len(old)
        while consumed < len(records):
            part = records[consumed : consumed + BATCH]
            consumed += self._process_part(part)
            if self._jobs:
                break
        return consumed

    def _process_part(self, records: Sequence[InputRecord]) -> int:
        batch = self._intake.read(records)
        self._known.learn(self.aggregations)
        before, after = self._watermarks(batch)
        stops = self._stops()
        start = 0
        for index in range(batch.records):
            self.received = max(self.received, batch.received[index])
            if not batch.idle[index]:
                self._receipt = max(self._receipt, batch.received[index])
            self.newest = max(self.newest, batch.newest.get(index, EARLIEST))
            if index in batch.plans or index in batch.bounds:
                self._apply(batch, records, start, index, before)
                start = index
                if index in batch.plans:
                    self._adopt(batch.plans[index], records[index].offset)
                else:
                    self._enter(batch.bounds[index])
                stops = self._stops()
            marker = not self._live and batch.moves_to[index] != EARLIEST
            if batch.oldest.get(index, LATEST) <= stops.late:
                # when late points settle must not depend on batches
                self._apply(batch, records, start, index + 1, before)
                start = index + 1
                stops = self._stops()
            if not stops.due(after[index], self.received, marker):
                continue
            self._apply(batch, records, start, index + 1, before)
            start = index + 1
            self.watermark = after[index]
            self._position = records[index].offset + 1
            self._seal_and_revise(records[index].offset, batch.idle[index], marker)
            if self._jobs:
                return start
            stops = self._stops()
        self._apply(batch, records, start, batch.records, before)
        self.watermark = after[-1]
        self._position = records[-1].offset + 1
        return batch.records

    def _watermarks(self, batch: Batch) -> tuple[list[int], list[int]]:
        """The partition's watermark before and after each record."""
        after = list(itertools.accumulate(batch.moves_to, max, initial=self.watermark))
        return after[:-1], after[1:]

    def _enter(self, bounds: Bounds) -> None:
        """From this record on these are the bounds of the topic's epoch."""
        self.bounds = self._intake.bounds = bounds
        for aggregation in self.aggregations:
            aggregation.enter(bounds)

    def _stops(self) -> Stops:
        return Stops.of(self.aggregations, self.bounds, self._config.settle)

    def _settled(self, aggregation: Aggregation, marker: bool) -> bool:
        """Late points of a history settle with its next marker, live ones after a short time."""
        since = aggregation.pending_since + self._config.settle
        return bool(aggregation.pending) and (marker or self.received >= since)

    def _apply(
        self,
        batch: Batch,
        records: Sequence[InputRecord],
        start: int,
        end: int,
        watermarks: list[int],
    ) -> None:
        """Count records [start, end): no window seals between them."""
        if start == end:
            return
        counts = self.ledger.counts
        counts.repeats += sum(start <= index < end for index in batch.repeats)
        counts.rejected += sum(n for index, n in batch.rejected.items() if start <= index < end)
        counts.negative += sum(n for index, n in batch.negative.items() if start <= index < end)
        for refused in batch.refused:
            if start <= refused.index < end:
                counts.malformed += 1
                self._dead_letter(records[refused.index], refused.code, refused.reason)
        points, whose = batch.points, batch.record
        if end - start < batch.records:
            # of the same type, or all of `whose` would be cast first
            low, high = np.searchsorted(whose, np.array((start, end), whose.dtype)).tolist()
            points, whose = points.slice(low, high), whose[low:high]
        if not len(points):
            return
        self._known.forgetting.heard(points.slots, len(self._intake.series), self.newest)
        mine = points.slots[owned(points.times, self.bounds)]
        counts.points += len(mine)
        self.ledger.refusals.count(mine)
        points, whose, told = self._known.readings.read(points, whose, batch.scanned)
        if told:
            self._tell_contradictory(records, told)
        self._known.take(points, batch.scanned)
        offsets, marks = _offsets(records), np.array(watermarks, np.int64)
        received = np.array(batch.received, np.int64)
        for aggregation in self.aggregations:
            late, beyond = aggregation.add(points, whose, offsets, marks, received)
            counts.late += late
            counts.beyond += beyond
            for found in aggregation.came:
                name = self.deployed.plan.definitions[found.definition].name
                self.ledger.lateness.count(name, found)
            aggregation.came.clear()

    def _seal_and_revise(self, offset: int, idle: bool, marker: bool) -> None:
        """Late points settle after a short time, or before the next seal, which must count them."""
        for aggregation in self.aggregations:
            frontier = aggregation.due(self.watermark)
            if aggregation.pending and (frontier is not None or self._settled(aggregation, marker)):
                redone = aggregation.revise(offset)
                job = Job(aggregation, redone, frontier, offset, idle)
                if job.begins():
                    self._jobs.append(job)
                else:
                    self._finish(job)
            elif frontier is not None:
                self._seal(aggregation, frontier, offset, idle)

    def _finish(self, job: Job) -> None:
        """Publish what late points changed, and seal what is due."""
        found = job.aggregation.revised(job.redone)
        meta = {"kind": "revision", "offset": job.offset}
        self._emit(job.aggregation, meta, found)
        if job.frontier is not None:
            self._seal(job.aggregation, job.frontier, job.offset, job.idle)

    def _seal(self, aggregation: Aggregation, frontier: int, offset: int, idle: bool) -> None:
        after = aggregation.panes.frontier
        found = aggregation.seal(frontier)
        for index, end, counts in aggregation.noticed():
            self.ledger.resets.count(self.deployed.plan.definitions[index].name, end, counts)
        aggregation.forget(self.watermark)
        self._intake.digests.forget(self._receipt)
        self._intake.repeats.forget(min(a.first_offset(offset) for a in self.aggregations))
        queued = [job.redone for job in self._jobs if job.aggregation is aggregation]
        ends = [end for redone in queued for _, end in redone.windows]
        revisable = min([aggregation.revisable(self.watermark), *ends])
        over = revisable > self.bounds.until
        meta = {
            "kind": "seal",
            "after": after,
            "until": frontier,
            "offset": offset,
            "idle": idle,
            "revisable": revisable,
            "holds": not over and carries(self.deployed.plan, aggregation.definitions),
        }
        if not aggregation.over:
            self._emit(aggregation, meta, found)
            aggregation.told = frontier
            self._outputs.append(self._progress({**meta, "pane": aggregation.key.text()}))
            aggregation.over = over
        self._tell_ledger()

    # --- recomputation -----------------------------------------------------------------------

    def needs(self) -> InputRange | None:
        if not self._jobs:
            return None
        first, last, _ = self._jobs[0].redone.ranges[0]
        return InputRange(first, last + 1)

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        job = self._jobs[0]
        for cut in range(0, len(records), BATCH):
            part = records[cut : cut + BATCH]
            batch = self._intake.read(part, again=True)
            self._known.learn(self.aggregations)
            after = list(itertools.accumulate(batch.moves_to, max, initial=job.watermark))
            job.watermark = after[-1]
            points, whose, _ = self._known.readings.read(batch.points, batch.record, batch.scanned)
            marks = np.array(after[:-1], np.int64)[whose]
            mask = job.aggregation.within_horizon(points, marks)
            offsets = _offsets(part)[whose]
            mask &= job.aggregation.has_joined(points, offsets)
            mask &= job.redone.needs(points.slots)
            kept = points.where(mask)
            self._known.take(kept, batch.scanned)
            job.redone.keep(kept, offsets[mask])
        if done:
            job.redone.has_read(job.watermark)
            if not job.begins():
                self._finish(self._jobs.popleft())

    # --- outputs -----------------------------------------------------------------------------

    def _emit(self, aggregation: Aggregation, meta: dict[str, Any], found: Found) -> None:
        rows, shards = aggregation.partial_rows(found)
        common = {
            **meta,
            "pane": aggregation.key.text(),
            **self._whose(),
        }
        key = self._source.encode()
        nothing: bytes | None = None  # says the same to all partitions without rows
        for partition, parts in split(rows, shards, self._config.shard_partitions):
            for number, part in enumerate(parts):
                if meta["kind"] == "revision" and not len(part):
                    continue
                last = number == len(parts) - 1
                value = None if len(part) else nothing
                if value is None:
                    table = to_table(part, self.deployed.plan, {**common, "last": last})
                    value = encode_table(table)
                    nothing = nothing if len(part) else value
                self._outputs.append(OutputRecord(PARTIALS, partition, key, value))

    def _whose(self) -> dict[str, Any]:
        """Who speaks, and how many there are of it."""
        return {
            "source": self._source,
            "domain": self._domain,
            "sources": self.bounds.partitions or self._config.sources,
            "epoch": [self.bounds.since, self.bounds.until],
        }

    def _progress(self, meta: dict[str, Any]) -> OutputRecord:
        body = {**meta, **self._whose(), "watermark": self.watermark}
        key = f"{self._source}|{meta['pane']}".encode()  # the newest says it all
        return OutputRecord(PROGRESS, 0, key, json.dumps(body).encode())

    def _tell_ledger(self) -> None:
        row = self.ledger.news(self._source, self.watermark)
        if row is not None:
            self._outputs.append(OutputRecord(LEDGER, 0, self._source.encode(), row))

    def _dead_letter(self, record: InputRecord, code: str, reason: str) -> None:
        key = f"{self._source}/{record.offset}".encode()
        headers = (("code", code.encode()), ("reason", reason.encode()), *record.headers)
        self._outputs.append(OutputRecord(DEAD_LETTER, 0, key, record.value, headers))

    def _tell_contradictory(
        self, records: Sequence[InputRecord], told: Sequence[Contradiction]
    ) -> None:
        """A record with histogram points that nobody can count goes to the dead letters as well."""
        by_record: dict[int, list[Contradiction]] = {}
        for each in told:
            if self.bounds.owns(each.time):
                by_record.setdefault(each.record, []).append(each)
        for record, found in sorted(by_record.items()):
            self.ledger.counts.contradictory += len(found)
            reason = self._known.told(found)
            self._dead_letter(records[record], "contradictory-histogram", reason)

    def outputs(self) -> list[OutputRecord]:
        drained, self._outputs = self._outputs, []
        return drained

    def urgent(self) -> bool:
        return bool(self._outputs)

    def before_commit(self, position: int) -> list[OutputRecord]:
        """Ask for the definitions in force, by a record of the input: it takes effect there.

        Most tasks have been told already: by a record like this one, with all others of their time
        domain. It is for histories, for topics that came meanwhile, and for earlier programs.

        Not for what was decided before those in force: while workers are replaced one by one a
        task comes to those that do not know yet.
        """
        wanted = self._config.wanted
        if wanted == self._asked_for or self.watermark == LATEST:
            return []
        if not wanted.replaces(self.deployed):
            return []
        self._asked_for = wanted
        return [
            OutputRecord(
                self._topic, self._partition, None, wanted.to_json(), (("control", b"plan"),)
            )
        ]

    def idle(self, now_ms: int) -> list[OutputRecord]:
        if not self._live or not self.bounds.known:
            return []
        value, headers = idle_mark(now_ms * 1_000_000)
        return [OutputRecord(self._topic, self._partition, None, value, headers)]

    # --- definitions that change --------------------------------------------------------------

    def _adopt(self, deployed: Deployment, offset: int) -> None:
        """From the record at `offset` on these definitions are in force, unless later ones are."""
        if not deployed.replaces(self.deployed):
            return
        before, self.deployed = self.deployed, deployed
        known = {aggregation.key: aggregation for aggregation in self.aggregations}
        members = self._known.matched_anew(deployed.plan)
        adopted: list[Aggregation] = []
        for key, levels, definitions in pane_keys(deployed):
            aggregation = known.get(key)
            if aggregation is None:
                aggregation = self._aggregation(key, levels, {})
                aggregation.panes.frontier = aggregation.panes.boundary(self.watermark)
                aggregation.enter(self.bounds)
            aggregation.adopt(
                levels, definitions, (len(self._known.readings), members.of(definitions)), offset,
                self.newest,
            )  # fmt: skip
            adopted.append(aggregation)
        self.aggregations = adopted
        there = {one.version for one in before.plan.definitions}
        for version, since in deployed.since.items():
            if since < self.newest and version not in there:
                self.ledger.counts.joined_late += 1  # points of its first window may be missing

    # --- state -------------------------------------------------------------------------------

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        open_offsets = [a.first_open_offset() for a in self.aggregations]
        refill_from = min([at for at in open_offsets if at is not None], default=self._position)
        meta = {
            "position": self._position,
            "keep_from": self._keep_from,
            "refill_from": refill_from,
            "watermark": self.watermark,
            "received": self.received,
            "receipt": self._receipt,
            "newest": self.newest,
            "bounds": [self.bounds.since, self.bounds.until, self.bounds.partitions],
            "ledger": self.ledger.to_meta(),
            "conversions": self._known.readings.to_meta(),
        }
        blocks = self._blocks.changed_members(self._known.groups)
        meta["members"] = self._blocks.memberships.to_meta(self._known.groups)
        blocks |= self._blocks.changed(meta, self._intake, self.aggregations, self.deployed)
        blocks |= state.seen_blocks(self._known.forgetting)
        return blocks | state.readings_blocks(self._known.readings)

    def query(self, question: Question) -> Part:
        """What the open windows of a metric hold here."""
        busy = {job.aggregation.key.text() for job in self._jobs}
        known = self._config.sources if self.bounds.known else 0
        whose = self._source, self.bounds.partitions or known
        metric, plan = question_of(question), self.deployed.plan
        return part_of(open_windows(self.aggregations, plan, metric, busy, whose))

    def stats(self) -> dict[str, Any]:
        """Watermark, open windows, streams and what became of points; for people."""
        return {
            "source": self._source,
            "decided": self.deployed.decided,
            "watermark": self.watermark,
            "received": self.received,
            "epoch": [self.bounds.since, self.bounds.until, self.bounds.partitions],
            "streams": len(self._intake.series),
            "waiting_for": [job.aggregation.key.text() for job in self._jobs],
            **self.ledger.body(),
            "panes": [aggregation.stats() for aggregation in self.aggregations],
        }


def _offsets(records: Sequence[InputRecord]) -> npt.NDArray[np.int64]:
    return np.array([record.offset for record in records], np.int64)
