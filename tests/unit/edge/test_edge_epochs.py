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


def keyed(name: str, host: str, keys: tuple[str, ...] | None) -> tuple[int, bytes]:
    """Partition and key of what a host of a cluster sends, in an epoch with a key of its own."""
    message = ExportMetricsServiceRequest.FromString(request(T + 1))
    for attribute, text in (("cluster", name), ("host", host)):
        attributes = message.resource_metrics[0].resource.attributes
        attributes.add(key=attribute).value.string_value = text
    epochs = Epochs((Listed("telemetry.raw.e2", 1024, T, keys),), GAP)
    (record,) = cut(
        message.SerializeToString(), tenant="t", topic="telemetry.raw", partitions=3,
        received_ns=NOW, limit=9999, epochs=epochs,
    ).records  # fmt: skip
    assert record.partition == partition_of(record.key, 1024)
    return record.partition, record.key


def test_an_epoch_keyed_by_attributes_has_what_they_agree_on_in_one_partition():
    hosts = [f"h{n}" for n in range(50)]
    assert len({keyed("a", host, ("cluster",)) for host in hosts}) == 1
    assert len({keyed("a", host, None) for host in hosts}) == 50
    assert len({keyed("a", host, ("cluster", "host")) for host in hosts}) == 50
    assert keyed("a", "h", ("cluster", "host")) == keyed("a", "h", None)  # the whole resource
    clusters = [f"c{n}" for n in range(50)]
    assert len({keyed(name, "h", ("cluster",)) for name in clusters}) == 50
    assert len({keyed(name, "h", ()) for name in clusters}) == 1
    assert len({keyed(name, "h", ("elsewhere",)) for name in clusters}) == 1


def test_a_record_of_two_epochs_has_the_key_of_each():
    later = Epochs((Listed("telemetry.raw.e2", 7, T, ("cluster",)),), GAP)
    message = ExportMetricsServiceRequest.FromString(request(T))
    resource = message.resource_metrics[0].resource
    resource.attributes.add(key="cluster").value.string_value = "a"
    resource.attributes.add(key="host").value.string_value = "h"
    first, second = cut(
        message.SerializeToString(), tenant="t", topic="telemetry.raw", partitions=3,
        received_ns=NOW, limit=9999, epochs=later,
    ).records  # fmt: skip
    assert (first.partition, second.partition) == (
        partition_of(first.key, 3),
        partition_of(second.key, 7),
    )
    assert first.key != second.key
    assert first.value == second.value


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
