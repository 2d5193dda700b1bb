"""A million groups of the DSL's aggregates in one task, for `bench_restore.py`."""

from __future__ import annotations

import numpy as np
from bench_dsl import REQUESTS, records, sums
from restore_state import SETTINGS, Saved

from streams.batch import BytesColumn
from streams.codecs import Columnar
from streams.config import Topology
from streams.event_time.windows import SECOND
from streams.schema import f64, string
from streams.schema import time as at_time
from streams.topology import agg
from streams.topology.builder import Stream, StreamsBuilder
from streams.values import Values

TOPIC, OUT = "requests", "out"
FED = 100


def totals(stream: Stream) -> None:
    """Of all time; what changes is published as JSON."""
    made = stream.group_by("path").aggregate(
        n=agg.count(), total=agg.sum("seconds"), top=agg.max("seconds")
    )
    made.to(OUT)


SHAPES = {"totals": totals, "windows": sums}


def topology(shape: str) -> Topology:
    """One task of one partition."""
    builder = StreamsBuilder("bench")
    SHAPES[shape](builder.stream(TOPIC, Columnar(REQUESTS), time="at", partitions=1))
    plan = builder.build()
    return Topology(shape, plan.factory(plan.subs[0]), (TOPIC,), settings=SETTINGS)


def _columns(paths: np.ndarray, at: int) -> dict[str, Values]:
    n = len(paths)
    return {
        "path": Values(string, BytesColumn.of([b"/path/%d" % path for path in paths.tolist()])),
        "seconds": Values(f64, 0.02 + np.random.default_rng(1).lognormal(-3, 1, n)),
        "at": Values(at_time, np.full(n, at * SECOND)),
    }


def make_state(made: Topology, groups: int) -> dict[tuple[str, int], Saved]:
    """All groups have a row, then a tenth of them, anywhere, another one."""
    task = made.factory(TOPIC, 0)
    codec = Columnar(REQUESTS)
    given = records(codec, _columns(np.arange(groups), 10), groups)
    for first in range(0, len(given), FED):
        task.process(given[first : first + FED])
    task.outputs()
    blocks = task.snapshot(len(given))
    some = np.sort(np.random.default_rng(2).permutation(groups)[: groups // 10])
    more = [
        each.__class__(len(given) + each.offset, 0, None, each.value)
        for each in records(codec, _columns(some, 12), len(some))
    ]
    return {(TOPIC, 0): Saved(blocks, len(given), more)}
