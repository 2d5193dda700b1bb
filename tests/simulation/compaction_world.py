"""Random histories of a compacted partition on a disk that fails, beside a model.

The model is the list of every batch that was appended. What the log may have dropped of it, and
what it must not, is said in `Model` and `World.check_*`; no code of the product decides it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.log.compaction.cleaning import Pass, StoppedError, Swapped, finish
from broker.log.compaction.dirt import Dirt, choose, measure
from broker.log.partition import Appended, PartitionLog
from broker.log.producers import Duplicate, ProducerTable
from broker.log.recovery import open_log
from broker.log.settings import LogSettings
from broker.records.batch import (
    CONTROL,
    HEADER_SIZE,
    TRANSACTIONAL,
    BatchHeader,
    read_header,
)
from broker.records.iterate import iterate
from tests.simulation.compaction_model import (
    Batch,
    CrashingDisk,
    Model,
    PowerCut,
    Rec,
    ViolationError,
    make_batch,
    state_of,
)

FOLDER = "logs/t/0"
KEYS = [b"key-%d" % number for number in range(6)]
RETENTION_MS = 10_000
MAP_BYTES = 24 * 5  # four keys: many passes need two
TRANSACTIONAL_PRODUCERS = (2, 3, 4)


@dataclass
class Reader:
    """One that reads committed records little by little, and must not miss a deletion."""

    offset: int
    since_ms: int
    records: list[Rec]
    ended: set[int]


class World:
    """One history. Subclasses plant bugs."""

    pass_type: type[Pass] = Pass

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.disk = CrashingDisk()
        self.model = Model()
        self.now = 1_000_000
        deletes = self.random.random() < 0.2
        self.settings = LogSettings(
            segment_bytes=self.random.choice([300, 700, 1500]),
            retention_ms=-1,
            retention_bytes=4000 if deletes else -1,
            deletes=deletes,
            compacts=True,
            delete_retention_ms=RETENTION_MS,
            min_compaction_lag_ms=self.random.choice([0, 0, 3000]),
            min_cleanable_ratio=0.0,
            producer_expiry_ms=10**9,
        )
        self.map_bytes = self.random.choice([MAP_BYTES, 1 << 20])
        self.synced = 0
        self.cleaned_end = 0
        self.first_cleaned: dict[int, int] = {}
        self.alone_since: dict[int, int] = {}
        self.last_pass = self.now
        self.counts = dict.fromkeys(("cleanings", "crashes", "swaps", "removed", "aborted"), 0)
        self.open()
        self.shadow = self.model.producers()
        self.reader = self.new_reader()

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> None:
        self.log = open_log(self.disk, FOLDER, self.settings, self.now, visible_when_synced=True)

    def crash(self, snapshots_lost: bool = False) -> None:
        """The power goes; some of what was not synced may be there afterwards."""
        self.counts["crashes"] += 1
        self.disk.left = None
        self.disk.cut_power(lambda _, unsynced: self.random.randint(0, unsynced))
        if snapshots_lost:
            for name in self.disk.names(FOLDER):
                if name.endswith(".producers"):
                    self.disk.remove(f"{FOLDER}/{name}")
        if self.random.random() < 0.2:  # and again, while it starts
            self.disk.left = self.random.randint(0, 8)
            try:
                self.open()
            except PowerCut:
                self.disk.left = None
                self.disk.cut_power(lambda _, unsynced: self.random.randint(0, unsynced))
            self.disk.left = None
        self.open()
        end = self.log.next_offset
        self.expect(self.synced <= end <= self.model.end, f"{self.synced} were synced, {end} left")
        if not self.synced:  # it may have lost its first segment and kept another
            self.model.start = self.log.log_start
        lost = self.model.cut(end)
        self.expect(self.model.end == end, "the log ends within a batch")
        self.synced = end
        self.note_lonely_markers(self.last_pass)
        if snapshots_lost:
            self.check_what_the_log_tells_of_producers(lost)
        else:
            self.shadow = self.replayed()

    def replayed(self) -> ProducerTable:
        return self.model.producers() if not self.forgot else self.log.producers

    forgot = False
    at_rest = False
    """Nobody produces any more."""

    def check_what_the_log_tells_of_producers(self, lost: set[int]) -> None:
        """Without snapshots, as Kafka: the last sequence and epoch of each, and what is open. Not
        of those that also lost what they sent at last."""
        told, true = self.log.producers, self.model.producers()
        for producer, known in true.producers.items():
            if self.log.log_start > 0 or producer in lost:
                continue
            found = told.producers.get(producer)
            self.expect(found is not None, f"producer {producer} is forgotten")
            assert found is not None
            mine = (known.epoch, known.transaction_start, last_sequence(known))
            read = (found.epoch, found.transaction_start, last_sequence(found))
            self.expect(mine == read, f"producer {producer} is {mine}, the log says {read}")
        self.forgot = True
        self.shadow = ProducerTable.decode(told.encode(0), 0) or told

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise ViolationError(what)

    # --- steps ------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.now += self.random.choice([0, 10, 300])
            try:
                self.step()
            except PowerCut:
                self.crash()
        self.finish()

    def step(self) -> None:
        draw = self.random.random()
        if draw < 0.55:
            self.produce_something()
        elif draw < 0.67:
            self.sync(self.random.random() < 0.3)
        elif draw < 0.80:
            self.clean(self.random.random() < 0.3)
        elif draw < 0.83:
            self.crash(self.random.random() < 0.3)
        elif draw < 0.85:
            self.now += RETENTION_MS // 2
        elif draw < 0.87:
            self.log.retain(self.now)
        elif draw < 0.90:
            self.fetch_anywhere()
        elif draw < 0.97:
            self.read_on()
        else:
            self.check_everything()

    def produce_something(self) -> None:
        producer = self.random.choice([-1, -1, 1, *TRANSACTIONAL_PRODUCERS])
        if producer in TRANSACTIONAL_PRODUCERS and self.random.random() < 0.4:
            self.end_transaction(producer)
        else:
            self.produce(producer)

    def new_records(self) -> list[tuple[int, bytes | None, bytes | None]]:
        found: list[tuple[int, bytes | None, bytes | None]] = []
        for _ in range(self.random.randint(1, 4)):
            value = b"%d-%d" % (self.now, self.random.randrange(10**6))
            time = self.now + self.random.randint(-50, 50)
            deleted = self.random.random() < 0.2
            found.append((time, self.random.choice(KEYS), None if deleted else value))
        return found

    def produce(self, producer: int) -> None:
        records = self.new_records()
        known = self.shadow.producers.get(producer)
        epoch, sequence = -1, -1
        if producer >= 0:
            epoch = 0 if known is None else known.epoch
            last = None if known is None else last_sequence(known)
            sequence = 0 if last is None else last + 1
            if self.random.random() < 0.05:
                sequence += 1
            elif self.random.random() < 0.05 and epoch > 0:
                epoch -= 1
        batch = make_batch(
            records,
            self.random.choice([0, 0, 1, 2, 3, 4]),
            producer=producer,
            epoch=epoch,
            sequence=sequence,
            transactional=producer in TRANSACTIONAL_PRODUCERS,
        )
        self.append(batch, records)
        if known is not None and known.batches and self.random.random() < 0.1:
            self.repeat(known)

    def repeat(self, known: Any) -> None:
        """Send one of the last batches again."""
        old = self.random.choice(list(known.batches))
        sizes = {batch.base: batch for batch in self.model.batches}
        batch = sizes.get(old.base_offset)
        if batch is not None and batch.header.base_sequence == old.first_sequence:
            again = [(record.time, record.key, record.value) for record in batch.records]
            header = batch.header
            self.append(
                make_batch(
                    list(again),
                    producer=header.producer_id,
                    epoch=header.producer_epoch,
                    sequence=header.base_sequence,
                    transactional=batch.transactional,
                ),
                list(again),
            )

    def append(
        self, batch: bytearray, records: list[tuple[int, bytes | None, bytes | None]]
    ) -> None:
        header = read_header(batch)
        verdict = self.shadow.check(header) if header.producer_id >= 0 else None
        base = self.log.next_offset
        outcome = self.log.append(batch, header, self.now)
        if isinstance(verdict, Duplicate):
            mine = (verdict.base_offset, True)
            self.expect(
                isinstance(outcome, Appended) and (outcome.base_offset, outcome.repeated) == mine,
                f"a repeat of {verdict.base_offset} got {outcome}",
            )
        elif verdict is not None:
            self.expect(getattr(outcome, "error", 0) == verdict.error, f"{verdict}, got {outcome}")
        else:
            self.expect(isinstance(outcome, Appended), f"the producer was refused: {outcome}")
            kept = tuple(
                Rec(base + index, time, key or b"", value)
                for index, (time, key, value) in enumerate(records)
            )
            transactional, producer = header.is_transactional, header.producer_id
            end = base + len(kept)
            self.model.batches.append(Batch(base, end, producer, transactional, None, kept, header))
            if producer >= 0:
                self.shadow.record(header, base, 0)

    def end_transaction(self, producer: int) -> None:
        known = self.shadow.producers.get(producer)
        if known is None:
            return
        commit = self.random.random() < 0.5
        epoch = known.epoch + (self.random.random() < 0.2)
        base = self.log.next_offset
        outcome = self.log.append_marker(
            producer, epoch, self.now, commit=commit, coordinator_epoch=0
        )
        self.expect(isinstance(outcome, Appended), f"a marker was refused: {outcome}")
        self.counts["aborted"] += not commit
        header = read_header(make_batch([(self.now, b"", b"")], producer=producer, epoch=epoch))
        header = header._replace(attributes=CONTROL | TRANSACTIONAL)
        self.model.batches.append(Batch(base, base + 1, producer, True, commit, (), header))
        self.shadow.record_marker(header, base, 0, commit=commit, coordinator_epoch=0)

    def sync(self, checkpoint: bool = False) -> None:
        if self.log.syncing:
            return
        job = self.log.begin_sync(checkpoint=checkpoint)
        result = job.run()
        self.log.finish_sync(job, result)
        self.synced = self.model.end

    # --- cleaning ---------------------------------------------------------------------------------

    def clean(self, with_a_crash: bool = False) -> None:
        """A pass, while others produce, sync and read; the log's thread may lag behind it."""
        log = self.log
        dirt = self.measure()
        if not dirt.segments or log.compaction.running:
            return
        end, started = dirt.segments[-1].next_offset, self.now
        self.note_what_may_change(end)
        if with_a_crash:
            self.disk.left = self.random.randint(0, 30)
        waiting: list[Swapped] = []
        stop = self.random.random() < 0.05
        log.compaction.running = True

        def pace() -> None:
            if not self.at_rest and self.random.random() < 0.06:
                self.interrupt(log, waiting)
            if stop and self.random.random() < 0.05:
                raise StoppedError

        work = self.pass_type(log, dirt, self.now, self.map_bytes, waiting.append, pace)
        try:
            outcome = work.run()
            self.counts["cleanings"] += 1
            self.counts["removed"] += outcome.removed_records
            end = outcome.checkpoint.first_dirty
        except StoppedError as stopped:
            outcome = stopped
        finally:
            self.note_what_may_go(end, started)
            self.last_pass = started
        self.disk.left = None
        self.take_over(log, waiting)
        finish(log, outcome, self.now)
        self.note_lonely_markers(started)

    def measure(self) -> Dirt:
        return measure(self.log, self.now)

    def note_what_may_change(self, end: int) -> None:
        self.cleaned_end = max(self.cleaned_end, end)
        lag_ms = self.settings.min_compaction_lag_ms
        for record in self.model.records(0, end) if lag_ms else ():
            self.expect(record.time <= self.now - lag_ms, f"{record} is younger than the lag")

    def note_what_may_go(self, end: int, now: int) -> None:
        """Tombstones below `end` may go in `RETENTION_MS`."""
        for record in self.model.records(0, end):
            if record.value is None:
                self.first_cleaned.setdefault(record.offset, now)

    def note_lonely_markers(self, now: int) -> None:
        """Markers of which nothing else is left may go in `RETENTION_MS`, and only they."""
        there = {header.base_offset for header in self.heads(self.log)}
        for marker, data in self.model.transactions().items():
            if not there.intersection(data):
                self.alone_since.setdefault(marker, now)

    def check_markers(self) -> None:
        there = {header.base_offset for header in self.heads(self.log)}
        for marker in self.model.transactions():
            since = self.alone_since.get(marker, self.now)
            may_go = marker < self.log.log_start or self.now >= since + RETENTION_MS
            self.expect(may_go or marker in there, f"marker {marker} went too early")
        for item in self.log.producers.aborted:
            is_there = item.last_offset in there or item.last_offset < self.log.log_start
            self.expect(is_there, f"{item} is remembered, its marker is gone")

    def heads(self, log: PartitionLog) -> list[BatchHeader]:
        return [
            header
            for segment in log.segments
            for _, header in segment.scan(0, segment.size, verify=True)
        ]

    def take_over(self, log: PartitionLog, waiting: list[Swapped]) -> None:
        for swapped in waiting:
            log.swap_in(*swapped)
            self.counts["swaps"] += 1
        waiting.clear()

    def interrupt(self, log: PartitionLog, waiting: list[Swapped]) -> None:
        draw = self.random.random()
        if draw < 0.4:
            self.take_over(log, waiting)
        elif draw < 0.6:
            self.produce_something()
        elif draw < 0.7:
            self.sync()
        elif draw < 0.8:
            self.fetch_anywhere()
        elif draw < 0.9:
            self.read_on()
        else:
            self.log.retain(self.now)

    # --- readers ----------------------------------------------------------------------------------

    def new_reader(self) -> Reader:
        return Reader(self.log.log_start, self.now, [], set())

    def read_some(self, offset: int, committed: bool, most: int) -> tuple[int, list[Rec]]:
        """One fetch as a client sees it: the next offset, and the records that it delivers."""
        piece = self.log.read(offset, most, committed=committed, at_least_one=True)
        self.expect(piece.error == 0, f"offset {offset}: error {piece.error}")
        waiting = sorted(piece.aborted or [], key=lambda item: item[1])
        active: set[int] = set()
        records: list[Rec] = []
        at = 0
        while at + HEADER_SIZE <= len(piece.records):
            header = read_header(piece.records, at)
            if at + header.size > len(piece.records):
                break
            batch = bytes(piece.records[at : at + header.size])
            self.expect(header.next_offset > offset, "a batch behind the reader")
            while waiting and waiting[0][1] <= header.base_offset:
                active.add(waiting.pop(0)[0])
            found = list(iterate(batch, header))
            if header.is_control:
                active.discard(header.producer_id)
            elif not (header.is_transactional and header.producer_id in active):
                records += [
                    Rec(record.offset, record.timestamp, record.key or b"", record.value)
                    for record in found
                    if record.offset >= offset
                ]
            offset = header.next_offset
            at += header.size
        return offset, records

    def read_all(self, start: int, limit: int, committed: bool) -> list[Rec]:
        found: list[Rec] = []
        while start < limit:
            before = start
            start, records = self.read_some(start, committed, self.random.choice([1, 200, 5000]))
            found += records
            self.expect(start > before, f"a reader stands still at {before}, below {limit}")
        return found

    def read_on(self) -> None:
        """The slow reader goes on; at the end it knows what is true, if it was not too slow."""
        reader, log = self.reader, self.log
        if self.now - reader.since_ms >= RETENTION_MS or reader.offset < log.log_start:
            self.reader = self.new_reader()
            return
        limit = log.last_stable_offset()
        for _ in range(3):
            if reader.offset >= limit:
                break
            reader.offset, records = self.read_some(reader.offset, True, 400)
            reader.records += records
        if reader.offset >= limit:
            self.compare(reader.records, reader.offset, "a slow reader")
            self.reader = self.new_reader()

    def compare(self, records: list[Rec], limit: int, who: str) -> None:
        start = self.log.log_start
        true = self.model.state(start, limit)
        told = state_of(records)
        if start:  # what lies below is gone by age
            told = {k: v for k, v in told.items() if k in true}
        self.expect(told == true, f"{who} knows {told}, true is {true}")

    def fetch_anywhere(self) -> None:
        """From any offset: the first batch that ends behind it, whole."""
        log = self.log
        if log.high_watermark == log.log_start:
            return
        offset = self.random.randrange(log.log_start, log.high_watermark)
        heads = [header for header in self.heads(log) if header.next_offset > offset]
        piece = log.read(offset, 1, committed=False, at_least_one=True)
        self.expect(bool(piece.records), f"nothing at {offset}, below {log.high_watermark}")
        self.expect(read_header(piece.records) == heads[0], f"another batch at {offset}")

    # --- what must hold ---------------------------------------------------------------------------

    def check_everything(self) -> None:
        log = self.log
        by_offset = {record.offset: record for b in self.model.batches for record in b.records}
        fates = self.model.fates()
        aborted = {
            record.offset
            for batch in self.model.batches
            if fates.get(batch.base, True) is False
            for record in batch.records
        }
        stable = log.last_stable_offset()
        for committed, limit in ((True, stable), (False, log.high_watermark)):
            records = self.read_all(log.log_start, limit, committed)
            offsets = [record.offset for record in records]
            self.expect(offsets == sorted(set(offsets)), f"offsets {offsets}")
            for record in records:
                self.expect(by_offset[record.offset] == record, f"{record} was another")
            lived = [record for record in records if record.offset not in aborted]
            self.expect(not committed or len(lived) == len(records), "an aborted record was read")
            self.compare([r for r in lived if r.offset < limit], limit, f"{committed=}")
            self.check_what_must_stay({record.offset for record in lived}, limit)
        self.check_producers()
        self.check_markers()

    def check_what_must_stay(self, found: set[int], limit: int) -> None:
        last: dict[bytes, Rec] = {}
        for record in self.model.records(self.log.log_start, limit):
            last[record.key] = record
            if record.offset >= self.cleaned_end:
                self.expect(record.offset in found, f"{record} was never to be cleaned")
        for record in last.values():
            since = self.first_cleaned.get(record.offset, self.now)
            may_go = record.value is None and self.now >= since + RETENTION_MS
            self.expect(may_go or record.offset in found, f"{record} is lost")

    def check_producers(self) -> None:
        mine, theirs = described(self.shadow), described(self.log.producers)
        self.expect(mine == theirs, f"producers are {mine}, the log says {theirs}")

    def finish(self) -> None:
        """In the end: one record a key, no tombstones, no aborted ones, no marker of nothing."""
        self.disk.left = None
        self.check_everything()
        for producer in TRANSACTIONAL_PRODUCERS:
            self.end_transaction(producer)
        self.now += 10 * RETENTION_MS
        sealed = self.log.next_offset
        while self.log.segments[-1].base_offset <= sealed:
            self.produce(-1)
        self.sync()
        self.at_rest = True
        for _ in range(40):
            self.now += RETENTION_MS + 1
            self.log.producers.forget_before(0, self.now + 1)
            if choose([self.log], self.now) is None:
                break
            self.clean()
        else:
            raise ViolationError("there is no end of cleaning")
        self.shadow = ProducerTable.decode(self.log.producers.encode(0), 0) or self.shadow
        self.check_everything()
        self.check_nothing_superfluous()

    def check_nothing_superfluous(self) -> None:
        heads = [
            (segment, header)
            for segment in self.log.segments[:-1]
            for _, header in segment.scan(0, segment.size, verify=True)
        ]
        end = self.log.segments[-1].base_offset
        keys: set[bytes] = set()
        for segment, header in heads:
            at = segment.locate(header.base_offset)
            assert at is not None
            batch = segment.file.read(at[0], header.size)
            if header.is_control:
                continue
            records = list(iterate(batch, header))
            self.expect(bool(records) or header.next_offset == end, "an empty batch stays")
            for record in records:
                self.expect(record.value is not None, f"tombstone {record.offset} stays")
                self.expect(record.key not in keys, f"key {record.key!r} is there twice")
                keys.add(record.key or b"")
        markers = sum(header.is_control for _, header in heads)
        self.expect(len(heads) <= 2 * len(KEYS) + 2, f"{len(heads)} batches, {markers} markers")


def last_sequence(known: Any) -> int | None:
    return known.batches[-1].last_sequence if known.batches else None


def described(table: ProducerTable) -> dict[int, Any]:
    return {
        producer: (known.epoch, known.transaction_start, [batch[:3] for batch in known.batches])
        for producer, known in table.producers.items()
    }


def simulate(seed: int, world: Callable[[int], World] = World, steps: int = 90) -> World:
    """One history. Raises ViolationError."""
    history = world(seed)
    history.run(steps)
    return history
