"""librdkafka (confluent-kafka) against the broker: what any application may do."""

from __future__ import annotations

import time
import uuid

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture
def admin(broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.address})


@pytest.fixture
def topic(admin) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(10)
    return name


def read(broker, topic: str, count: int, **settings) -> list[Message]:
    """`count` messages of all partitions from the beginning."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "none", **settings})
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in partitions])
    found: list[Message] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(500, 0.2):
            assert message.error() is None
            found.append(message)
    consumer.close()
    return found


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("idempotent", [True, False])
def test_every_codec_comes_back_in_order_with_keys_headers_and_times(
    broker, topic, codec, idempotent
):
    producer = Producer(
        {
            "bootstrap.servers": broker.address,
            "compression.type": codec,
            "enable.idempotence": idempotent,
            "linger.ms": 2,
        }
    )
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)

    for i in range(600):
        producer.produce(
            topic,
            value=b"value %d " % i * 10,
            key=b"%d" % i,
            headers={"h": b"%d" % i},
            timestamp=1_700_000_000_000 + i,
            partition=i % 3,
            on_delivery=delivered,
        )
    assert producer.flush(20) == 0
    assert failures == []
    found = read(broker, topic, 600)
    assert len(found) == 600
    for partition in range(3):
        mine = [m for m in found if m.partition() == partition]
        assert [m.offset() for m in mine] == list(range(200))
        assert [int(m.key()) for m in mine] == list(range(partition, 600, 3))
        assert all(m.headers() == [("h", m.key())] for m in mine)
        assert all(m.timestamp()[1] == 1_700_000_000_000 + int(m.key()) for m in mine)


def test_offsets_are_listed_by_end_start_and_time(broker, admin, topic):
    producer = Producer({"bootstrap.servers": broker.address})
    for i in range(100):
        producer.produce(topic, b"x", partition=0, timestamp=1000 + 10 * i)
    producer.flush(10)
    place = TopicPartition(topic, 0)
    for spec, offset in (
        (OffsetSpec.earliest(), 0),
        (OffsetSpec.latest(), 100),
        (OffsetSpec.for_timestamp(1495), 50),
        (OffsetSpec.max_timestamp(), 99),
    ):
        found = admin.list_offsets({place: spec})[place].result(10)
        assert found.offset == offset
    committed = admin.list_offsets(
        {place: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED
    )[place].result(10)
    assert committed.offset == 100
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "x"})
    assert consumer.get_watermark_offsets(place, 10) == (0, 100)
    assert consumer.offsets_for_times([TopicPartition(topic, 0, 1000 + 990)], 10)[0].offset == 99
    assert consumer.offsets_for_times([TopicPartition(topic, 0, 9999)], 10)[0].offset == -1
    consumer.close()


def test_topics_are_made_grown_configured_and_deleted(broker, admin, topic):
    with pytest.raises(KafkaException, match="TOPIC_ALREADY_EXISTS"):
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    with pytest.raises(KafkaException, match="INVALID_CONFIG"):
        admin.create_topics([NewTopic("u", 1, 1, config={"nonsense": "1"})])["u"].result(10)
    with pytest.raises(KafkaException, match="INVALID_REPLICATION_FACTOR"):
        admin.create_topics([NewTopic("u", 1, 3)])["u"].result(10)
    with pytest.raises(KafkaException, match="TOPIC_EXCEPTION"):
        admin.create_topics([NewTopic("a/b", 1, 1)])["a/b"].result(10)
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(10)
    with pytest.raises(KafkaException, match="INVALID_PARTITIONS"):
        admin.create_partitions([NewPartitions(topic, 5)])[topic].result(10)
    assert len(admin.list_topics(topic, 10).topics[topic].partitions) == 5
    resource = ConfigResource(
        "TOPIC",
        topic,
        incremental_configs=[
            ConfigEntry("retention.ms", "1234", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry(
                "cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND
            ),
        ],
    )
    admin.incremental_alter_configs([resource])[resource].result(10)
    resource = ConfigResource("TOPIC", topic)
    found = admin.describe_configs([resource])[resource].result(10)
    assert found["retention.ms"].value == "1234"
    assert found["cleanup.policy"].value == "delete,compact"
    assert found["segment.bytes"].is_default
    admin.delete_topics([topic])[topic].result(10)
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC"):
        admin.delete_topics([topic])[topic].result(10)


def test_the_broker_describes_itself(broker, admin):
    resource = ConfigResource("BROKER", "1")
    found = admin.describe_configs([resource])[resource].result(10)
    assert found["tidemill.fsync"].value == "group"
    cluster = admin.describe_cluster().result(10)
    assert [(node.id, node.port) for node in cluster.nodes] == [(1, broker.port)]
    assert cluster.cluster_id


def test_an_unknown_topic_is_not_made_by_asking_for_it(broker, admin):
    producer = Producer({"bootstrap.servers": broker.address, "message.timeout.ms": 1500})
    errors: list[KafkaError] = []
    producer.produce("never-made", b"x", on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    assert len(errors) == 1
    assert "never-made" not in admin.list_topics(timeout=10).topics


def test_a_message_over_the_topics_limit_is_refused_for_good(broker, admin):
    name = f"t-{uuid.uuid4().hex[:8]}"
    new = NewTopic(name, 1, 1, config={"max.message.bytes": "1000"})
    admin.create_topics([new])[name].result(10)
    producer = Producer({"bootstrap.servers": broker.address})
    errors: list[KafkaError] = []
    producer.produce(name, b"x" * 5000, on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    assert [error.code() for error in errors] == [KafkaError.MSG_SIZE_TOO_LARGE]


def test_records_can_be_deleted_up_to_an_offset(broker, admin, topic):
    producer = Producer({"bootstrap.servers": broker.address})
    for i in range(50):
        producer.produce(topic, b"%d" % i, partition=0)
    producer.flush(10)
    place = TopicPartition(topic, 0, 20)
    assert admin.delete_records([place])[place].result(10).low_watermark == 20
    assert [m.offset() for m in read(broker, topic, 30)] == list(range(20, 50))


def test_a_fetch_from_the_middle_of_a_batch_begins_there(broker, topic):
    producer = Producer({"bootstrap.servers": broker.address, "linger.ms": 50})
    for i in range(100):
        producer.produce(topic, b"%d" % i, partition=0)
    producer.flush(10)
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "none"})
    consumer.assign([TopicPartition(topic, 0, 57)])
    message = consumer.poll(10)
    assert message is not None
    assert message.offset() == 57
    consumer.close()
