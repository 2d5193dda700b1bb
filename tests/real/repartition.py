"""Partitions or key of the live topic change while agents send; compared to the bit.

    TIDEMILL_STREAM_GAP_S=6 python tests/real/repartition.py --partitions 2 --then 5
    TIDEMILL_STREAM_GAP_S=6 python tests/real/repartition.py --partitions 3 --then 3 --by rack

Edge, broker, workers and store are started on free ports in a folder of their own, told to forget
streams after six seconds, so that a change can come soon. Agents send counters, gauges and deltas,
late ones and repeats among them; meanwhile `tidemill topic repartition` announces the change, and a
worker and the edge are killed with kill -9. Then everything is compared with the oracle as in
`run.py`. Exit codes: 0 all equal, 1 a difference (shown), 5 no answer in time.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import random
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import Coroutine, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import yaml
from demo.compare import Where, report, wait_until_sealed
from demo.framing import write_framed
from demo.generate import Delivery
from demo.replay import send
from demo.run import exit_code, in_folder
from demo.stack import Stack, running, settings
from oracle import epochs
from oracle.definitions import SECOND
from real.run import check_rollups
from real.stories import BEFORE, body
from rich.console import Console

PATIENCE_S = 120
IDLE_AFTER_MS = 2_000
MARGIN_MS = 6_000
SECONDS = 55
HOSTS = ("a", "b", "c", "d", "e", "f")
DEFINITIONS = (
    ("requests", "increase", "sum", "requests", "{request}", ["5s", "20s"], "cumulative", "carry"),
    ("busiest", "increase", "max", "requests", "{request}", ["10s"], "delta", "drop"),
    ("load", "avg", "max", "load", "1", ["5s", "10s"], "delta", "drop"),
    ("traffic", "sum", "sum", "bytes", "By", ["10s", "20s"], "delta", "carry"),
)


def definitions() -> list[dict[str, object]]:
    """What is computed; windows of all sizes end every twenty seconds."""
    return [
        {
            "apiVersion": "tidemill/v1",
            "kind": "Metric",
            "name": f"rollup.{name}",
            "description": "Of a change",
            "owner": "tests",
            "source": {"metric": f"change.{metric}", "unit": unit},
            "space": {"keep": ["host"] if over_space == "max" else []},
            "time": {"granularities": sizes, "grace": "2s", "corrections": "30s"},
            "aggregate": {"over_time": over_time, "over_space": over_space},
            "publish": {"temporality": temporality, "late": late} if over_space == "sum" else {},
        }
        for name, over_time, over_space, metric, unit, sizes, temporality, late in DEFINITIONS
    ]


def schedule(rng: random.Random, begin: int) -> list[Delivery]:
    """A request a second of each host; some come late, and some twice."""
    found: list[Delivery] = []
    for number, host in enumerate(HOSTS):
        count = rng.randrange(100)
        for tenth in range(10 * number, 10 * SECONDS, 10):
            at = tenth / 10 + number / len(HOSTS)
            count = 0 if rng.random() < 0.03 else count + rng.randrange(9)
            moment = BEFORE + at
            text = (
                f"[host={host},rack={number % 2}] change.requests@{moment:g}={count}i^- "
                f"change.load@{moment:g}={rng.random():.3f} change.bytes@{moment:g}+={count}i"
            )
            sent = at + (rng.choice([3, 8, 14]) if rng.random() < 0.1 else 0)
            found.append(Delivery(number % 3, sent, body(text, begin)))
            if rng.random() < 0.1:
                found.append(Delivery(number % 3, sent + 2, body(text, begin)))
    return sorted(found, key=lambda delivery: delivery.at)


async def tidemill(stack: Stack, *words: str) -> list[dict[str, Any]]:
    """The rows that a command prints; it must end well."""
    command = (sys.executable, "-m", "tidemill", *words)
    process = await asyncio.create_subprocess_exec(
        *command, "--settings", str(stack.settings.file), "-o", "json", stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {process.returncode}: {err.decode()}")
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


async def change(stack: Stack, options: Sequence[str], console: Console) -> None:
    """Announce the change; kill the edge before it comes, and the worker after.

    The sleeps are part of the story: requests are on their way all the time, some before the
    change is announced and some after, and it comes at a time of the wall clock.
    """
    await asyncio.sleep(4)
    words = ("topic", "repartition", *options)
    (would,) = await tidemill(stack, *words, "--dry-run")
    (decided,) = await tidemill(stack, *words)
    listed = await tidemill(stack, "topic", "epochs")
    expected = {name: decided[name] for name in ("topic", "partitions", "key")}
    assert would["announced"] == "no"
    assert decided["announced"] == "yes"
    assert listed[-1] == {**expected, "since": decided["from"]}
    console.print(f"{decided['topic']} from {decided['from']} on, by {decided['key']}")
    await asyncio.sleep(3)
    stack.kill("edge")
    begins = datetime.fromisoformat(decided["from"]).timestamp()
    await asyncio.sleep(max(0.0, begins - time.time() + 1))
    stack.kill("worker-0")


async def prove(folder: Path, given: argparse.Namespace, console: Console) -> int:
    """Start, send, change, wait, compare, end."""
    files = folder / "definitions"
    files.mkdir(parents=True)
    (files / "change.yaml").write_text(yaml.safe_dump_all(definitions()))
    chosen = dataclasses.replace(
        settings(folder / "data", workers=1, idle_after_ms=IDLE_AFTER_MS),
        definitions=(str(files),),
        starter_definitions=False,
        raw_partitions=given.partitions,
        stream_gap_ms=epochs.STREAM_GAP // 1_000_000,
        epoch_margin_ms=MARGIN_MS,
    )
    async with running(chosen, console.print) as stack:
        begin = -(-time.time_ns() // SECOND) * SECOND
        stop = threading.Event()
        planned = schedule(random.Random(given.seed), begin)
        edge = f"127.0.0.1:{chosen.edge_port}"
        try:
            async with asyncio.TaskGroup() as work:
                options = ["--partitions", str(given.then), *(f"--by={one}" for one in given.by)]
                work.create_task(change(stack, options, console))
                sending = work.create_task(asyncio.to_thread(send, edge, planned, stop=stop))
        finally:
            stop.set()
        answers = sending.result()
        acknowledged = folder / "acknowledged.otlp.zst"
        write_framed(acknowledged, [one.delivery.body for one in answers if one.acknowledged])
        last = begin + (SECONDS + 30) * SECOND
        console.print(f"{len(answers)} requests sent; waiting until their windows have sealed")
        await asyncio.to_thread(wait_until_sealed, chosen.bootstrap, last, PATIENCE_S)
        return await asyncio.to_thread(compare, stack, files, acknowledged, console)


def compare(stack: Stack, files: Path, acknowledged: Path, console: Console) -> int:
    """With the oracle; every certificate is true."""
    host, _, port = stack.settings.store_url.removeprefix("http://").rpartition(":")
    where = Where(stack.settings.bootstrap, (host, int(port)), files, timeout=PATIENCE_S)
    code = report(where, acknowledged, None, console)
    if code == 0:
        rows, certificates = check_rollups(stack.settings.bootstrap)
        console.print(f"{rows} rows, {certificates} certificates, all true")
    return code


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--then", type=int, default=5)
    parser.add_argument("--by", action="append", default=[], help="an attribute of the key")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    given = parser.parse_args()
    console = Console(width=120)

    def work() -> Coroutine[Any, Any, int]:
        return in_folder(given.keep, console, lambda folder: prove(folder, given, console))

    return exit_code("the change", work, console)


if __name__ == "__main__":
    sys.exit(main())
