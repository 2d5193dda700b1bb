"""Any history of appends, transactions, syncs, power cuts and retention against a naive model.

TIDEMILL_LOG_HISTORIES sets how many histories are tried.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.log.memory_disk import MemoryDisk
from broker.log.partition import Appended
from broker.log.recovery import open_log
from broker.log.settings import LogSettings
from broker.protocol.errors import ErrorCode
from broker.records.batch import read_header
from broker.records.build import build_batch
from broker.records.iterate import iterate

SETTINGS = LogSettings(segment_bytes=1024, retention_ms=-1, retention_bytes=6000)
HISTORIES = int(os.environ.get("TIDEMILL_LOG_HISTORIES", "150"))
PRODUCERS = st.integers(1, 3)
TRANSACTIONAL = 0x10


@dataclass(frozen=True)
class Entry:
    """One batch of the model; `commit` is None for data."""

    offset: int
    values: tuple[bytes, ...]
    producer: int
    epoch: int
    sequence: int
    transactional: bool
    commit: bool | None = None

    @property
    def end(self) -> int:
        return self.offset + max(1, len(self.values))


class Model:
    """Everything derived from the list of batches, each time anew."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.synced = 0

    @property
    def end(self) -> int:
        return self.entries[-1].end if self.entries else 0

    def of(self, producer: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.producer == producer]

    def epoch(self, producer: int) -> int:
        return max((entry.epoch for entry in self.of(producer)), default=-1)

    def data(self, producer: int, epoch: int) -> list[Entry]:
        return [e for e in self.of(producer) if e.commit is None and e.epoch == epoch]

    def open_start(self, producer: int, end: int) -> int | None:
        """First offset of the transaction that is open when the log ends at `end`."""
        start = None
        for entry in self.of(producer):
            if entry.offset >= end:
                break
            if entry.commit is not None:
                start = None
            elif entry.transactional and start is None:
                start = entry.offset
        return start

    def stable(self) -> int:
        starts = [self.open_start(producer, self.synced) for producer in (1, 2, 3)]
        return min([start for start in starts if start is not None], default=self.synced)

    def aborted(self) -> set[int]:
        """Offsets of the records of aborted transactions."""
        found: set[int] = set()
        for producer in (1, 2, 3):
            mine: list[int] = []
            for entry in self.of(producer):
                if entry.commit is None and entry.transactional:
                    mine += range(entry.offset, entry.end)
                elif entry.commit is not None:
                    found.update(mine if not entry.commit else [])
                    mine = []
        return found


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk = MemoryDisk()
        self.model = Model()
        self.reopen()

    def reopen(self) -> None:
        self.log = open_log(self.disk, "logs/t/0", SETTINGS, 0, visible_when_synced=True)

    def send(self, entry: Entry) -> Appended | int:
        batch = build_batch(
            [(None, value) for value in entry.values],
            1000,
            producer_id=entry.producer,
            producer_epoch=entry.epoch,
            base_sequence=entry.sequence,
            attributes=TRANSACTIONAL if entry.transactional else 0,
        )
        outcome = self.log.append(batch, read_header(batch), 1000)
        return outcome if isinstance(outcome, Appended) else outcome.error

    @rule(
        producer=PRODUCERS,
        values=st.lists(st.binary(max_size=60), min_size=1, max_size=4),
        new_epoch=st.booleans(),
        transactional=st.booleans(),
    )
    def append_the_next(self, producer, values, new_epoch, transactional):
        known = self.model.epoch(producer)
        epoch = known + 1 if new_epoch or known < 0 else known
        if epoch != known and self.model.open_start(producer, self.model.end) is not None:
            epoch = known
        if self.model.open_start(producer, self.model.end) is not None:
            transactional = True
        sent = self.model.data(producer, epoch)
        sequence = sent[-1].sequence + len(sent[-1].values) if sent else 0
        entry = Entry(self.model.end, tuple(values), producer, epoch, sequence, transactional)
        assert self.send(entry) == Appended(entry.offset, entry.end, -1)
        self.model.entries.append(entry)

    @rule(producer=PRODUCERS, back=st.integers(1, 5))
    def repeat_one_of_the_last_five(self, producer, back):
        sent = self.model.data(producer, self.model.epoch(producer))
        if len(sent) < back:
            return
        entry = sent[-back]
        outcome = self.send(entry)
        assert outcome == Appended(entry.offset, entry.end, -1, repeated=True)

    @rule(producer=PRODUCERS, gap=st.integers(1, 3))
    def skip_a_sequence(self, producer, gap):
        epoch = self.model.epoch(producer)
        sent = self.model.data(producer, epoch)
        if epoch < 0:
            return
        sequence = (sent[-1].sequence + len(sent[-1].values) if sent else 0) + gap
        entry = Entry(0, (b"x",), producer, epoch, sequence, False)
        assert self.send(entry) == ErrorCode.out_of_order_sequence_number

    @rule(producer=PRODUCERS)
    def write_with_an_old_epoch(self, producer):
        epoch = self.model.epoch(producer)
        if epoch > 0:
            entry = Entry(0, (b"x",), producer, epoch - 1, 0, False)
            assert self.send(entry) == ErrorCode.invalid_producer_epoch

    @rule(producer=PRODUCERS, commit=st.booleans(), bump=st.booleans())
    def end_a_transaction(self, producer, commit, bump):
        epoch = self.model.epoch(producer)
        if epoch < 0:
            return
        epoch += bump
        outcome = self.log.append_marker(producer, epoch, 0, commit=commit, coordinator_epoch=0)
        offset = self.model.end
        assert outcome == Appended(offset, offset + 1, -1)
        self.model.entries.append(Entry(offset, (), producer, epoch, -1, True, commit))

    @rule(checkpoint=st.booleans())
    def sync(self, checkpoint):
        job = self.log.begin_sync(checkpoint=checkpoint)
        self.log.finish_sync(job, job.run())
        self.model.synced = self.model.end

    @rule(survivors=st.lists(st.integers(0, 400), min_size=1, max_size=4))
    def cut_the_power(self, survivors):
        pending = list(survivors)

        def kept(path: str, unsynced: int) -> int:
            return min(unsynced, pending.pop() if pending else 0)

        before = self.model.end
        self.disk.cut_power(kept)
        self.reopen()
        end = self.log.next_offset
        assert self.model.synced <= end <= before
        self.model.entries = [entry for entry in self.model.entries if entry.end <= end]
        assert self.model.end == end or not self.model.entries
        self.model.synced = end

    @rule()
    def retain(self):
        self.log.retain(0)

    @rule(share=st.floats(0, 1), most=st.integers(1, 2000), committed=st.booleans())
    def read(self, share, most, committed):
        model = self.model
        start, limit = self.log.log_start, model.stable() if committed else model.synced
        offset = start + int(share * max(0, model.end - start))
        piece = self.log.read(offset, most, committed=committed, at_least_one=True)
        assert piece.error == 0
        expected = [e for e in model.entries if e.end > offset and e.end <= limit]
        assert bool(expected) == bool(piece.records)
        at, batches = 0, []
        while at + 61 <= len(piece.records):
            header = read_header(piece.records, at)
            if at + header.size > len(piece.records):
                break
            batch = bytes(piece.records[at : at + header.size])
            batches.append((header, [record.value for record in iterate(batch, header)]))
            at += header.size
        assert len(piece.records) <= max(most, read_header(piece.records).size if at else 0)
        for (header, values), entry in zip(batches, expected, strict=False):
            assert (header.base_offset, header.next_offset) == (entry.offset, entry.end)
            if entry.commit is None:
                assert tuple(values) == entry.values
        if committed:
            self.check_aborted(batches, piece.aborted or [])

    def check_aborted(self, batches, aborted):
        """A client's own filter over what it got leaves no aborted record, and drops no other."""
        waiting, active = sorted(aborted, key=lambda item: item[1]), set()
        for header, _ in batches:
            while waiting and waiting[0][1] <= header.base_offset:
                active.add(waiting.pop(0)[0])
            if header.is_control:
                active.discard(header.producer_id)
                continue
            dropped = header.is_transactional and header.producer_id in active
            assert dropped == (header.base_offset in self.model.aborted())

    @invariant()
    def offsets_are_what_the_model_says(self):
        assert self.log.next_offset == self.model.end
        assert self.log.high_watermark == self.model.synced
        assert self.log.last_stable_offset() == self.model.stable()
        assert self.log.log_start <= self.log.high_watermark


Histories.TestCase.settings = settings(
    max_examples=HISTORIES, stateful_step_count=60, deadline=None, print_blob=True
)
TestHistories = Histories.TestCase
