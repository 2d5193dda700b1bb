"""tidemill's own pre-aggregation and roll-up, exactly once, by four definitions.

The worker as `tidemill worker` runs it, but for the sink: results stay in `telemetry.rollups`.
See `catalogue.py` for the arguments; input and output have the names that the product gives them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from streams.worker.app import run_worker
from streams.worker.kafka import create_topic
from tidemill.product import product
from tidemill.settings import Settings, topics
from tidemill.wiring import load_plan
from tidemill.worker import worker_config
from topologies.deployment import Deployment

METRICS = ", ".join(f"{{metric: http.server.measure.{number}}}" for number in range(10))
QUESTIONS = {"count": "sum", "sum": "sum", "min": "min", "max": "max"}
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: peers.{name}
description: Part of the comparison
owner: bench
source:
  any_of: [{metrics}]
  unit: "1"
space: {{keep: [host.name, http.route]}}
time: {{granularities: [{window}s], grace: 5s, corrections: 60s}}
aggregate: {{over_time: {name}, over_space: {space}}}
publish: {{final: false, keep: {{{window}s: 14d}}}}
"""


async def make_topics(settings: Settings) -> None:
    """All of a deployment; the input is there already."""
    for topic in topics(settings):
        config = worker_config(settings, 0)
        await create_topic(config, topic.name, topic.partitions or 1, topic.config)


def main() -> None:
    bootstrap, _, _, name, state, _, window, options = sys.argv[1:]
    folder = Path(state)
    (folder / "worker-0").mkdir(parents=True)
    definitions = folder / "peers.yaml"
    definitions.write_text(
        "---".join(
            DEFINITION.format(name=each, space=space, metrics=METRICS, window=window)
            for each, space in QUESTIONS.items()
        )
    )
    settings = Settings(
        data=state, definitions=(str(definitions),), starter_definitions=False,
        bootstrap=bootstrap, raw_partitions=2, shard_partitions=2, app=name,
        worker_port=int(options.removeprefix("web_port=")),
    )  # fmt: skip
    asyncio.run(make_topics(settings))
    plan = product(settings, Deployment(load_plan(settings)))
    run_worker(worker_config(settings, 0), plan.topologies(), loglevel="WARNING")


if __name__ == "__main__":
    main()
