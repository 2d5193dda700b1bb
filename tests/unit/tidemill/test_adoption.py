"""Who has gone over to a decision, who has not, and who could not compute it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.event_time.windows import EARLIEST, LATEST
from tidemill.adoption import Heard, lacking, reached, silent, sources, waiting
from tidemill.operators import PREAGGREGATION
from topologies.epochs import LIVE, Epochs, Listed

DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: m
description: One
owner: tests
source: {metric: load, unit: "1"}
space: {keep: []}
time: {granularities: [10s], grace: 2s, corrections: 1h}
aggregate: {over_points: p99}
"""


def task(decided: int, position: int = 5, watermark: int = 0, state: str = "running") -> Any:
    processor = {"decided": decided, "watermark": watermark} if state == "running" else {}
    return {"state": state, "position": position, "lag": 1200, "processor": processor}


def worker(decided: int, own: tuple[str, ...] = (), **tasks: Any) -> Heard:
    named = {f"{LIVE}/{name[1:]}": one for name, one in tasks.items()}
    said = {"decided": decided, "aggregates": list(own), "away": ""}
    return Heard({PREAGGREGATION: named}, said)


def test_every_partition_of_every_epoch_is_waited_for():
    later = Epochs((Listed(f"{LIVE}.e2", 1, 9),))
    assert sources(2, later) == [f"{LIVE}/0", f"{LIVE}/1", f"{LIVE}.e2/0"]


def test_all_have_gone_over_when_each_partition_and_worker_says_so():
    told = sources(2, Epochs())
    assert waiting(7, told, {"a": worker(7, p0=task(7)), "b": worker(8, p1=task(8))}) == []


def test_who_has_not_is_named():
    told = sources(4, Epochs())
    a = worker(7, p0=task(7), p1=task(6))
    b = worker(6, p2=task(0, state="restoring"))
    assert waiting(7, told, {"a": a, "b": b}) == [
        "telemetry.raw/1: its task is running, 1,200 records behind",
        "telemetry.raw/2: its task is restoring, 1,200 records behind",
        "telemetry.raw/3: no worker that answers has its task",
        "b: has not read the decision yet",
    ]
    assert silent(["a", "b", "c"], {"a": a, "b": b}) == ["c"]


def test_of_two_that_claim_a_partition_the_one_further_on_speaks():
    told = sources(1, Epochs())
    behind, ahead = worker(7, p0=task(6, position=3)), worker(7, p0=task(7, position=4))
    assert waiting(7, told, {"a": behind, "b": ahead}) == []
    assert waiting(7, told, {"a": ahead, "b": behind}) == []


def test_the_time_that_was_reached_is_that_of_live_partitions_which_go_on():
    history = {"telemetry.history.x/0": task(7, watermark=99)}
    heard = Heard({PREAGGREGATION: history}, {})
    workers = {"a": worker(7, p0=task(7, watermark=5), p1=task(7, watermark=LATEST)), "b": heard}
    assert reached(workers) == 5
    assert reached({"b": heard, "c": worker(0, p0=task(0, state="restoring"))}) == EARLIEST


def test_a_worker_that_lacks_an_aggregate_is_named():
    (one,) = check_files([SourceFile("d.yaml", DEFINITION)]).definitions
    assert lacking(compile_plan([one]), {"a": worker(1)}) == []
    own = compile_plan([replace(one, over_points="apdex@2(0.5)")])
    assert lacking(own, {"a": worker(1, ("apdex@2",)), "b": worker(1, ("apdex@1",))}) == [
        "b does not have the aggregate apdex@2 of m"
    ]
