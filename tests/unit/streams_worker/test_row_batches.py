"""Records that are columns are sent as the same records one by one would be."""

import random

import numpy as np
import pytest
from aiokafka.record.memory_records import MemoryRecords

from broker.records.batch import crc_is_good, read_header
from streams.batch import BytesColumn
from streams.task.outputs import OutputRows, Outputs, Written, keyed_alike, parts_of
from streams.task.processor import OutputRecord
from streams.worker.batches import Entry, encode
from streams.worker.row_batches import Batches, chosen_partition

Row = tuple[bytes | None, bytes]


def written(rows: list[Row]) -> Written:
    keys = BytesColumn.of([key or b"" for key, _ in rows])
    keyed = np.array([key is not None for key, _ in rows], np.bool_)
    return Written(keys, keyed, BytesColumn.of([value for _, value in rows]))


def random_rows(chance: random.Random, count: int) -> list[Row]:
    sizes = (0, 1, 5, 62, 63, 64, 300, 8190, 9000)
    keys = [chance.choice([None, chance.randbytes(chance.choice(sizes[:6]))]) for _ in range(count)]
    return [(key, chance.randbytes(chance.choice(sizes))) for key in keys]


def parsed(raw: bytearray) -> list[Row]:
    return [(record.key, record.value) for record in MemoryRecords(bytes(raw)).next_batch()]


def test_batches_are_cut_and_written_as_those_of_single_records() -> None:
    chance = random.Random(20261122)
    for size in (200, 3_000, 1 << 20):
        for transactional in (True, False):
            rows = random_rows(chance, 200)
            batches = Batches(size, 1 << 20, transactional)
            batches.add(OutputRows("t", written(rows)), 1)
            made = batches.finish()["t", 0]
            wanted = encode([Entry(*row) for row in rows], size, transactional=transactional)
            assert [b.record_count() for b in made] == [b.record_count() for b in wanted]
            for mine, theirs in zip(made, wanted, strict=True):
                for each in (mine, theirs):
                    each._set_producer_state(7, 1, 2)
                header = read_header(mine._build())
                assert crc_is_good(bytes(mine._build()), 0, header)
                assert header.is_transactional == transactional
                assert parsed(mine._build()) == parsed(theirs._build())
                assert mine.size() == theirs.size()


def test_each_goes_where_its_key_says_and_the_order_within_a_partition_stays() -> None:
    chance = random.Random(5)
    rows = random_rows(chance, 60)
    rows = [(key or b"", value) for key, value in rows]
    outputs = Outputs([OutputRecord("t", None, *row) for row in rows[:20]])
    outputs += [OutputRows("t", written(rows[20:40]))]
    outputs += [OutputRecord("t", None, *row) for row in rows[40:50]]
    outputs += Outputs([OutputRows("t", written(rows[50:]))])
    batches = Batches(2_000, 1 << 20, transactional=True)
    for part in parts_of(outputs):
        batches.add(part, 7)
    found = {
        at: [r for b in made for r in parsed(b._build())] for at, made in batches.finish().items()
    }
    wanted: dict[tuple[str, int], list[Row]] = {}
    for key, value in rows:
        wanted.setdefault(("t", chosen_partition(key, 7)), []).append((key, value))
    assert found == wanted


def test_records_without_a_key_go_somewhere_and_one_that_is_too_large_is_refused() -> None:
    batches = Batches(1_000, 50, transactional=True)
    batches.add(OutputRows("t", written([(None, b"a"), (b"k", b"b"), (None, b"c")])), 3)
    sent = [row for made in batches.finish().values() for b in made for row in parsed(b._build())]
    assert sorted(sent, key=str) == [(None, b"a"), (None, b"c"), (b"k", b"b")]
    with pytest.raises(ValueError, match="51 bytes"):
        batches.add(OutputRows("t", written([(None, b"a"), (b"k", b"x" * 51)])), 3)
    batches.add(OutputRows("t", written([])), 3)


def test_outputs_are_a_sequence_of_records_whatever_they_are_kept_as() -> None:
    one = OutputRecord("a", 1, b"k", b"v", (("h", b"x"),))
    rows = keyed_alike(BytesColumn.of([b"1", b"2"]), b"s")
    outputs = Outputs([one])
    assert not Outputs()
    outputs += [OutputRows("b", rows), OutputRows("b", written([(None, b"3")]))]
    wanted = [
        one,
        *(OutputRecord("b", None, k, v) for k, v in [(b"s", b"1"), (b"s", b"2"), (None, b"3")]),
    ]
    assert list(outputs) == wanted
    assert (len(outputs), outputs[-1], outputs[1:3]) == (4, wanted[-1], wanted[1:3])
    assert list(parts_of(wanted)) == wanted
