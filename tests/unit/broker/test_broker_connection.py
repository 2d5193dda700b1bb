"""One connection's requests, byte by byte: order, bounds, bad input, long polls."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine
from typing import Any

import pytest

from broker.protocol.errors import ErrorCode
from broker.records.build import build_batch


def scenario(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_what_is_produced_is_fetched_back_as_it_was(serve):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            assert await client.create_topic("t") == 0
            assert (await client.produce("t", b"a", b"b")).base_offset == 0
            result = await client.produce("t", b"c")
            assert (result.error_code, result.base_offset) == (0, 2)
            found = await client.fetch("t", 0)
            assert (found.high_watermark, found.last_stable_offset) == (3, 3)
            sent = bytes(build_batch([(None, b"a"), (None, b"b")], 1000))
            assert bytes(found.records)[: len(sent)] == sent

    scenario(work())


def test_a_request_may_arrive_in_any_pieces(serve):
    async def work():
        async with serve(fsync="none") as broker:
            client = await broker.connect()
            await client.create_topic("t")
            batch = bytes(build_batch([(None, b"x" * 40)], 1000))
            frame = client.frame(0, 8, client.produce_body("t", 0, batch))
            for cut in range(1, len(frame)):
                client.writer.write(frame[:cut])
                await client.writer.drain()
                await asyncio.sleep(0)
                client.writer.write(frame[cut:])
                correlation, _ = await client.receive()
                assert correlation == client.correlation
            assert (await client.fetch("t", 0)).high_watermark == len(frame) - 1

    scenario(work())


def test_answers_come_in_the_order_of_requests_whoever_is_ready_first(serve):
    async def work():
        async with serve() as broker:
            client, other = await broker.connect(), await broker.connect()
            await client.create_topic("t")
            parked = client.frame(1, 11, client.fetch_body("t", 0, wait=5000))
            metadata = client.frame(3, 1, struct.pack(">i", 0))
            versions = client.frame(18, 0, b"")
            client.writer.write(parked + metadata + versions)
            assert (await other.produce("t", b"wakes")).error_code == 0
            order = [(await client.receive())[0] for _ in range(3)]
            assert order == [2, 3, 4]

    scenario(work())


def test_a_fetch_waits_for_enough_bytes_or_for_its_time(serve):
    async def work():
        async with serve() as broker:
            client, other = await broker.connect(), await broker.connect()
            await client.create_topic("t")
            loop = asyncio.get_running_loop()
            started = loop.time()
            found = await client.fetch("t", 0, wait=200)
            assert not found.records
            assert loop.time() - started >= 0.19
            waiting = asyncio.create_task(client.fetch("t", 0, wait=9000, least=500))
            await other.produce("t", b"x" * 100)
            assert not waiting.done()
            await other.produce("t", b"x" * 400)
            found = await waiting
            assert len(found.records) > 500

    scenario(work())


def test_deleting_a_topic_ends_the_fetches_that_wait_for_it(serve):
    async def work():
        async with serve() as broker:
            client, other = await broker.connect(), await broker.connect()
            await client.create_topic("t")
            waiting = asyncio.create_task(client.fetch("t", 0, wait=9000))
            await other.fetch("t", 0)
            deleted = await other.ask(20, 1, struct.pack(">ih1si", 1, 1, b"t", 1000))
            assert deleted.responses[0].error_code == 0
            found = await waiting
            assert found.error_code == ErrorCode.unknown_topic_or_partition

    scenario(work())


def test_a_topic_made_again_is_empty(serve):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            for _ in range(3):
                assert await client.create_topic("t") == 0
                assert (await client.produce("t", b"a")).base_offset == 0
                await client.ask(20, 1, struct.pack(">ih1si", 1, 1, b"t", 1000))
        async with serve() as broker:
            client = await broker.connect()
            found = await client.fetch("t", 0)
            assert found.error_code == ErrorCode.unknown_topic_or_partition

    scenario(work())


def test_no_answer_to_acks_0_and_the_next_request_is_answered(serve):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            await client.create_topic("t")
            batch = bytes(build_batch([(None, b"x")], 1000))
            client.writer.write(client.frame(0, 8, client.produce_body("t", 0, batch, acks=0)))
            found = await client.fetch("t", 0, wait=5000)
            assert len(found.records) == len(batch)

    scenario(work())


@pytest.mark.parametrize(
    ("topic", "partition", "acks", "error"),
    [
        ("t", 0, 2, ErrorCode.invalid_required_acks),
        ("t", 7, -1, ErrorCode.unknown_topic_or_partition),
        ("none", 0, -1, ErrorCode.unknown_topic_or_partition),
        ("__consumer_offsets", 0, -1, ErrorCode.invalid_topic_exception),
    ],
)
def test_a_produce_that_cannot_be_is_told_why(serve, topic, partition, acks, error):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            await client.create_topic("t")
            batch = bytes(build_batch([(None, b"x")], 1000))
            body = client.produce_body(topic, partition, batch, acks=acks)
            answer = await client.ask(0, 8, body)
            assert answer.responses[0].partition_responses[0].error_code == error

    scenario(work())


def test_produce_before_version_3_is_refused_in_its_own_version(serve):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            await client.create_topic("t")
            for version in range(3):
                body = client.produce_body("t", 0, b"\0" * 30)[2:]
                client.writer.write(client.frame(0, version, body))
                _, data = await client.receive()
                assert struct.unpack_from(">ih1siih", data)[-1] == ErrorCode.unsupported_version

    scenario(work())


def test_an_unknown_version_of_api_versions_is_answered_in_version_0(serve):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            client.writer.write(struct.pack(">ihhih", 14, 18, 99, 5, 4) + b"test")
            correlation, data = await client.receive()
            error, count = struct.unpack_from(">hi", data)
            assert (correlation, error) == (5, ErrorCode.unsupported_version)
            ranges = {
                key: (low, high)
                for key, low, high in struct.iter_unpack(">hhh", data[6 : 6 + 6 * count])
            }
            assert ranges[0] == (0, 8)
            assert ranges[1] == (4, 11)
            assert len(data) == 6 + 6 * count

    scenario(work())


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">i", -1),
        struct.pack(">i", 3) + b"abc",
        struct.pack(">i", 2**31 - 1),
        struct.pack(">ihhih", 10, 999, 0, 1, -1),
        struct.pack(">ihhih", 10, 1, 0, 1, -1),
        struct.pack(">ihhih", 12, 3, 1, 1, -1) + b"\0\0",
        struct.pack(">ihhih", 12, 0, 8, 1, -1) + b"\0\0",
        struct.pack(">ihhih", 10, 3, 1, 1, 500),
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
    ],
)
def test_a_client_that_sends_garbage_is_disconnected_and_others_are_served(serve, bad: bytes):
    async def work():
        async with serve() as broker:
            client, other = await broker.connect(), await broker.connect()
            client.writer.write(bad)
            async with asyncio.timeout(5):
                assert await client.reader.read() == b""
            assert await other.create_topic("t") == 0
            _, text = await broker.http("/metrics")
            assert "malformed_requests_total 1" in text

    scenario(work())


def test_hundreds_of_requests_in_one_write_are_all_answered_in_order(serve):
    async def work():
        async with serve(fsync="none") as broker:
            client = await broker.connect()
            await client.create_topic("t")
            await client.produce("t", b"x" * 50_000)
            first = client.correlation + 1
            frames = [
                client.frame(1, 11, client.fetch_body("t", 0))
                if i % 3
                else client.frame(18, 0, b"")
                for i in range(900)
            ]
            client.writer.write(b"".join(frames))
            order = [(await client.receive())[0] for _ in frames]
            assert order == list(range(first, first + len(frames)))

    scenario(work())


def test_a_client_that_never_reads_does_not_grow_the_broker(serve):
    async def work():
        async with serve(fsync="none", max_pipelined_bytes=4 << 20) as broker:
            client, other = await broker.connect(), await broker.connect()
            await client.create_topic("t", max_message_bytes="2000000")
            await client.produce("t", b"x" * 1_000_000)
            frame = client.frame(1, 11, client.fetch_body("t", 0))
            sent = 0
            for _ in range(400):
                client.writer.write(frame * 50)
                sent += 50
            deadline = asyncio.get_running_loop().time() + 5
            pending, before = -1, 0.0
            while asyncio.get_running_loop().time() < deadline:
                _, text = await broker.http("/metrics")
                now = float(
                    next(
                        line.split()[-1]
                        for line in text.splitlines()
                        if line.startswith('tidemill_broker_requests_total{api="Fetch"}')
                    )
                )
                if now == before:
                    pending = now
                    break
                before = now
                await asyncio.sleep(0.1)
            assert 0 < pending < 100, "handling goes on although nobody reads"
            assert (await other.produce("t", b"y")).error_code == 0
            client.writer.transport.abort()

    scenario(work())


def test_large_requests_pass_and_too_large_ones_end_the_connection(serve):
    async def work():
        async with serve(max_request_bytes=3 << 20) as broker:
            client = await broker.connect()
            await client.create_topic("t", max_message_bytes="10000000")
            assert (await client.produce("t", b"x" * (2 << 20))).error_code == 0
            batch = bytes(build_batch([(None, b"x" * (4 << 20))], 1000))
            client.writer.write(client.frame(0, 8, client.produce_body("t", 0, batch)))
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.receive()

    scenario(work())


def test_health_and_metrics_tell_what_goes_on(serve):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            await client.create_topic("t")
            await client.produce("t", b"a")
            status, body = await broker.http("/health")
            assert (status, '"healthy": true' in body) == (200, True)
            status, text = await broker.http("/metrics")
            assert status == 200
            assert 'tidemill_broker_log_high_watermark{topic="t",partition="0"} 1' in text
            assert 'tidemill_broker_requests_total{api="Produce"} 1' in text
            assert (await broker.http("/other"))[0] == 404

    scenario(work())


def test_everything_is_there_after_a_restart(serve):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            await client.create_topic("t", retention_ms="-1")
            await client.produce("t", b"a", producer_id=1, producer_epoch=0, base_sequence=0)
            ids = {(await client.ask(22, 0, struct.pack(">hi", -1, 1))).producer_id for _ in "abc"}
        async with serve() as broker:
            client = await broker.connect()
            again = await client.produce(
                "t", b"a", producer_id=1, producer_epoch=0, base_sequence=0
            )
            assert (again.error_code, again.base_offset) == (0, 0)
            following = await client.produce(
                "t", b"b", producer_id=1, producer_epoch=0, base_sequence=1
            )
            assert following.base_offset == 1
            later = {(await client.ask(22, 0, struct.pack(">hi", -1, 1))).producer_id for _ in "ab"}
            assert len(ids | later) == 5

    scenario(work())


def test_a_handler_that_fails_is_answered_with_an_error_and_the_connection_lives(serve, tmp_path):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            (tmp_path / "data" / "node.json.new").mkdir()
            failed = await client.ask(22, 0, struct.pack(">hi", -1, 1))
            assert failed.error_code == ErrorCode.unknown_server_error
            (tmp_path / "data" / "node.json.new").rmdir()
            assert (await client.ask(22, 0, struct.pack(">hi", -1, 1))).producer_id > 0
            _, text = await broker.http("/metrics")
            assert 'request_errors_total{api="InitProducerId"} 1' in text

    scenario(work())


def test_a_topic_table_that_cannot_be_written_leaves_everything_as_it_was(serve, tmp_path):
    async def work():
        async with serve() as broker:
            client = await broker.connect()
            assert await client.create_topic("t") == 0
            (tmp_path / "data" / "topics.json.new").mkdir()
            assert await client.create_topic("u") == ErrorCode.kafka_storage_error
            deleted = await client.ask(20, 1, struct.pack(">ih1si", 1, 1, b"t", 1000))
            assert deleted.responses[0].error_code == ErrorCode.kafka_storage_error
            assert (await client.produce("t", b"a")).error_code == 0
            (tmp_path / "data" / "topics.json.new").rmdir()
            assert await client.create_topic("u") == 0
        async with serve() as broker:
            client = await broker.connect()
            assert (await client.fetch("t", 0)).high_watermark == 1

    scenario(work())
