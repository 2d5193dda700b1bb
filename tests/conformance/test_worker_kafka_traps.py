"""What aiokafka does not do by itself, done by `streams.worker.kafka`, against a real broker."""

import asyncio
import importlib.util
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.config import WorkerConfig
from streams.errors import Fenced, MustRestore, Retriable
from streams.state.changelog import ChangelogRecord
from streams.task.processor import OutputRecord
from streams.worker.kafka import OffsetLookup, TransactionalProducer, create_topic
from streams.worker.ranges import RangeReader
from tests.ports import free_port

_spec = importlib.util.spec_from_file_location(
    "worker_processes", Path(__file__).with_name("test_worker_processes.py")
)
assert _spec is not None
assert _spec.loader is not None
_processes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_processes)

LOG = ("log", 0)
CODEC = ThreadPoolExecutor(2)
STATE = [ChangelogRecord(b"k", b"state"), ChangelogRecord(b"p", b"position")]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = _processes.Broker(tmp_path_factory.mktemp("traps"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def config(broker) -> WorkerConfig:
    return WorkerConfig("traps", broker.address, None, request_timeout_ms=5_000)


@pytest.fixture
def fresh(broker, request) -> Callable[..., Any]:
    """Run a coroutine function with a changelog and an output topic of its own names."""

    def run(work: Callable[..., Awaitable[None]]) -> None:
        async def with_topics() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
            await admin.start()
            names = [f"{request.node.name}-{kind}" for kind in ("log", "out", "tiny")]
            tiny = {"max.message.bytes": "2000"}
            topics = [NewTopic(n, 1, 1) for n in names[:2]]
            await admin.create_topics([*topics, NewTopic(names[2], 1, 1, topic_configs=tiny)])
            await admin.close()
            await asyncio.wait_for(work(*names), 60)

        asyncio.run(with_topics())

    return run


async def committed(config: WorkerConfig, topic: str) -> list[bytes | None]:
    lookup, reader = OffsetLookup(config), RangeReader(config, CODEC)
    start, end = await lookup.stable_bounds((topic, 0))
    found: list[bytes | None] = []
    while start < end:
        records, start = await reader.read((topic, 0), start, end)
        found += [record.value for record in records]
    await lookup.stop()
    return found


def test_a_failed_produce_fails_the_whole_transaction(broker, config, fresh):
    async def work(log: str, out: str, tiny: str) -> None:
        producer = TransactionalProducer(config, log, CODEC)
        await producer.start()
        outputs = [OutputRecord(out, 0, b"k", b"1"), OutputRecord(tiny, 0, b"k", os.urandom(9_000))]
        with pytest.raises(MustRestore):
            await producer.commit(outputs, STATE, (log, 0))
        with pytest.raises(MustRestore, match="no producer"):
            await producer.commit([], STATE, (log, 0))
        assert await committed(config, out) == []
        assert await committed(config, log) == []
        await producer.start()
        assert await producer.commit(outputs[:1], STATE, (log, 0)) > 0
        assert await committed(config, out) == [b"1"]
        assert await committed(config, log) == [b"state", b"position"]
        await producer.stop()

    fresh(work)


def test_a_client_that_does_not_close_well_is_let_go_of_all_the_same(broker, config, fresh, caplog):
    """Its task for metadata may have ended with what uvloop says of a connection that is gone."""

    async def closed() -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def work(log: str, out: str, tiny: str) -> None:
        producer = TransactionalProducer(config, log, CODEC)
        await producer.start()
        assert producer._producer is not None
        client = producer._producer.client
        client._sync_task.cancel()
        client._sync_task = asyncio.create_task(closed())
        with pytest.raises(MustRestore):
            await producer.commit([OutputRecord(tiny, 0, b"k", os.urandom(9_000))], STATE, (log, 0))
        assert "the handler is closed" in caplog.text
        await producer.start()
        assert await producer.commit([OutputRecord(out, 0, b"k", b"1")], STATE, (log, 0)) > 0
        assert await committed(config, out) == [b"1"]
        await producer.stop()

    fresh(work)


def test_the_answer_of_a_commit_is_the_offset_behind_its_position(broker, config, fresh):
    async def work(log: str, out: str, tiny: str) -> None:
        producer, lookup = TransactionalProducer(config, log, CODEC), OffsetLookup(config)
        await producer.start()
        large = [ChangelogRecord(b"%d" % n, os.urandom(900_000)) for n in range(5)]
        for changelog in (STATE, [*large, *STATE]):
            start = (await lookup.full_bounds((log, 0)))[1]
            behind = await producer.commit([], changelog, (log, 0))
            assert behind == start + len(changelog)
            assert (await lookup.full_bounds((log, 0)))[1] == behind + 1  # the marker
        await lookup.stop()
        await producer.stop()

    fresh(work)


def test_a_previous_owner_is_fenced_and_what_it_left_open_is_ended(broker, config, fresh):
    async def work(log: str, out: str, tiny: str) -> None:
        old, new = (
            TransactionalProducer(config, log, CODEC),
            TransactionalProducer(config, log, CODEC),
        )
        await old.start()
        await old.commit([OutputRecord(out, 0, b"k", b"1")], STATE, (log, 0))
        await new.start()
        with pytest.raises(Fenced):
            await old.commit([OutputRecord(out, 0, b"k", b"2")], STATE, (log, 0))
        await new.commit([OutputRecord(out, 0, b"k", b"3")], STATE, (log, 0))
        assert await committed(config, out) == [b"1", b"3"]
        await old.stop()
        await new.stop()

    fresh(work)


def test_bounds_tell_the_high_watermark_from_the_last_stable_offset(broker, config, fresh):
    async def work(log: str, out: str, tiny: str) -> None:
        producer, lookup = TransactionalProducer(config, log, CODEC), OffsetLookup(config)
        await producer.start()
        await producer.commit([], STATE, (log, 0))
        inner: Any = producer._producer
        await inner.begin_transaction()
        await inner.send_and_wait(log, b"open", partition=0)
        stable, full = await lookup.stable_bounds((log, 0)), await lookup.full_bounds((log, 0))
        assert full[1] == stable[1] + 1
        await producer.start()  # the next registration ends it
        assert (await lookup.stable_bounds((log, 0)))[1] == full[1] + 1
        await lookup.stop()
        await producer.stop()

    fresh(work)


def test_a_range_is_read_exactly(broker, config, fresh):
    async def work(log: str, out: str, tiny: str) -> None:
        producer, reader = TransactionalProducer(config, log, CODEC), RangeReader(config, CODEC)
        await producer.start()
        for number in range(6):  # offsets 0, 2, 4, ...: a marker behind each
            await producer.commit([OutputRecord(out, 0, None, b"%d" % number)], STATE, (log, 0))
        for start, end, want in ((0, 12, "012345"), (2, 9, "1234"), (3, 4, ""), (3, 5, "2")):
            found, at = [], start
            while at < end:
                records, at = await reader.read((out, 0), at, end)
                found += [(record.value or b"").decode() for record in records]
            assert "".join(found) == want
            assert at == end
        await reader.close()
        await producer.stop()

    fresh(work)


def test_a_topic_is_created_once_and_its_partitions_are_known_at_once(broker, config, fresh):
    async def work(log: str, out: str, tiny: str) -> None:
        lookup = OffsetLookup(config)
        assert await lookup.partition_count(f"{log}-new") == 0
        for _ in range(2):
            await create_topic(config, f"{log}-new", 3, {"cleanup.policy": "compact"})
            assert await lookup.partition_count(f"{log}-new") == 3
        await lookup.stop()

    fresh(work)


def test_without_a_broker_every_call_says_retriable_within_its_time(config):
    async def work() -> None:
        port = free_port()
        nowhere = WorkerConfig("traps", f"127.0.0.1:{port}", None, request_timeout_ms=1_000)
        lookup = OffsetLookup(nowhere)
        for call in (
            TransactionalProducer(nowhere, "x", CODEC).start(),
            lookup.stable_bounds(LOG),
            RangeReader(nowhere, CODEC).read(LOG, 0, 5),
            create_topic(nowhere, "x", 1, {}),
        ):
            with pytest.raises(Retriable):
                await asyncio.wait_for(call, 10)
        assert not await lookup.answers(1.0)
        await lookup.stop()

    asyncio.run(work())
