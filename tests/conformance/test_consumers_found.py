"""Consumer groups that read what is published are found, with how far behind they are."""

# confluent-kafka's admin client is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Consumer as StockConsumer
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import sink_world
from tidemill.consumers import Consumer, consumers_of, sentence
from tidemill.probe import Unreachable

servers = sink_world.servers


def reading(servers: str, group: str, topic: str, records: int) -> None:
    """A stock client that reads so many records, and commits."""
    consumer = StockConsumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    last: dict[int, Message] = {}
    for _ in range(records):
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        last[message.partition() or 0] = message
    for message in last.values():
        consumer.commit(message=message, asynchronous=False)
    consumer.close()


def test_groups_are_found_by_what_they_have_committed(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    names = ("metrics", "rollups", "elsewhere")
    for made in admin.create_topics([NewTopic(name, 2, 1) for name in names]).values():
        made.result(20)
    producer = Producer({"bootstrap.servers": servers})
    for number in range(20):
        for name in names:
            producer.produce(name, b"x", partition=number % 2)
    producer.flush(20)
    reading(servers, "billing", "metrics", 20)
    reading(servers, "charts", "metrics", 5)
    reading(servers, "charts", "rollups", 20)
    reading(servers, "other", "elsewhere", 20)
    found = asyncio.run(consumers_of(servers))
    assert [(one.topic, one.group) for one in found] == [
        ("metrics", "billing"),
        ("metrics", "charts"),
        ("rollups", "charts"),
    ]
    behind = {(one.topic, one.group): one.behind for one in found}
    assert behind["metrics", "billing"] == behind["rollups", "charts"] == 0
    assert behind["metrics", "charts"] == 15


def test_nobody_is_told_and_a_log_that_is_away_as_well() -> None:
    told = sentence([Consumer("metrics", "billing", 1200)])
    assert told.startswith("reads now: metrics: billing (1,200 behind); rollups: no consumer group")
    with pytest.raises(Unreachable, match="no log answers"):
        asyncio.run(consumers_of("127.0.0.1:9", timeout=5))
