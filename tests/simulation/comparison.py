"""What the topology published, held against the oracle, row by row and point by point."""

from __future__ import annotations

import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle import final, resets, scenario, windows
from oracle import log as oracle_log
from oracle.definitions import Definition
from oracle.final import Series
from oracle.guard import OVERFLOW
from oracle.histograms import mark, of_point
from oracle.lateness import lateness
from oracle.log import Partition
from oracle.oracle import FinalPoint, Result, Tally, _counts, compute

from tests.simulation.topology_world import Pipeline, Rows, certify
from topologies.otlp_check import Checker

SECOND = 1_000_000_000


def check(text: str, rng: random.Random, *, settles: bool, restless: bool = False) -> int:
    """Compare one story; returns how many values were equal.

    settles: whether late points have the time to become revisions, so that what was published last
    is the latest value.
    """
    told = scenario.loads(text)
    partitions = oracle_log.read(told.log)
    want = compute(partitions, told.definitions)
    got = Pipeline(told.definitions, told.log, rng, restless=restless).run()
    if got.refused:  # a history came for windows whose state live event time had dropped: counted
        leave_out_histories(want, got)
    else:
        finals = final.compute(partitions, told.definitions, want)
        compare_finals(told.definitions, finals, got.finals)
    compare(want, got, told.definitions, settles)
    for certificate in got.certificates:
        certify(certificate, partitions)
    conforms(got.finals)
    compare_ledgers(partitions, told.definitions, want, got)
    compare_lateness(partitions, told.definitions, got)
    if not got.refused and all(partition.until == math.inf for partition in partitions):
        compare_resets(partitions, told.definitions, got)
    return len(got.first) + len(got.latest)


def leave_out_histories(want: Result, got: Rows) -> None:
    """Forget the windows that a history has a part in: what of it was refused, nobody can say."""
    windows = {
        key[:3]
        for key, cell in want.latest.items()
        if any(not partition.live for partition, _ in cell.behind)
    }
    for rows in (want.latest, want.first, got.first, got.latest, got.revisions):
        for key in [key for key in rows if key[:3] in windows]:
            del rows[key]


def compare(want: Result, got: Rows, definitions: Sequence[Definition], everything: bool) -> None:
    """What was published is what must be; `everything`: what came late has had time to settle."""
    shared = shared_windows(want, definitions)
    for key, (domain, value, points) in got.first.items():
        if key[:3] in shared and OVERFLOW in key.labels:
            continue
        cell = want.first.get(key, {}).get(domain)
        assert cell is not None, f"{key} was published first for {domain}: the oracle has none"
        assert (value, points) == (mark(cell.value), cell.points), f"first {key}: {cell}"
    missing = {key for key in want.first if key[:3] not in shared} - set(got.revisions)
    assert not missing, f"never published first: {sorted(missing)[:3]}"
    limited = {key[:3] for key in want.latest if OVERFLOW in key.labels}
    for key, (value, points) in got.latest.items():
        cell = want.latest.get(key)
        if cell is None and not everything and key[:3] in limited:
            continue  # a group that comes late, and has not settled, takes its place
        assert cell is not None, f"{key} was published: the oracle has none"
        if everything:
            assert (value, points) == (mark(cell.value), cell.points), f"latest {key}: {cell}"
    if everything:
        assert not set(want.latest) - set(got.latest)


def contradictory(partition: Partition, definitions: Sequence[Definition]) -> int:
    """Histogram points that contradict themselves, and that some definition would count."""
    wrong = [point for point in partition.points if point.content and point.content.wrong]
    found = 0
    for point in wrong:
        tally = Tally()
        for definition in definitions:
            _counts(definition, partition, point, tally)
        found += tally.contradictory > 0
    return found


def compare_ledgers(
    partitions: Sequence[Partition], definitions: Sequence[Definition], want: Result, got: Rows
) -> None:
    """Every point that matches a definition and does not count is in its source's account."""
    for partition in partitions:
        account = got.ledger[f"{partition.topic}/{partition.number}"]
        negative = sum(point.fate == "negative" for point in partition.points)
        assert account["negative"] == negative
        assert account["contradictory"] == contradictory(partition, definitions)
    refused: dict[str, int] = {}
    for row in (row for account in got.ledger.values() for row in account["refused"]):
        assert row["streams"] > 0
        refused[row["definition"]] = refused.get(row["definition"], 0) + row["points"]
    for name, tally in want.tallies.items():
        assert refused.get(name, 0) == tally.unsuitable + tally.other_unit


def compare_lateness(
    partitions: Sequence[Partition], definitions: Sequence[Definition], got: Rows
) -> None:
    """The ledger knows how late each point came, of the last two days."""
    for partition in partitions:
        rows = got.ledger[f"{partition.topic}/{partition.number}"]["lateness"]
        found = {
            (row["definition"], row["day"], word, bucket): count
            for row in rows
            for word in ("late", "beyond")
            for bucket, count in enumerate(row[word])
            if count
        }
        for definition in definitions:
            counts, most = lateness(partition, definition)
            kept = sorted(most)[-2:]
            of_day = {row["day"]: row for row in rows if row["definition"] == definition.name}
            assert {day: row["most"] for day, row in of_day.items()} == {d: most[d] for d in kept}
            for key, count in counts.items():
                if key[0] in kept:
                    assert found.pop((definition.name, *key), 0) == count
        assert not found


def compare_resets(
    partitions: Sequence[Partition], definitions: Sequence[Definition], got: Rows
) -> None:
    """Resets, gaps, overlaps and ties in the accounts are those that sealing records have seen."""
    found: dict[str, Counter[str]] = {}
    for row in (row for account in got.ledger.values() for row in account["resets"]):
        kinds = {k: n for k, n in row.items() if k not in ("definition", "windows")}
        found.setdefault(row["definition"], Counter()).update(kinds)
        assert len(row["windows"]) <= 8
    for definition in definitions:
        want = resets.noticed(partitions, definition)
        assert found.pop(definition.name, Counter()) == want, f"noticed for {definition.name}"
    assert not found


def shared_windows(want: Result, definitions: Sequence[Definition]) -> set[tuple]:
    """Windows of several domains, within a small limit.

    Which groups overflow when one closes depends on what the others have closed. What the final
    topic says of each, and the latest rows, do not.
    """
    limited = {definition.name for definition in definitions if definition.groups < 100}
    topics: dict[tuple, set[str]] = defaultdict(set)
    for key, cells in want.first.items():
        topics[key[:3]] |= cells.keys()
    for key, cell in want.latest.items():
        topics[key[:3]] |= {partition.topic for partition, _ in cell.behind}
    return {one for one, found in topics.items() if len(found) > 1 and one[0] in limited}


def compare_finals(
    definitions: Sequence[Definition],
    want: Mapping[Series, list[FinalPoint]],
    finals: Sequence[bytes],
) -> None:
    """Every point of the final topic, in order, is what the oracle says, and there is no other."""
    got, shapes = decoded(finals)
    for series in want.keys() | got.keys():
        assert got.get(series) == want.get(series), f"the final points of {series}"
    for definition in definitions:
        sums = definition.over_time == "sum" or definition.over_points == ("sum", None)
        monotonic = not sums and not definition.carry
        temporality = oracle_log.CUMULATIVE if definition.cumulative else oracle_log.DELTA
        expected = (temporality, definition.histogram or monotonic) if definition.adds_up else ()
        assert shapes.get((definition.name, False), {expected}) == {expected}
        assert shapes.get((definition.name, True), {()}) == {()}  # what overlaps is a gauge


def decoded(
    finals: Sequence[bytes],
) -> tuple[dict[Series, list[FinalPoint]], dict[tuple[str, bool], set[tuple]]]:
    """The points by series; by definition and whether windows overlap, (temporality, monotonic) of
    its sums, (temporality, kind) of its histograms or () of gauges.
    """
    points: dict[Series, list[FinalPoint]] = {}
    shapes: dict[tuple[str, bool], set[tuple]] = {}
    requests = map(ExportMetricsServiceRequest.FromString, finals)
    blocks = (block for request in requests for block in request.resource_metrics)
    for scoped in (scoped for block in blocks for scoped in block.scope_metrics):
        scope = oracle_log.attributes(scoped.scope.attributes)
        zone = scope.get("tidemill.zone", "UTC")
        size = windows.parse(scope["tidemill.interval"], zone)
        domain = scope.get("tidemill.domain", oracle_log.LIVE)
        for metric in scoped.metrics:
            body = getattr(metric, metric.WhichOneof("data"))
            which = metric.WhichOneof("data")
            shape = () if which == "gauge" else (body.aggregation_temporality, which)
            if which == "sum":
                shape = (body.aggregation_temporality, body.is_monotonic)
            shapes.setdefault((metric.name, windows.overlaps(size)), set()).add(shape)
            for point in body.data_points:
                labels = tuple(sorted(oracle_log.attributes(point.attributes).items()))
                series = Series(metric.name, size, domain, labels)
                points.setdefault(series, []).append(final_point(which, point))
    return points, shapes


def final_point(kind: str, point: Any) -> FinalPoint:
    value = None
    if kind in ("gauge", "sum"):
        value = None if point.WhichOneof("value") is None else mark(point.as_double)
        assert point.flags == (value is None), "a value, or the flag that there is none"
    elif not point.flags:
        value = of_point(kind, point)
    else:
        assert not {field.name for field, _ in point.ListFields()} - POINT, "no value with the flag"
    return FinalPoint(point.start_time_unix_nano, point.time_unix_nano, value)


POINT = {"start_time_unix_nano", "time_unix_nano", "attributes", "flags"}


def conforms(finals: Sequence[bytes]) -> None:
    """The final topic keeps OpenTelemetry's data model.

    Allowed are gaps and resets where a series had expired.
    """
    allowed = {"gap", "reset"}
    checker = Checker()
    found = [each for request in finals for each in checker.feed(request)]
    wrong = [str(each) for each in found if each.code not in allowed]
    assert not wrong, wrong[:3]


def ended(text: str) -> str:
    """The story, and then time moves on in every partition until late points have settled."""
    lines = [text.rstrip()]
    for topic, partition in scenario.loads(text).log:
        place = f"{topic.removeprefix('telemetry.')}/{partition}"
        lines.append(f"{place} end" if place.startswith("history") else f"{place} idle 3000")
    return "\n".join(lines)
