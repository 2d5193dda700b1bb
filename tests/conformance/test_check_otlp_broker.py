"""`tidemill check-otlp` reads a topic of a real broker: committed records, up to the bound."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

DEADLINE = 60.0
COMMAND = [sys.executable, "-m", "tidemill", "check-otlp"]
ROOT = Path(__file__).parents[2]


def counter(time: int, value: int) -> bytes:
    """A request with one point of a cumulative counter; `time` in nanoseconds."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="requests")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    metric.sum.data_points.add(start_time_unix_nano=1, time_unix_nano=time, as_int=value)
    return request.SerializeToString()


def check(bootstrap: str, *words: str) -> tuple[int, list[dict[str, str]], str]:
    """Exit code, findings and what was said."""
    done = subprocess.run(
        [*COMMAND, "--bootstrap-servers", bootstrap, *words, "-o", "jsonl"],
        cwd=ROOT, capture_output=True, text=True, timeout=2 * DEADLINE, check=False,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_committed_records_are_checked_up_to_the_end(broker_process: str):
    name = "checked"
    admin = AdminClient({"bootstrap.servers": broker_process})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(DEADLINE)
    plain = Producer({"bootstrap.servers": broker_process})
    plain.produce(name, counter(10, 5), partition=0)
    plain.produce(name, b"{}", partition=0, headers={"control": b"idle"})
    assert plain.flush(DEADLINE) == 0
    sender = Producer({"bootstrap.servers": broker_process, "transactional.id": "t"})
    sender.init_transactions(DEADLINE)
    for value, commit in ((1, False), (6, True), (2, False)):
        sender.begin_transaction()
        sender.produce(name, counter(10 + value, value), partition=0)
        assert sender.flush(DEADLINE) == 0
        sender.commit_transaction(DEADLINE) if commit else sender.abort_transaction(DEADLINE)

    code, found, said = check(broker_process, "--topic", name, "--until-end")
    assert (code, found) == (0, []), said
    assert "2 requests, 2 points: 0 violations" in said

    plain.produce(name, counter(20, 3), partition=0)
    assert plain.flush(DEADLINE) == 0
    code, found, said = check(broker_process, "--topic", name, "--until-end")
    assert (code, [each["code"] for each in found]) == (1, ["decrease-without-reset"]), said
    assert re.fullmatch(rf"{name}/0@\d+", found[0]["where"])
    code, found, said = check(broker_process, "--topic", name, "--records", "2")
    assert (code, found) == (0, []), said


def test_a_topic_that_is_not_there_fails_with_the_next_step(broker_process: str):
    code, _, said = check(broker_process, "--topic", "nowhere", "--until-end")
    assert code == 1
    assert "there is no topic nowhere" in said
    assert said.count("\n") == 1
