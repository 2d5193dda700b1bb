"""A task under every fault of the commit protocol, against a plain run over the same log.

One seed is one history (`crash_world.py`); together they must have died at every point of the
protocol, and met every other fault. `TIDEMILL_SIMULATIONS` sets the number of seeds; `make crashes`
runs 100,000 histories of this kind and its neighbours on all cores.
"""

import os
from collections import Counter

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
