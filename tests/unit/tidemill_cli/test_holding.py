"""`why` names the partition, process or agent that holds the next window, and since when."""

from __future__ import annotations

from typing import Any

from metric_registry.check import check
from streams.event_time.windows import EARLIEST, LATEST, SECOND
from tidemill.holding import Holding, Situation, explain
from tidemill.settings import Settings
from tidemill.wiring import definition_paths

NOON = 1_795_262_400 * SECOND
DEFINITION = next(
    found
    for found in check(definition_paths(Settings())).definitions
    if found.name == "host.cpu.utilization"
)
PANE = f"{10 * SECOND}/{DEFINITION.grace_ns}/{DEFINITION.corrections_ns}"


def task(processor: dict[str, Any], **changed: Any) -> dict[str, Any]:
    normal = {"state": "running", "position": 10, "lag": 0, "error": None, "restarts": 0}
    return normal | {"processor": processor} | changed


def source(sealed: int, watermark: int, received: int = NOON, **changed: Any) -> dict[str, Any]:
    panes = [{"key": PANE, "frontier": sealed}]
    figures = {"panes": panes, "watermark": watermark, "received": received, "waiting_for": []}
    return task(figures, **changed)


def worker(done: int, sources: dict[str, Any], domain: str = "telemetry.raw") -> dict[str, Any]:
    reducers = {
        f"telemetry.partials/{n}": task({"frontiers": {domain: {PANE: done}}}) for n in range(2)
    }
    return {"preaggregate": sources, "rollup": reducers}


def why(
    tasks: dict[str, Any], now: int, silent: tuple[str, ...] = (), away: str = ""
) -> list[Holding]:
    return explain(
        Situation(
            definition=DEFINITION,
            raw_partitions=2,
            shard_partitions=2,
            workers={"worker-0": tasks} if tasks else {},
            silent=silent,
            sinks={"worker-0": away},
            now=now,
        )
    )


def both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {"telemetry.raw/0": one, "telemetry.raw/1": other}


def test_nothing_holds_a_window_that_is_still_open():
    fine = source(NOON, NOON + SECOND)
    (found,) = why(worker(NOON, both(fine, fine)), NOON + 3 * SECOND)
    assert not found.held
    assert found.done == NOON
    assert found.next_end == NOON + 10 * SECOND
    assert found.sentences == (
        "10s windows up to 2026-11-21 12:00:00 are published",
        "the next ends at 2026-11-21 12:00:10 and seals 2s later (grace), in 9 s",
    )


def test_a_partition_without_a_worker_is_named_with_the_worker_that_is_silent():
    tasks = worker(NOON, {"telemetry.raw/0": source(NOON, NOON)})
    (found,) = why(tasks, NOON + SECOND, silent=("worker-1",))
    assert found.held
    assert found.sentences[-1].startswith(
        "telemetry.raw/1: with no worker that answers (worker-1 does not answer)"
    )


def test_a_partition_that_lags_says_by_how_much():
    late = source(NOON, NOON, lag=12_345)
    (found,) = why(worker(NOON, both(late, source(NOON + 10 * SECOND, NOON))), NOON + 60 * SECOND)
    assert found.held
    assert found.sentences[-1].startswith("telemetry.raw/0 is 12,345 records behind")


def test_agents_that_send_nothing_newer_are_told_with_since_when():
    behind = source(NOON, NOON + 4 * SECOND, received=NOON + 20 * SECOND)
    sealed = source(NOON + 50 * SECOND, NOON)
    (found,) = why(worker(NOON, both(sealed, behind)), NOON + 60 * SECOND)
    assert found.held
    assert found.sentences[-1].startswith(
        "telemetry.raw/1 has come to 2026-11-21 12:00:04 in event time and must pass "
        "2026-11-21 12:00:12; its last record arrived 40 s ago"
    )


def test_a_task_that_failed_says_its_error():
    broken = source(NOON, NOON, state="restoring", error="no disk", restarts=3)
    (found,) = why(worker(NOON, both(broken, source(NOON, NOON))), NOON + SECOND)
    assert found.held
    assert "telemetry.raw/0 failed and starts over (restart 3): no disk" in found.sentences


def test_tasks_that_have_not_loaded_their_state_yet_hold_everything():
    loading = task({}, state="restoring")
    tasks = worker(NOON, both(loading, loading))
    tasks["rollup"] = {f"telemetry.partials/{n}": loading for n in range(2)}
    (found,) = why(tasks, NOON + SECOND)
    assert found.held
    assert any("is not running yet: restoring" in sentence for sentence in found.sentences)


def test_a_store_that_is_away_holds_the_tables():
    fine = source(NOON, NOON + SECOND)
    (found,) = why(worker(NOON, both(fine, fine)), NOON + SECOND, away="connection refused")
    assert found.held
    assert found.sentences[-1] == "nothing reaches the tables from worker-0: connection refused"


def test_before_the_first_record_there_is_no_window():
    empty = source(EARLIEST, EARLIEST)
    (found,) = why(worker(EARLIEST, both(empty, empty)), NOON + 5 * SECOND)
    assert found.sentences[0] == "no 10s window has been sealed yet"
    assert found.next_end == NOON + 10 * SECOND


def test_a_load_is_a_domain_of_its_own_which_its_markers_move():
    domain = "telemetry.history.nab"
    tasks = worker(NOON, both(source(NOON, NOON), source(NOON, NOON)))
    tasks["preaggregate"] |= {
        f"{domain}/{n}": source(EARLIEST, NOON - 3600 * SECOND, received=0) for n in range(2)
    }
    _, history = why(tasks, NOON + SECOND)
    assert history.domain == domain
    assert history.held
    assert "by its markers" in history.sentences[-1]


def test_a_load_that_ended_has_nothing_left_to_wait_for():
    domain = "telemetry.history.nab"
    tasks = worker(LATEST, {f"{domain}/0": source(LATEST, LATEST)}, domain)
    (history,) = [found for found in why(tasks, NOON) if found.domain == domain]
    assert not history.held
    assert history.sentences == (f"{domain} has ended: all is published",)
