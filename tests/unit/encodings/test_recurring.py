"""Messages that come again: read as the reference parser reads them, whatever came before."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
from otlp_reference import Subject, corpus, difference, differences

from topologies.encodings.recurring import Recurring


def attribute(attributes, key: str, value: str) -> None:
    attributes.add(key=key).value.string_value = value


def fill(metric: Metric, form: random.Random, chance: random.Random, points: int) -> None:
    """Points whose form, and whose times and values, are drawn apart."""
    as_sum, as_int = form.random() < 0.5, form.random() < 0.3
    if as_sum:
        metric.sum.aggregation_temporality = form.choice((0, 1, 2))
        metric.sum.is_monotonic = form.random() < 0.5
    for number in range(points):
        point = NumberDataPoint(time_unix_nano=chance.randrange(1 << 64))
        if form.random() < 0.7:
            point.start_time_unix_nano = chance.randrange(1 << 63)
        if form.random() < 0.1:
            point.ClearField("time_unix_nano")
        if form.random() < 0.1:
            point.flags = form.choice((1, 2, 300))
        if form.random() < 0.9:
            if as_int:
                point.as_int = chance.randrange(-(1 << 63), 1 << 63)
            else:
                point.as_double = chance.choice((chance.random(), float("nan"), -0.0, 1e300))
        for key in range(form.randrange(4)):
            attribute(point.attributes, f"key{key}", f"{number}" * form.choice((0, 1, 40)))
        (metric.sum if as_sum else metric.gauge).data_points.append(point)


def request(form: int, chance: random.Random, points: int = 0) -> bytes:
    """A request of the form of this number; its times and values are other ones each time."""
    drawn = random.Random(form)
    made = ExportMetricsServiceRequest()
    for _ in range(drawn.choice((1, 1, 1, 2))):
        resource = made.resource_metrics.add(schema_url="https://schema")
        attribute(resource.resource.attributes, "host", f"h{form}")
        for _ in range(drawn.choice((1, 1, 2))):
            scope = resource.scope_metrics.add()
            scope.scope.name = drawn.choice(("", "scope"))
            for name in range(drawn.choice((1, 2, 3))):
                metric = scope.metrics.add(name=f"m{name}", unit=drawn.choice(("", "By")))
                fill(metric, drawn, chance, points or drawn.randrange(5))
    return made.SerializeToString()


def known(message_of, recalls: int = 1, tenant: str = "acme") -> Subject:
    """A subject that knows this message by heart, and recalled it so often."""
    subject = Subject(recalls=True)
    for _ in range(2 + recalls):
        assert differences(subject, [message_of()], tenant) == []
    assert len(subject.series.recurring) == 1
    return subject


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_again_is_read_as_the_reference_parser_reads_it(seed: int) -> None:
    """A few forms by turns, in batches of any size, between messages that come once."""
    chance = random.Random(seed)
    subject = Subject(recalls=True, points=4)
    for _ in range(60):
        batch = [request(chance.randrange(seed * 100, seed * 100 + 8), chance) for _ in range(6)]
        batch += [request(chance.randrange(1 << 40), chance), *corpus()[:1]]
        chance.shuffle(batch)
        assert differences(subject, batch[: chance.randrange(1, 9)]) == []
    assert subject.recalled > 100
    assert len(subject.series.recurring) >= 4


def test_a_byte_that_differs_anywhere_is_noticed() -> None:
    chance = random.Random(1)
    message = request(7, chance, points=3)
    subject = known(lambda: message)
    for place in range(len(message)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(message)
            changed[place] ^= flip
            assert differences(subject, [bytes(changed), message]) == [], place


def test_bytes_that_differ_between_fields_are_noticed_where_the_rest_is_the_same() -> None:
    """Each point's attributes have another value of the same length, one point at a time."""

    def of(values: list[str]) -> bytes:
        made = ExportMetricsServiceRequest()
        metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
        for value in values:
            point = metric.gauge.data_points.add(time_unix_nano=5, as_double=1.5)
            attribute(point.attributes, "key", value)
        return made.SerializeToString()

    base = [f"value-{number:03d}" for number in range(40)]
    subject = known(lambda: of(base))
    for number in range(40):
        other = [*base[:number], "other-one", *base[number + 1 :]]
        assert differences(subject, [of(other)]) == []
    assert subject.recalled == 40


@pytest.mark.parametrize("behind", [0, 15, 16, 17])
def test_a_message_that_ends_with_what_it_is_looked_up_by_is_read(behind: int) -> None:
    """Sixteen bytes behind the first attributes are read with them: nothing behind the message."""
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add(schema_url="u" * max(0, behind - 2))
    metric = resource.scope_metrics.add().metrics.add(name="m")
    point = metric.gauge.data_points.add(time_unix_nano=5, as_double=1.5)
    attribute(point.attributes, "key", "value" * 40)
    message = made.SerializeToString()
    subject = Subject(recalls=True)
    for _ in range(4):
        assert differences(subject, [message]) == []
    assert subject.recalled == (2 if behind >= 16 else 0)


def test_the_same_bytes_of_another_tenant_are_other_streams() -> None:
    message = request(3, random.Random(1), points=2)
    subject = known(lambda: message)
    recalled = subject.recalled
    (reading,) = subject.read([message], "other")
    assert difference(message, reading, "other") == ""
    assert subject.recalled == recalled


def test_slots_that_are_numbered_anew_are_not_recalled() -> None:
    chance = random.Random(1)
    subject = Subject(recalls=True)
    first, second = (lambda: request(11, chance, points=2)), (lambda: request(12, chance, points=2))
    for _ in range(3):
        assert differences(subject, [first(), second()]) == []
    streams = subject.series
    hosts = [streams.stream(slot).resource["host"] for slot in range(len(streams))]
    streams.keep(np.array([host == "h12" for host in hosts]))
    assert len(streams.recurring) == 0
    recalled = subject.recalled
    assert differences(subject, [second(), first()]) == []
    assert subject.recalled == recalled


def test_messages_with_histograms_are_read() -> None:
    subject = Subject(recalls=True)
    for _ in range(5):
        assert differences(subject, corpus()[:2]) == []
    assert (len(subject.series.recurring), subject.recalled) == (0, 0)


def length_delimited(number: int, payload: bytes) -> bytes:
    size, length = len(payload), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


def test_fields_in_another_order_than_that_of_their_numbers_are_read() -> None:
    def of(time: int, value: float) -> bytes:
        point = b"\x21" + struct.pack("<d", value) + b"\x19" + struct.pack("<q", time)
        gauge = length_delimited(5, length_delimited(1, point))
        metric = length_delimited(2, length_delimited(1, b"m") + gauge)
        return length_delimited(1, length_delimited(2, metric))

    subject = Subject(recalls=True)
    for time in range(1, 6):
        assert differences(subject, [of(time, time / 7)]) == []
    assert subject.recalled == 0


def test_of_a_field_that_comes_twice_the_last_counts_when_it_comes_again() -> None:
    def of(first: int, last: int) -> bytes:
        times = b"\x19" + struct.pack("<q", first) + b"\x19" + struct.pack("<q", last)
        gauge = length_delimited(5, length_delimited(1, times + b"\x21" + bytes(8)))
        metric = length_delimited(2, length_delimited(1, b"m") + gauge)
        return length_delimited(1, length_delimited(2, metric))

    subject = known(lambda: of(1, 5))
    assert differences(subject, [of(1, 6)]) == []
    assert subject.recalled == 2
    assert differences(subject, [of(2, 6)]) == []
    assert subject.recalled == 2


def test_a_message_that_is_shuffled_each_time_is_not_kept() -> None:
    """Its first point stays where it is, so it is looked up by the same key."""
    chance = random.Random(1)
    subject = Subject(recalls=True)
    for _ in range(40):
        made = ExportMetricsServiceRequest()
        metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
        for key in ["0", *chance.sample([str(each) for each in range(1, 9)], 8)]:
            attribute(metric.gauge.data_points.add(time_unix_nano=5).attributes, "key", key)
        assert differences(subject, [made.SerializeToString()]) == []
    assert len(subject.series.recurring) == 0


def test_what_varies_all_the_time_is_kept_ever_less_often() -> None:
    """An exemplar's value is no part of a stream, and is another one each time."""
    scanner, series = Subject().scanner, Subject().series
    series.recurring = Recurring(least=0)
    asked = 0
    for number in range(64):
        made = ExportMetricsServiceRequest()
        metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
        metric.gauge.data_points.add(time_unix_nano=5).exemplars.add(as_double=number)
        points = scanner.scan([made.SerializeToString()], ["acme"], series.recurring)
        asked += len(points.again)
        series.resolve(points)
    assert asked == 7  # when it came twice, and was missed for the 1st, 2nd, 4th, 8th, 16th, 32nd


def test_a_message_that_turns_out_malformed_is_not_kept() -> None:
    point = length_delimited(7, b"\x0a\x01\xff")  # an attribute whose key is no UTF-8
    gauge = length_delimited(5, length_delimited(1, b"\x19" + bytes(8) + point))
    message = length_delimited(1, length_delimited(2, length_delimited(2, gauge)))
    subject = Subject(recalls=True)
    for _ in range(4):
        (reading,) = subject.read([message], "acme")
        assert reading.refused == "bad-utf8"
    assert subject.recalled == 0


def test_what_came_no_more_makes_room_and_what_comes_stays() -> None:
    chance = random.Random(1)
    subject = Subject(recalls=True)
    size = len(request(1, chance, points=4))
    subject.series.recurring = Recurring(limit=20 * (size + 400), least=0)

    def send(first: int, times: int) -> int:
        before = subject.recalled
        for _ in range(times):
            batch = [request(form, chance, points=4) for form in range(first, first + 5)]
            assert differences(subject, batch) == []
            assert subject.series.recurring.size <= 20 * (size + 400)
        return subject.recalled - before

    assert send(0, 4) > 0
    for first in range(5, 300, 5):
        send(first, 4)
    send(300, 20)
    every = sum(len(subject.read([request(form, chance, points=4)], "acme")[0].rows)
                for form in range(300, 305))  # fmt: skip
    assert send(300, 1) == every
