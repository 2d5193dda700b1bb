"""Tests of definitions: each is run by the product's own topology, without a broker.

What a test sends is cut into records as the edge does it, and lies on a log in memory; the tasks of
a worker read it. Each tenant's resource has a partition of its own, so what one sends makes nothing
late that another one sends; `watermark` is an idle mark on all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from metric_registry.cases.comparing import Found, compare
from metric_registry.cases.models import CaseDocument, Step
from metric_registry.cases.reading import Case
from metric_registry.cases.report import Outcome
from metric_registry.compile import compile_plan
from metric_registry.durations import SECOND, UNITS_NS
from metric_registry.granularities import size_of
from metric_registry.plan import ResolvedDefinition
from streams.batch import decode_table
from streams.topology.testing import TopologyTestDriver
from tidemill.case_requests import Origin, origin_of, requests
from tidemill.product import product
from tidemill.settings import Settings
from tidemill.wiring import MILLISECOND
from topologies.deployment import Deployment
from topologies.edge.cut import cut
from topologies.results import HISTOGRAMS, message_of
from topologies.rollup.upserts import histogram

RAW = "telemetry.raw"
_NEVER_MS = 1 << 40
_LARGEST = 1 << 30
_LABELS = msgspec.json.Decoder(dict[str, str])


def run(case: Case) -> Outcome:
    """What becomes of a test."""
    rows, notes = published(case)
    return Outcome(case, tuple(compare(case, rows)), tuple(notes))


def published(case: Case) -> tuple[list[Found], list[str]]:
    """Every revision of every row that a test's input makes, and what ledgers say of its points."""
    driver = _driven(case)
    return list(_rows(driver)), list(_notes(driver, case.document))


def _driven(case: Case) -> TopologyTestDriver:
    """The product after everything that the test lets happen."""
    document = case.document
    named = [document.streams[name] for step in document.input for name in step.send or ()]
    partition = {o: at for at, o in enumerate(dict.fromkeys(map(origin_of, named)))}
    count = max(len(partition), 1)
    settings = Settings(
        raw_partitions=count, shard_partitions=1, key="00" * 16, idle_after_ms=_NEVER_MS
    )
    plan = product(settings, Deployment(compile_plan([case.definition])))
    driver = TopologyTestDriver(plan, {RAW: count})
    newest = 0
    for step in document.input:
        newest = max(newest, _newest(document, step))
        if step.watermark is not None:
            _mark(driver, count, step.watermark.after(document.start))
            continue
        received = newest if step.received is None else step.received.after(document.start)
        for origin, request in requests(document, step):
            _append(driver, partition, origin, request, received)
    if document.close:
        _mark(driver, count, newest + _until_closed(case.definition, settings))
    driver.run()
    return driver


def _newest(document: CaseDocument, step: Step) -> int:
    """The newest time that a step names, unix ns."""
    moments = [time for points in (step.send or {}).values() for time in points]
    moments += [] if step.watermark is None else [step.watermark]
    moments += [] if step.received is None else [step.received]
    return max(moment.after(document.start) for moment in moments)


def _until_closed(definition: ResolvedDefinition, settings: Settings) -> int:
    """How far past the newest point all its windows are sealed, and late points settled; ns."""
    longest = max(map(size_of, definition.granularities)) * SECOND
    spare = 2 * UNITS_NS["d"]  # a month has up to a day more than it counts as, a day up to an hour
    return longest + spare + definition.grace_ns + settings.settle_ms * MILLISECOND


def _append(
    driver: TopologyTestDriver,
    partition: dict[Origin, int],
    origin: Origin,
    request: bytes,
    received: int,
) -> None:
    cutting = cut(
        request, tenant=origin[0], topic=RAW, partitions=1, received_ns=received, limit=_LARGEST
    )
    for record in cutting.records:
        driver.pipe_record(
            RAW, record.value, key=record.key, partition=partition[origin], headers=record.headers
        )


def _mark(driver: TopologyTestDriver, partitions: int, time: int) -> None:
    for at in range(partitions):
        value = json.dumps({"time": time}).encode()
        driver.pipe_record(RAW, value, partition=at, headers=(("control", b"idle"),))


def _rows(driver: TopologyTestDriver) -> Iterator[Found]:
    """Every revision of every row, in the order of their publication."""
    columns = ("definition", "granularity", "window_end", "value", "points", "late", "revision")
    for record in driver.read_records("telemetry.rollups"):
        table = decode_table(record.value or b"")
        described = table.meta["granularities"]
        instruments = [str(one["instrument"]) for one in table.meta["definitions"]]
        deleted = table.array("deleted").tolist()
        labels = list(table.strings("labels"))
        bodies = list(table.strings("histogram")) if "histogram" in table.columns else None
        rows = zip(*(table.array(name).tolist() for name in columns), strict=True)
        for at, (definition, kind, end, value, points, late, revision) in enumerate(rows):
            instrument = instruments[int(definition)]
            body: dict[str, Any] | None = None
            if bodies and instrument in HISTOGRAMS and not deleted[at]:
                body = histogram(message_of(instrument, bodies[at]))
            yield Found(
                granularity=described[kind]["granularity"],
                end=end,
                labels=_LABELS.decode(labels[at]),
                value=value,
                points=points,
                late=late,
                revision=revision,
                deleted=bool(deleted[at]),
                histogram=body,
            )


_TOLD = {
    "beyond": "came later than `corrections` and counts nowhere",
    "rejected": "was more than two minutes ahead of its receipt, and rejected",
    "negative": "of a monotonic sum was below zero, and rejected",
    "contradictory": "contradicts itself, and counts nowhere",
}


def _notes(driver: TopologyTestDriver, document: CaseDocument) -> Iterator[str]:
    """What the ledgers of the tasks say that explains a number which is not as it was expected."""
    ledgers = [each for each in driver.stats().values() if "refused" in each]
    for field, words in _TOLD.items():
        number = sum(each[field] for each in ledgers)
        if number:
            yield f"{number} point{'s' if number > 1 else ''}: each {words}"
    repeats = sum(each["repeats"] for each in ledgers)
    if repeats:
        sent_before = f"{repeats} request{'s' if repeats > 1 else ''}"
        yield f"{sent_before}: each was sent before, and counts once"
    for refused in sorted(
        {(one["reason"], one["detail"]) for each in ledgers for one in each["refused"]}
    ):
        reason, detail = refused
        yield f"`{document.metric}` cannot count a stream: {reason} ({detail})"
    for record in driver.dead_letters():
        headers = dict(record.headers)
        reason = headers.get("reason", b"").decode("utf-8", "replace")
        yield f"a request could not be processed: {reason}"
