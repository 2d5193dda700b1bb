"""A group's positions in a topic go with the topic."""

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic


def test_a_topic_made_again_under_an_old_name_is_read_from_its_beginning(broker):
    admin = AdminClient({"bootstrap.servers": broker.address})
    settings = {"bootstrap.servers": broker.address, "group.id": "readers"}

    def make_and_fill() -> None:
        admin.create_topics([NewTopic("t", 1, 1)])["t"].result(20)
        producer = Producer({"bootstrap.servers": broker.address})
        for value in "abc":
            producer.produce("t", value.encode(), partition=0)
        assert producer.flush(20) == 0

    make_and_fill()
    consumer = Consumer(settings)
    consumer.commit(offsets=[TopicPartition("t", 0, 3)], asynchronous=False)
    assert consumer.committed([TopicPartition("t", 0)], 20)[0].offset == 3
    admin.delete_topics(["t"])["t"].result(20)
    make_and_fill()
    assert consumer.committed([TopicPartition("t", 0)], 20)[0].offset < 0
    consumer.close()
