"""A large changelog is encoded piece by piece: all of it, in order, and never far ahead."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from aiokafka.record.memory_records import MemoryRecords

from streams.config import WorkerConfig
from streams.state.changelog import ChangelogRecord
from streams.worker.batches import ReadyBatch
from streams.worker.encoding import PIECE_BYTES, Encoding, cut

CONFIG = WorkerConfig("app", "nowhere:1", None)


def changelog(sizes: list[int]) -> list[ChangelogRecord]:
    return [ChangelogRecord(b"%d" % n, bytes([n % 256]) * size) for n, size in enumerate(sizes)]


def keys(batches: list[ReadyBatch]) -> list[bytes]:
    return [r.key for batch in batches for r in MemoryRecords(bytes(batch._build())).next_batch()]


def test_pieces_are_all_of_it_in_order() -> None:
    records = changelog([PIECE_BYTES // 3] * 10 + [1, 2 * PIECE_BYTES, 0])
    found = [list(piece) for piece in cut(records)]
    assert [record for piece in found for record in piece] == records
    assert [len(piece) for piece in found] == [4, 4, 4, 1]
    assert list(cut([])) == []


def test_what_is_encoded_is_sent_in_order_and_the_rest_is_let_go() -> None:
    records = changelog([900_000] * 40)

    async def read(until: int) -> list[bytes]:
        found: list[bytes] = []
        with ThreadPoolExecutor(2) as codec:
            encoding = Encoding(CONFIG, codec, transactional=True)
            async with aclosing(encoding.pieces(records)) as pieces:
                async for batches in pieces:
                    found += keys(list(batches))
                    if len(found) >= until:
                        break
        return found

    every = [record.key for record in records]
    assert asyncio.run(read(40)) == every
    assert asyncio.run(read(1)) == every[:5]
