"""The codecs agree with messages generated from Kafka's own schema."""

import io
import struct
import uuid
from datetime import timedelta

import pytest
from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer

from broker.handlers.table import APIS
from broker.protocol.errors import MalformedRequestError
from broker.protocol.fetch import FetchResult, decode_fetch, encode_fetch
from broker.protocol.headers import read_header, skip_tags
from broker.protocol.messages import decode_request, encode_response
from broker.protocol.produce import PartitionResult, decode_produce, encode_produce


def written(entity: object) -> bytes:
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()


def nested(schema: type, name: str) -> type:
    module = __import__(schema.__module__, fromlist=["x"])
    return getattr(module, name)


@pytest.mark.parametrize("version", range(3, 9))
def test_produce_requests_are_read_as_kafka_writes_them(version: int):
    schema = load_request_schema(0, version)
    topic, partition = nested(schema, "TopicProduceData"), nested(schema, "PartitionProduceData")
    request = schema(
        transactional_id="tx" if version % 2 else None,
        acks=-1,
        timeout=timedelta(milliseconds=1500),
        topic_data=(
            topic(
                name="a",
                partition_data=(
                    partition(index=3, records=b"abc"),
                    partition(index=4, records=None),
                ),
            ),
            topic(name="bé", partition_data=(partition(index=0, records=b""),)),
        ),
    )
    found = decode_produce(memoryview(written(request)), version)
    assert (found.transactional_id, found.acks, found.timeout_ms) == (
        request.transactional_id,
        -1,
        1500,
    )
    assert [
        (p.topic, p.partition, None if p.records is None else bytes(p.records))
        for p in found.partitions
    ] == [("a", 3, b"abc"), ("a", 4, None), ("bé", 0, b"")]


@pytest.mark.parametrize("version", range(3, 9))
def test_produce_responses_are_written_as_kafka_reads_them(version: int):
    results = [
        PartitionResult("a", 1, 0, 10, 1234, 2),
        PartitionResult("a", 2, 87, -1, -1, -1, "no"),
        PartitionResult("b", 0, 0, 7, -1, 0),
    ]
    data = encode_produce(version, results)
    message, size = entity_reader(load_response_schema(0, version))(data, 0)
    assert size == len(data)
    assert [topic.name for topic in message.responses] == ["a", "b"]
    first, second = message.responses[0].partition_responses
    assert (first.index, first.base_offset) == (1, 10)
    assert (second.index, second.error_code) == (2, ErrorCode.invalid_record)
    if version >= 5:
        assert first.log_start_offset == 2
    if version >= 8:
        assert second.error_message == "no"


@pytest.mark.parametrize("version", range(3))
def test_old_produce_responses_have_the_fields_of_their_version(version: int):
    data = encode_produce(version, [PartitionResult("t", 1, 35, -1, -1, -1)])
    expected = struct.pack(">ih1siihq", 1, 1, b"t", 1, 1, 35, -1)
    expected += struct.pack(">q", -1) if version >= 2 else b""
    expected += b"\0\0\0\0" if version >= 1 else b""
    assert data == expected


@pytest.mark.parametrize("version", range(4, 12))
def test_fetch_requests_are_read_as_kafka_writes_them(version: int):
    schema = load_request_schema(1, version)
    topic, partition = nested(schema, "FetchTopic"), nested(schema, "FetchPartition")
    request = schema(
        max_wait=timedelta(milliseconds=500),
        min_bytes=1,
        max_bytes=1000,
        isolation_level=1,
        topics=(
            topic(
                topic="t",
                partitions=(
                    partition(partition=2, fetch_offset=77, partition_max_bytes=99),
                    partition(partition=3, fetch_offset=78, partition_max_bytes=98),
                ),
            ),
        ),
        **({"forgotten_topics_data": ()} if version >= 7 else {}),
    )
    found = decode_fetch(version, memoryview(written(request)))
    assert (found.max_wait_ms, found.min_bytes, found.max_bytes, found.isolation) == (
        500,
        1,
        1000,
        1,
    )
    assert [(p.topic, p.partition, p.offset, p.max_bytes) for p in found.partitions] == [
        ("t", 2, 77, 99),
        ("t", 3, 78, 98),
    ]


@pytest.mark.parametrize("version", range(4, 12))
def test_fetch_responses_are_written_as_kafka_reads_them(version: int):
    results = [
        FetchResult("a", 1, 0, 100, 90, 5, [(7, 60), (8, 70)], memoryview(b"records")),
        FetchResult("a", 2, 1, -1, -1, -1, None, b""),
        FetchResult("b", 0, 0, 3, 3, 0, [], b"more"),
    ]
    data = b"".join(encode_fetch(version, results))
    message, size = entity_reader(load_response_schema(1, version))(data, 0)
    assert size == len(data)
    first, second = message.responses[0].partitions
    assert (first.high_watermark, first.last_stable_offset, bytes(first.records)) == (
        100,
        90,
        b"records",
    )
    assert [(a.producer_id, a.first_offset) for a in first.aborted_transactions] == [
        (7, 60),
        (8, 70),
    ]
    assert second.error_code == ErrorCode.offset_out_of_range
    assert second.aborted_transactions is None
    assert bytes(message.responses[1].partitions[0].records) == b"more"


@pytest.mark.parametrize("version", range(4, 12))
def test_a_topic_asked_for_again_after_others_is_answered_again(version: int):
    """librdkafka names a topic anew whenever the topic before was another."""
    asked = [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("c", 0), ("a", 2)]
    results = [FetchResult(topic, n, 0, 9, 9, 0, None, b"x" * n) for topic, n in asked]
    data = b"".join(encode_fetch(version, results))
    message, size = entity_reader(load_response_schema(1, version))(data, 0)
    assert size == len(data)
    found = [
        (topic.topic, part.partition_index, bytes(part.records))
        for topic in message.responses
        for part in topic.partitions
    ]
    assert found == [(topic, n, b"x" * n) for topic, n in asked]


def test_every_truncation_of_a_hot_request_is_malformed():
    produce = struct.pack(">hhii", -1, -1, 1, 1) + b"\0\1t" + struct.pack(">iii", 1, 0, 3) + b"abc"
    assert len(decode_produce(memoryview(produce), 8).partitions) == 1
    for size in range(len(produce)):
        with pytest.raises(MalformedRequestError):
            decode_produce(memoryview(produce[:size]), 8)
    fetch = struct.pack(">iiiib", -1, 0, 1, 1, 0) + struct.pack(">iii", 0, -1, 1) + b"\0\1t"
    fetch += struct.pack(">iiiqqi", 1, 0, -1, 0, 0, 1) + struct.pack(">ih", 0, 4) + b"rack"
    assert len(decode_fetch(11, memoryview(fetch)).partitions) == 1
    for size in range(len(fetch)):
        with pytest.raises(MalformedRequestError):
            decode_fetch(11, memoryview(fetch[:size]))


@pytest.mark.parametrize("api", [api for api in APIS if not api.raw], ids=lambda api: api.name)
def test_an_answer_without_fields_has_every_field_of_its_version(api):
    for version in range(api.min_version, api.max_version + 1):
        data = encode_response(api.key, version, {})
        _, size = entity_reader(load_response_schema(api.key, version))(data, 0)
        assert size == len(data)


def test_answers_round_trip_through_the_generated_messages():
    topic_id = uuid.UUID(int=77)
    fields = {
        "throttle_time": 12,
        "brokers": [{"node_id": 1, "host": "höst", "port": 9, "rack": None}],
        "cluster_id": "c",
        "controller_id": 1,
        "topics": [
            {
                "error_code": 3,
                "name": "t",
                "topic_id": topic_id,
                "is_internal": True,
                "partitions": [
                    {"error_code": 0, "partition_index": 1, "leader_id": 1, "isr_nodes": [1, 2]}
                ],
                "not_a_field": 1,
            }
        ],
    }
    for version in range(13):
        data = encode_response(3, version, fields)
        message, size = entity_reader(load_response_schema(3, version))(data, 0)
        assert size == len(data)
        assert message.brokers[0].host == "höst"
        assert message.topics[0].error_code == ErrorCode.unknown_topic_or_partition
        assert message.topics[0].partitions[0].isr_nodes == (1, 2)
        if version >= 10:
            assert message.topics[0].topic_id == topic_id


def test_a_control_message_that_is_cut_is_malformed():
    body = written(load_request_schema(3, 1)(topics=()))
    for size in range(len(body)):
        with pytest.raises(MalformedRequestError):
            decode_request(3, 1, body[:size])
    assert decode_request(3, 1, body + b"\0\0").topics == ()


def test_request_headers_of_both_kinds_are_read():
    plain = struct.pack(">hhih", 3, 9, 77, 2) + b"id"
    header = read_header(memoryview(plain))
    assert header[:4] == (3, 9, 77, "id")
    assert header.size == len(plain)
    tagged = memoryview(plain + b"\x02\x00\x01a\x05\x02bb" + b"body")
    assert bytes(tagged[skip_tags(tagged, header.size) :]) == b"body"
    for broken in (plain[:9], plain[:-1], b""):
        with pytest.raises(MalformedRequestError):
            read_header(memoryview(broken))
    for broken in (plain + b"\x01\x00\x7f", plain + b"\xff\xff\xff\xff\xff\xff", plain):
        with pytest.raises(MalformedRequestError):
            skip_tags(memoryview(broken), header.size)
