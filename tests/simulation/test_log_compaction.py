"""Random histories of compacted logs against a model that forgets nothing, and planted bugs.

Producers (plain, idempotent, transactional; all compressions), power cuts at any operation of the
disk, lost snapshots, passes with too little memory, readers that are slow. `TIDEMILL_HISTORIES`
sets how many histories are run.
"""

import os
import struct
from typing import Any, ClassVar

import pytest
from crc32c import crc32c

from broker.log.compaction.cleaning import Pass, Swapped, UncleanableError
from broker.log.compaction.dirt import Dirt, measure
from broker.log.compaction.keeper import AbortedOffsets, Bytes, Keeper
from broker.log.compaction.swap import SWAP_SUFFIX, cleaned_name, swap_name
from broker.log.partition import PartitionLog
from broker.log.producers import ProducerTable
from broker.log.segment import log_name
from broker.records.batch import BatchHeader, read_header
from broker.records.codecs import CorruptRecordsError
from tests.simulation.compaction_model import PowerCut, ViolationError
from tests.simulation.compaction_world import FOLDER, World, simulate

HISTORIES = int(os.environ.get("TIDEMILL_HISTORIES", "100"))
PLANTED = 1500


def test_no_history_breaks_a_promise_of_compaction():
    totals: dict[str, int] = {}
    for seed in range(HISTORIES):
        try:
            counts = simulate(seed).counts
        except ViolationError as broken:
            pytest.fail(f"seed {seed}: {broken}")
        totals = {name: totals.get(name, 0) + count for name, count in counts.items()}
    assert all(count > HISTORIES for count in totals.values()), totals


def cut_the_power_at_each_operation(seed: int, kind: type[World]) -> int:
    """How many operations of the disk a pass has. Raises ViolationError."""
    operations = 0
    while True:
        world = kind(seed)
        for _ in range(30):
            world.produce_something()
        world.sync()
        world.at_rest = True
        world.disk.left = operations
        try:
            world.clean()
        except PowerCut:
            world.crash()
            world.check_everything()
            operations += 1
            continue
        return operations


@pytest.mark.parametrize("seed", range(2))
def test_a_power_cut_at_each_operation_of_a_pass_loses_nothing(seed: int):
    assert cut_the_power_at_each_operation(seed, World) > 12


def with_keeper(keeper: type[Keeper]) -> type[World]:
    class Planted(Pass):
        keeper_type: ClassVar[type[Keeper]] = keeper

    return with_pass(Planted)


def with_pass(planted: type[Pass]) -> type[World]:
    class PlantedWorld(World):
        pass_type = planted

    return PlantedWorld


class DropsTheLastRecordOfAKey(Keeper):
    def _stays(self, record: Any, header: BatchHeader) -> bool:
        latest = self._rules.latest(record.key)
        return super()._stays(record, header) and latest != record.offset


class TombstonesGoAtOnce(Keeper):
    def _has_passed(self, horizon_ms: int | None) -> bool:
        return True


class TombstonesStay(Keeper):
    def _stays(self, record: Any, header: BatchHeader) -> bool:
        return super()._stays(record, header._replace(attributes=header.attributes & ~0x40))


class TheHorizonIsSetBeforeTheOlderValuesAreGone(Keeper):
    def _horizon(self, header: BatchHeader, kept: Any) -> int | None:
        if not any(record.is_tombstone for record in kept):
            return None
        return self._noted(header.delete_horizon_ms)


class ForgetsWhatProducersSentLast(Keeper):
    def _must_leave_a_trace(self, header: BatchHeader) -> bool:
        return header.next_offset == self._rules.end


class LeavesNothingAtTheEnd(Keeper):
    def _must_leave_a_trace(self, header: BatchHeader) -> bool:
        return header.next_offset != self._rules.end and super()._must_leave_a_trace(header)


class MarkersGoBeforeTheirData(Keeper):
    def _keep_marker(self, header: BatchHeader, batch: Bytes) -> Bytes | None:
        self._alive.clear()
        return super()._keep_marker(header, batch)


class MarkersGoWithTheirData(Keeper):
    def _keep_marker(self, header: BatchHeader, batch: Bytes) -> Bytes | None:
        flagged = header._replace(attributes=header.attributes | 0x40, base_timestamp=0)
        return super()._keep_marker(flagged, batch)


class MarkersStay(Keeper):
    def _keep_marker(self, header: BatchHeader, batch: Bytes) -> Bytes | None:
        super()._keep_marker(header, batch)
        return batch


def patched(batch: Bytes, form: str, at: int, value: int) -> bytes:
    out = bytearray(batch)
    struct.pack_into(form, out, at, value)
    struct.pack_into(">I", out, 17, crc32c(bytes(out[21:])))
    return bytes(out)


class BatchesShrink(Keeper):
    def keep(self, header: BatchHeader, batch: Bytes) -> Bytes | None:
        kept = super().keep(header, batch)
        if kept is None or kept is batch:
            return kept
        return patched(kept, ">i", 23, max(0, read_header(kept).record_count - 1))


class TimesAreNotMovedToTheHorizon(Keeper):
    def keep(self, header: BatchHeader, batch: Bytes) -> Bytes | None:
        kept = super().keep(header, batch)
        if kept is None or read_header(kept).base_timestamp == header.base_timestamp:
            return kept
        return patched(kept, ">q", 27, read_header(kept).base_timestamp + 1)


class AbortedRecordsReplaceOthers(Pass):
    def _map(self) -> Any:
        known, self.aborted = self.aborted, AbortedOffsets(())
        try:
            return super()._map()
        finally:
            self.aborted = known


class AFullMapIsTakenForAWholeOne(Pass):
    def _map(self) -> Any:
        return super()._map()[0], self.dirt.segments[-1].next_offset


class SaysNothingBeforeTheFirstSwap(Pass):
    def _prepare(self, touched: Any) -> None:
        pass


class Unsynced:
    def __init__(self, file: Any) -> None:
        self._file = file

    def sync(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class SwapsWhatIsNotSynced(Pass):
    def _copy(self, group: Any, fresh: Any, keeper: Keeper) -> bool:
        changed = super()._copy(group, fresh, keeper)
        fresh.file = Unsynced(fresh.file)
        return changed


class RemovesTheOldBeforeTheNewIsSafe(Pass):
    def swap(self, base: int, end: int) -> None:
        disk, folder = self.log.disk, self.log.folder
        for segment in self.dirt.segments:
            if base <= segment.base_offset < end:
                disk.remove(segment.index_path)
                disk.remove(f"{folder}/{log_name(segment.base_offset)}")
        disk.rename(f"{folder}/{cleaned_name(base, end)}", f"{folder}/{log_name(base)}")


class LeavesTheIndexOfTheOldSegment(Pass):
    def swap(self, base: int, end: int) -> None:
        disk, folder = self.log.disk, self.log.folder
        disk.rename(f"{folder}/{cleaned_name(base, end)}", f"{folder}/{swap_name(base, end)}")
        for segment in self.dirt.segments:
            if base < segment.base_offset < end:
                disk.remove(f"{folder}/{log_name(segment.base_offset)}")
        disk.rename(f"{folder}/{swap_name(base, end)}", f"{folder}/{log_name(base)}")


class KnowsAbortedTransactionsWithoutMarkers(World):
    def take_over(self, log: PartitionLog, waiting: list[Swapped]) -> None:
        for at, swapped in enumerate(waiting):
            waiting[at] = swapped._replace(removed_markers=frozenset())
        super().take_over(log, waiting)


class RemembersThemAgainAtARestart(World):
    def open(self) -> None:
        super().open()
        for name in self.disk.names(FOLDER):
            if name.endswith(".producers"):
                data = self.disk.read(f"{FOLDER}/{name}") or b""
                table = ProducerTable.decode(data, int(name.split(".")[0]))
                known = {item.last_offset for item in self.log.producers.aborted}
                for item in table.aborted if table is not None else ():
                    if item.last_offset not in known:
                        self.log.producers.aborted.append(item)
        self.log.producers.aborted.sort(key=lambda item: item.last_offset)


class AStartForgetsHalfMadeSwaps(World):
    def open(self) -> None:
        for name in self.disk.names(FOLDER):
            if name.endswith(SWAP_SUFFIX):
                self.disk.remove(f"{FOLDER}/{name}")
        super().open()


class CleansWhatIsNotDecided(World):
    def measure(self) -> Dirt:
        limit, log = self.log.high_watermark, self.log
        segments = [item for item in log.segments[:-1] if item.next_offset <= limit]
        return measure(log, self.now)._replace(segments=tuple(segments))


PLANTS = [
    with_keeper(DropsTheLastRecordOfAKey),
    with_keeper(TombstonesGoAtOnce),
    with_keeper(TombstonesStay),
    with_keeper(TheHorizonIsSetBeforeTheOlderValuesAreGone),
    with_keeper(ForgetsWhatProducersSentLast),
    with_keeper(LeavesNothingAtTheEnd),
    with_keeper(MarkersGoBeforeTheirData),
    with_keeper(MarkersGoWithTheirData),
    with_keeper(MarkersStay),
    with_keeper(BatchesShrink),
    with_keeper(TimesAreNotMovedToTheHorizon),
    with_pass(AbortedRecordsReplaceOthers),
    with_pass(AFullMapIsTakenForAWholeOne),
    with_pass(SaysNothingBeforeTheFirstSwap),
    with_pass(SwapsWhatIsNotSynced),
    with_pass(RemovesTheOldBeforeTheNewIsSafe),
    with_pass(LeavesTheIndexOfTheOldSegment),
    KnowsAbortedTransactionsWithoutMarkers,
    RemembersThemAgainAtARestart,
    AStartForgetsHalfMadeSwaps,
    CleansWhatIsNotDecided,
]


def name_of(world: type[World]) -> str:
    keeper = world.pass_type.keeper_type
    for part in (keeper, world.pass_type, world):
        if part.__module__ == __name__ and not part.__name__.startswith("Planted"):
            return part.__name__
    return world.__name__


@pytest.mark.parametrize("world", PLANTS, ids=name_of)
def test_a_planted_bug_is_found(world: type[World]):
    try:
        for seed in range(PLANTED):
            simulate(seed, world)
            if seed < 4:
                cut_the_power_at_each_operation(seed, world)
    except (ViolationError, CorruptRecordsError, UncleanableError):
        return
    pytest.fail(f"{name_of(world)} survived {PLANTED} histories")
