"""The comparison passes what is right, and finds every planted fault."""

import json
import math
import struct
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from confluent_kafka import Producer
from demo.compare import csv_differences, missing_from_the_log
from demo.framing import write_framed
from demo.published import COUNTERS, Final, Row, finals
from demo.verdict import Verdict, judge, print_verdict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle import final, kafka_log, log, scenario
from oracle.arithmetic import of_bits
from oracle.definitions import SECOND, Definition
from oracle.log import DELTA, NO_VALUE, Record
from oracle.oracle import FinalKey, Key, Result, compute
from rich.console import Console

STORY = """
define up over_time=increase over_space=sum metric=requests keep=host sizes=10s,1m
define load over_time=avg over_space=max metric=load keep=host sizes=10s
raw/0 at 5 [host=a] requests@3=0.1^1 requests@5=0.3^1 load@3=0.1 load@4=0.7
raw/0 at 15 [host=a] requests@15=2^1 load@15=3
raw/0 at 16 [host=a] load@9=4
raw/0 idle 60
"""
Published = tuple[dict[FinalKey, list[Final]], dict[Key, list[Row]]]


def expected(told: scenario.Scenario) -> Result:
    partitions = log.read(told.log)
    result = compute(partitions, told.definitions)
    final.compute(partitions, told.definitions, result)
    return result


def world() -> tuple[list[Definition], Result, Published]:
    told = scenario.loads(STORY)
    result = expected(told)
    by_name = {definition.name: definition for definition in told.definitions}
    points = finals([(("metrics", 0), Record(7, {"encoding": b"otlp"}, encoded(by_name, result)))])
    rows = {
        key: [Row(cell.value, cell.points, cell.late, 1 + (cell.late > 0), "0" * 16)]
        for key, cell in result.latest.items()
    }
    return told.definitions, result, (points, rows)


def encoded(definitions: dict[str, Definition], result: Result) -> bytes:
    """All points of the final topic: OTLP, gauges and sums."""
    request = ExportMetricsServiceRequest()
    for (key, _), expected_point in result.final.items():
        definition = definitions[key.definition]
        block = request.resource_metrics.add().scope_metrics.add()
        block.scope.name = "tidemill"
        interval = f"{key.size // SECOND}s"
        named = {"definition": key.definition, "version": "0" * 16, "interval": interval}
        for name, text in named.items():
            block.scope.attributes.add(key=f"tidemill.{name}").value.string_value = text
        metric = block.metrics.add(name=key.definition)
        if (definition.over_time, definition.over_space) in COUNTERS:
            metric.sum.aggregation_temporality, metric.sum.is_monotonic = DELTA, True
        data = metric.sum if metric.WhichOneof("data") else metric.gauge
        point = data.data_points.add(time_unix_nano=key.window_end)
        point.start_time_unix_nano = expected_point.start
        if expected_point.bits is None:
            point.flags = NO_VALUE
        else:
            point.as_double = of_bits(expected_point.bits)
        for name, text in key.labels:
            point.attributes.add(key=name).value.string_value = text
    return request.SerializeToString()


def verdict_after(change: Callable[[Published], None]) -> Verdict:
    definitions, result, seen = world()
    change(seen)
    return judge(definitions, result, result, *seen)


def next_up(value: float) -> float:
    return struct.unpack(
        ">d", struct.pack(">Q", struct.unpack(">Q", struct.pack(">d", value))[0] + 1)
    )[0]


def first_final(seen: Published) -> tuple[FinalKey, Final]:
    key = min(seen[0])
    return key, seen[0][key][0]


def other_row(key: FinalKey, **change: object) -> FinalKey:
    return key._replace(row=key.row._replace(**change))


def altered(final: Final, **change: object) -> Final:
    fields = {name: getattr(final, name) for name in Final.__slots__}
    return Final(**(fields | change))


def set_final(seen: Published, **change: object) -> None:
    key, final = first_final(seen)
    seen[0][key] = [altered(final, **change)]


def test_what_is_right_is_equal_and_printed_so() -> None:
    verdict = verdict_after(lambda seen: None)
    assert verdict.equal
    assert verdict.notes.total() == 0
    assert sum(line.first for line in verdict.lines.values()) == 9
    assert sum(line.late for line in verdict.lines.values()) == 1
    text = StringIO()
    print_verdict(verdict, world()[1], Console(file=text, width=120))
    assert "EQUAL to the bit: 9 final points, 5 latest rows" in text.getvalue()


FAULTS: dict[str, Callable[[Published], None]] = {
    "another final value": lambda seen: set_final(seen, value=next_up(first_final(seen)[1].value)),
    "a final point is missing": lambda seen: seen[0].pop(min(seen[0])) and None,
    "published 2 times": lambda seen: seen[0][min(seen[0])].append(first_final(seen)[1]),
    "another start than its series demands": lambda seen: set_final(seen, start=0),
    "a delta counter, not a gauge": lambda seen: set_final(seen, kind="delta counter"),
    "a final point that the log does not justify": lambda seen: seen[0].update(
        {other_row(min(seen[0]), window_end=scenario.EPOCH): [first_final(seen)[1]]}
    ),
    "published, but nobody defined it": lambda seen: seen[0].update(
        {other_row(min(seen[0]), definition="other"): [first_final(seen)[1]]}
    ),
    "another latest value": lambda seen: seen[1].update(
        {min(seen[1]): [seen[1][min(seen[1])][0]._replace(value=-math.nan)]}
    ),
    "a row is missing": lambda seen: seen[1].pop(min(seen[1])) and None,
    "2 rows": lambda seen: seen[1][min(seen[1])].append(seen[1][min(seen[1])][0]),
    "a row that the log does not justify": lambda seen: seen[1].update(
        {min(seen[1])._replace(labels=(("tenant", "x"),)): seen[1][min(seen[1])]}
    ),
    "a revision below 1": lambda seen: seen[1].update(
        {min(seen[1]): [seen[1][min(seen[1])][0]._replace(revision=0)]}
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_planted_fault_is_found_alone_and_shown_with_its_points(what: str) -> None:
    verdict = verdict_after(FAULTS[what])
    assert [finding.what.startswith(what) for finding in verdict.findings] == [True]
    text = StringIO()
    print_verdict(verdict, world()[1], Console(file=text, width=200))
    assert "NOT EQUAL" in text.getvalue()
    assert what in text.getvalue()


def test_windows_that_close_while_being_read_may_be_published_already_or_not_yet() -> None:
    definitions, after, seen = world()
    told = scenario.loads(STORY.replace("raw/0 idle 60", ""))
    before = expected(told)
    assert len(before.latest) < len(after.latest)
    assert judge(definitions, before, after, *seen).equal
    assert judge(definitions, before, before, *seen).findings


def test_nothing_compared_is_not_equal() -> None:
    assert not judge([], Result(), Result(), {}, {}).equal


def test_an_acknowledged_point_that_no_record_holds_is_told(tmp_path: Path) -> None:
    told = scenario.loads("raw/0 at 5 [host=a] load@3=1 load@4=2")
    kept = told.log[log.LIVE, 0][0].value
    lost = scenario.request("[host=a] load@3=1 load@4=3")
    partitions = log.read(told.log)
    write_framed(tmp_path / "kept", [kept])
    write_framed(tmp_path / "lost", [kept, lost])
    assert missing_from_the_log(partitions, tmp_path / "kept") == []
    assert len(missing_from_the_log(partitions, tmp_path / "lost")) == 1


def test_a_sample_of_the_files_that_history_lacks_or_doubles_is_counted(tmp_path: Path) -> None:
    rows = ["timestamp,value", "2023-11-15 00:00:03,1.5", "2023-11-15 00:00:04,0.1"]
    (tmp_path / "one.csv").write_text("\n".join(rows) + "\n")
    for story, different in (("load@3=1.5 load@4=0.1", 0), ("load@3=1.5", 1)):
        told = scenario.loads(f"history.x/0 at 5 {story}")
        assert csv_differences(log.read(told.log), tmp_path) == (2, different)
    told = scenario.loads("history.x/0 at 5 load@3=1.5 load@4=0.1 load@4=0.1")
    assert csv_differences(log.read(told.log), tmp_path) == (2, 1)


def test_a_whole_topic_is_read_with_its_headers_in_order() -> None:
    producer = Producer({"test.mock.num.brokers": 1})
    address = next(iter(producer.list_topics(timeout=10).brokers.values()))
    for number in range(300):
        value = json.dumps({"n": number}).encode()
        producer.produce(
            log.LIVE, value, partition=number % 2, headers={"control": b"idle", "n": b"%d" % number}
        )
    assert producer.flush(10) == 0
    bootstrap = f"{address.host}:{address.port}"
    assert kafka_log.input_topics(bootstrap) == [log.LIVE]
    read = kafka_log.read(bootstrap, [log.LIVE], deadline_s=20)
    assert [record.headers["n"] for record in read[log.LIVE, 1]] == [
        b"%d" % number for number in range(1, 300, 2)
    ]
    assert [record.offset for record in read[log.LIVE, 0]] == list(range(150))
