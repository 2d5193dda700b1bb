"""The command line of the examples: run a topology on a broker, or say what it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from streams.config import WorkerConfig
from streams.topology.plan import Plan
from streams.worker.plan_runner import run_plan


def main(plan: Plan, topics: Mapping[str, int]) -> None:
    """Run the plan until it is stopped; with --describe or --graph only print it."""
    command = argparse.ArgumentParser(description=f"Runs the topology {plan.name}.")
    command.add_argument("--bootstrap", default="127.0.0.1:9092", help="the broker")
    command.add_argument("--state", type=Path, default=None, help="folder of the local state")
    command.add_argument("--web-port", type=int, default=6066, help="figures: /stats/tasks")
    command.add_argument("--describe", action="store_true", help="print the plan")
    command.add_argument("--graph", action="store_true", help="print the plan as a Mermaid chart")
    given = command.parse_args()
    if given.describe or given.graph:
        print(plan.graph() if given.graph else plan.describe())
        return
    config = WorkerConfig(plan.name, given.bootstrap, given.state, web_port=given.web_port)
    run_plan(plan, config, topics=topics)
