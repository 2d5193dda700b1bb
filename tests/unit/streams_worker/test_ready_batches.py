"""Batches that are compressed beforehand, read by the broker's own parser and by aiokafka's."""

import random

from aiokafka.partitioner import DefaultPartitioner
from aiokafka.record.memory_records import MemoryRecords

from broker.records.batch import crc_is_good, read_header
from broker.records.rewrite import records_of, unpack
from streams.worker.batches import Entry, ReadyBatch, encode
from streams.worker.row_batches import chosen_partition


def entries(chance: random.Random, count: int) -> list[Entry]:
    made: list[Entry] = []
    for number in range(count):
        key = chance.choice((None, b"", b"key-%d" % number))
        value = chance.choice((None, b"", chance.randbytes(chance.randrange(300)), b"x" * 5000))
        headers = tuple(
            (f"h{n}", chance.choice((b"", b"v" * n))) for n in range(chance.randrange(3))
        )
        made.append(Entry(key, value, headers))
    return made


def sent(batch: ReadyBatch, producer: int, epoch: int, sequence: int) -> bytes:
    """As aiokafka's sender takes it; a batch that is tried again may be given its state again."""
    batch._set_producer_state(7, 7, 7)
    batch._set_producer_state(producer, epoch, sequence)
    assert batch.size() == len(batch._build())
    return bytes(batch._build())


def test_what_is_encoded_is_read_again_by_the_broker_and_by_the_client() -> None:
    chance = random.Random(20261122)
    for _ in range(40):
        wanted = entries(chance, chance.randrange(1, 60))
        sequence, found = 0, []
        batches = encode(wanted, chance.choice((200, 3_000, 1 << 20)))
        for batch in batches:
            raw = sent(batch, 2**40 + 1, 3, sequence)
            header = read_header(raw)
            assert crc_is_good(raw, 0, header)
            assert (header.producer_id, header.producer_epoch) == (2**40 + 1, 3)
            assert header.base_sequence == sequence
            assert header.is_transactional
            records = unpack(records_of(raw, header), header)
            assert len(records) == header.record_count == batch.record_count()
            (parsed,) = _batches(raw)
            assert parsed.validate_crc()
            found += [Entry(r.key, r.value, tuple(r.headers)) for r in parsed]
            sequence += batch.record_count()
            assert batch.closed()
            assert batch.append(timestamp=None, key=None, value=b"") is None
        assert found == wanted


def _batches(raw: bytes) -> list:
    records, found = MemoryRecords(raw), []
    while records.has_next():
        found.append(records.next_batch())
    return found


def test_batches_are_as_large_as_they_may_be_and_a_record_that_is_larger_goes_alone() -> None:
    small, large = Entry(None, b"s" * 100), Entry(None, b"l" * 2_000)
    counts = [each.record_count() for each in encode([small] * 9, 1_000)]
    assert counts == [8, 1]
    counts = [b.record_count() for b in encode([small, large, small], 1_000)]
    assert counts == [1, 1, 1]
    assert encode([], 1_000) == []


def test_a_key_goes_where_kafkas_clients_send_it() -> None:
    chance, theirs = random.Random(4), DefaultPartitioner()
    for _ in range(500):
        key, count = chance.randbytes(chance.randrange(40)), chance.randrange(1, 30)
        assert chosen_partition(key, count) == theirs(key, list(range(count)), [])
    assert {chosen_partition(None, 3) for _ in range(200)} == {0, 1, 2}
