"""Where a request goes around a change of epochs, and what an edge does that cannot know."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.edge.cut import cut, partition_of
from topologies.encodings.otlp import times_of
from topologies.epochs import Epochs, Listed

SECOND = 1_000_000_000
T, GAP = 10_000 * SECOND, 900 * SECOND
NOW = T - 5 * SECOND
LATER = Epochs((Listed("telemetry.raw.e2", 7, T),), GAP)


def request(*times: int) -> bytes:
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    for time in times:
        metric.gauge.data_points.add(time_unix_nano=time, as_double=1.0)
    return message.SerializeToString()


def places(value: bytes, epochs: Epochs = LATER, received: int = NOW) -> dict[str, int]:
    cutting = cut(
        value, tenant="t", topic="telemetry.raw", partitions=3, received_ns=received, limit=9999,
        epochs=epochs,
    )  # fmt: skip
    values = {record.value for record in cutting.records}
    headers = {record.headers for record in cutting.records}
    assert len(values) == len(headers) == 1, "the same bytes, the same digest"
    key = cutting.records[0].key
    counts = {"telemetry.raw": 3, "telemetry.raw.e2": 7, "telemetry.raw.e3": 2}
    assert all(r.partition == partition_of(key, counts[r.topic]) for r in cutting.records)
    return {record.topic: record.partition for record in cutting.records}


@pytest.mark.parametrize(
    ("times", "topics"),
    [
        ([T - GAP], ["telemetry.raw"]),
        ([T - GAP + 1], ["telemetry.raw", "telemetry.raw.e2"]),
        ([T], ["telemetry.raw", "telemetry.raw.e2"]),
        ([T + 1], ["telemetry.raw.e2"]),
        ([T - 2 * GAP, T + 1], ["telemetry.raw", "telemetry.raw.e2"]),
        ([T + 1, T + GAP], ["telemetry.raw.e2"]),
        ([], ["telemetry.raw", "telemetry.raw.e2"]),  # as if it had a point of its receipt
        ([0, T + 1], ["telemetry.raw", "telemetry.raw.e2"]),
        ([(1 << 64) - 1], ["telemetry.raw.e2"]),
    ],
)
def test_a_piece_goes_whole_to_every_epoch_that_counts_or_knows_a_point_of_it(times, topics):
    assert list(places(request(*times))) == topics


def test_points_without_a_time_are_routed_by_their_receipt():
    assert list(places(request(0), received=T - GAP)) == ["telemetry.raw"]
    assert list(places(request(0), received=T + 1)) == ["telemetry.raw.e2"]


def test_with_one_epoch_everything_goes_to_one_topic():
    assert list(places(request(1, T, (1 << 64) - 1), Epochs())) == ["telemetry.raw"]


def test_a_short_epoch_between_two_others_gets_its_own_part():
    later = Epochs((*LATER.later, Listed("telemetry.raw.e3", 2, T + 60 * SECOND)), GAP)
    assert list(places(request(T + 1), later)) == ["telemetry.raw.e2", "telemetry.raw.e3"]
    every = ["telemetry.raw", "telemetry.raw.e2", "telemetry.raw.e3"]
    assert list(places(request(T), later)) == every
    assert list(places(request(T + 61 * SECOND), later)) == ["telemetry.raw.e3"]


def test_the_times_of_a_request_are_those_of_all_its_points():
    assert times_of(request(5, 3, 9), 4) == (True, 3, 9)
    assert times_of(request(5, 0), 4) == (False, 4, 5)
    assert times_of(request(), 4) == (True, 4, 4)


def test_the_list_of_epochs_is_read_as_it_was_written_and_only_in_order():
    assert Epochs.from_json(LATER.to_json()) == LATER
    twice = Epochs((*LATER.later, *LATER.later), GAP)
    with pytest.raises(ValueError):
        Epochs.from_json(twice.to_json())
