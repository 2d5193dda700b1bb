"""Definitions tried out: the product's own topology in this process, over a log in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from metric_registry.cases.comparing import Found
from metric_registry.compile import compile_plan
from metric_registry.durations import SECOND, UNITS_NS
from metric_registry.granularities import size_of
from metric_registry.plan import ResolvedDefinition
from streams.batch import decode_table
from streams.topology.testing import TopologyTestDriver
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


class Row(NamedTuple):
    """A revision of a row, and the definition that it is of."""

    definition: str
    found: Found


class Trial:
    """What becomes of points under definitions.

    Requests are cut into records as the edge does it. Partitions are as many as are said, each with
    a watermark of its own.
    """

    def __init__(self, definitions: Sequence[ResolvedDefinition], partitions: int) -> None:
        self._definitions = definitions
        self._partitions = max(partitions, 1)
        self._settings = Settings(
            raw_partitions=self._partitions, shard_partitions=1, key="00" * 16,
            idle_after_ms=_NEVER_MS,
        )  # fmt: skip
        plan = product(self._settings, Deployment(compile_plan(definitions)))
        self._driver = TopologyTestDriver(plan, {RAW: self._partitions})

    def give(self, partition: int, request: bytes, tenant: str, received: int) -> None:
        """Append a request that came at `received` (unix ns).

        Raises topologies.edge.cut.UnparsableError.
        """
        cutting = cut(
            request, tenant=tenant, topic=RAW, partitions=1, received_ns=received, limit=_LARGEST
        )
        for record in cutting.records:
            self._driver.pipe_record(
                RAW, record.value, key=record.key, partition=partition, headers=record.headers
            )

    def idle(self, partition: int, mark: bytes) -> None:
        """Append the mark of an idle partition, as a worker wrote it."""
        self._driver.pipe_record(RAW, mark, partition=partition, headers=(("control", b"idle"),))

    def mark(self, time: int) -> None:
        """Every partition is complete up to `time`, unix ns."""
        for partition in range(self._partitions):
            self.idle(partition, json.dumps({"time": time}).encode())

    def close(self, newest: int) -> None:
        """Let time go on behind the newest point (unix ns) until all its windows are sealed, and
        late points settled.
        """
        settle = self._settings.settle_ms * MILLISECOND
        self.mark(newest + max(map(_reach, self._definitions), default=0) + settle)

    def run(self) -> None:
        """Process everything."""
        self._driver.run()

    def rows(self) -> Iterator[Row]:
        """Every revision of every row, in the order of their publication."""
        for value in self.values("telemetry.rollups"):
            yield from _rows(value)

    def values(self, topic: str) -> list[bytes]:
        """What was written to one of the product's topics, in its order."""
        return [record.value or b"" for record in self._driver.read_records(topic)]

    def saved(self, time: int) -> dict[str, int]:
        """Bytes of the state that the tasks save when every partition is complete up to `time`
        (unix ns), by changelog."""
        self._driver.advance(2 * self._settings.snapshot_interval_ms)
        self.mark(time)
        self._driver.run()
        return self._driver.state_bytes()

    def ledgers(self) -> list[dict[str, Any]]:
        """What the tasks that read points say of them."""
        return [each for each in self._driver.stats().values() if "refused" in each]

    def dead_letters(self) -> list[str]:
        """Why requests could not be processed."""
        headers = [dict(record.headers) for record in self._driver.dead_letters()]
        return [each.get("reason", b"").decode("utf-8", "replace") for each in headers]


def _reach(definition: ResolvedDefinition) -> int:
    """How far past a point its last window has closed."""
    longest = max(map(size_of, definition.granularities)) * SECOND
    spare = 2 * UNITS_NS["d"]  # a month has up to a day more than it counts as, a day up to an hour
    return longest + spare + definition.grace_ns


def _rows(encoded: bytes) -> Iterator[Row]:
    table = decode_table(encoded)
    columns = ("definition", "granularity", "window_end", "value", "points", "late", "revision")
    described = table.meta["granularities"]
    names = [str(one["name"]) for one in table.meta["definitions"]]
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
        found = Found(
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
        yield Row(names[int(definition)], found)
