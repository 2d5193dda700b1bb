"""A task under every fault of the commit protocol, against a plain run over the same log.

One seed is one history (`crash_world.py`); together they must have died at every point of the
protocol, and met every other fault. `TIDEMILL_SIMULATIONS` sets the number of seeds; `make crashes`
runs 100,000 histories of this kind and its neighbours on all cores.
"""

import os
from collections import Counter

import pytest

from streams.task import events as ev
from streams.task.task import Task
from tests.simulation.crash_coverage import ONE_TASK, missing
from tests.simulation.crash_world import Simulation

SEEDS = int(os.environ.get("TIDEMILL_SIMULATIONS", "700"))


def test_any_history_of_crashes_gives_what_a_run_without_gives():
    met: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            Simulation(seed, met=met).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert missing(met, ONE_TASK) == []


def test_no_tick_before_it_is_due_changes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker leaves out the others: whatever one of them did would be done late, or never."""
    left_out: Counter[bool] = Counter()
    step = Task.step

    def watched(task: Task, event: ev.Event, now_ms: int) -> list[ev.Effect]:
        effects = step(task, event, now_ms)
        due = task.due_ms()
        if due is None or due > now_ms:
            before = (task.stats(), task.due_ms())
            assert step(task, ev.Tick(), now_ms if due is None else due - 1) == []
            assert (task.stats(), task.due_ms()) == before
            left_out[due is None] += 1
        return effects

    monkeypatch.setattr(Task, "step", watched)
    for seed in range(SEEDS, SEEDS + 100):
        Simulation(seed).run()
    assert min(left_out[True], left_out[False]) > 1_000
