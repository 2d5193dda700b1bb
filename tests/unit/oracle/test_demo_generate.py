"""The demo's scenario holds what it promises, and is the same for the same seed."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from demo.framing import read_framed, write_framed
from demo.generate import HOSTS, MINUTE, SECOND, Delivery, deliveries, points
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle import log
from oracle.arithmetic import bits
from oracle.definitions import load
from oracle.oracle import compute

ROOT = Path(__file__).resolve().parents[3]
RECORDING = ROOT / "tests" / "data" / "host_10m.otlp.zst"
END = 1_795_263_000 * SECOND - 3 * SECOND
SECONDS = 75.0


@pytest.fixture(scope="module")
def sent() -> list[Delivery]:
    return deliveries(list(read_framed(RECORDING)), seed=1, seconds=SECONDS, end=END)


def parsed(delivery: Delivery) -> ExportMetricsServiceRequest | None:
    try:
        return ExportMetricsServiceRequest.FromString(delivery.body)
    except DecodeError:
        return None


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(sent: list[Delivery]) -> None:
    recording = list(read_framed(RECORDING))
    assert deliveries(recording, seed=1, seconds=SECONDS, end=END) == sent
    assert deliveries(recording, seed=2, seconds=SECONDS, end=END) != sent


def test_every_story_is_told_and_malformed_bodies_are_the_only_ones_not_parsed(
    sent: list[Delivery],
) -> None:
    stories = Counter(delivery.story for delivery in sent)
    assert stories.keys() == {
        "in order", "shuffled", "late", "very late", "repeated", "malformed", "clock ahead",
        "beyond corrections", "no recorded value", "no timestamp",
    }  # fmt: skip
    assert all((parsed(d) is None) == (d.story == "malformed") for d in sent)
    repeated = {d.body for d in sent if d.story == "repeated"}
    assert len(repeated) == stories["repeated"]
    assert repeated <= {d.body for d in sent if d.story != "repeated"}


def test_the_last_event_is_at_the_end_and_three_hosts_report(sent: list[Delivery]) -> None:
    usual = [parsed(d) for d in sent if d.story in ("in order", "shuffled", "late", "very late")]
    times = [point.time_unix_nano for request in usual for _, point in points(request)]
    assert max(times) == END
    assert END - min(times) >= 9 * MINUTE
    named = {
        attribute.value.string_value
        for request in usual
        for attribute in request.resource_metrics[0].resource.attributes
        if attribute.key == "host.name"
    }
    assert named == set(HOSTS)


def test_the_oracle_finds_every_oddity_when_the_deliveries_lie_on_a_log(
    sent: list[Delivery],
) -> None:
    held: dict[tuple[str, int], list[log.Record]] = {(log.LIVE, n): [] for n in range(4)}
    for delivery in sent:
        records = held[log.LIVE, delivery.agent]
        received = END + round((delivery.at - SECONDS) * SECOND)
        digest = hashlib.blake2b(b"default\0" + delivery.body, digest_size=16).digest()
        headers = {"encoding": b"otlp", "tenant": b"default", "digest": digest}
        headers["received"] = str(received).encode()
        records.append(log.Record(len(records), headers, delivery.body))
    for records in held.values():
        mark = json.dumps({"time": END + 15 * SECOND, "end": False}).encode()
        records.append(log.Record(len(records), {"control": b"idle"}, mark))
    partitions = log.read(held)
    wanted = {"host.cpu.seconds", "host.network.bytes", "host.memory.used"}
    definitions = load(ROOT / "metric_registry" / "definitions" / "host.yaml")
    result = compute(partitions, [d for d in definitions if d.name in wanted])
    assert [p.malformed for p in partitions] == [3, 3, 3, 0]
    for name in wanted:
        tally = result.tallies[name]
        assert tally.accepted > 500
        assert tally.repeated > 20
        assert tally.rejected >= 3
        assert tally.beyond_corrections >= 3
        revised = [
            key
            for key, cell in result.latest.items()
            if key.definition == name
            and bits(cell.value) not in [bits(c.value) for c in result.first.get(key, {}).values()]
        ]
        assert len(revised) > 10
    ten_seconds = {key for key in result.first if key.size == 10 * SECOND}
    assert len(ten_seconds) > 1000


def test_a_file_of_requests_reads_back_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    bodies = [b"", b"x" * 127, b"y" * 128, b"z" * 70_000]
    write_framed(tmp_path / "all", bodies)
    assert list(read_framed(tmp_path / "all")) == bodies
    torn = tmp_path / "torn"
    write_framed(torn, [b"whole"])
    torn.write_bytes(zstandard.compress(zstandard.decompress(torn.read_bytes())[:-1]))
    with pytest.raises(ValueError, match="ends within a request"):
        list(read_framed(torn))
