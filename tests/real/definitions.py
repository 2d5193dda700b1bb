"""Definitions change on a running stack while agents send; compared with the oracle to the bit.

    python tests/real/definitions.py              # apply, roll back, apply again; workers killed
    python tests/real/definitions.py --short      # apply, a worker killed, roll back

Edge, broker, two workers and store are started on free ports in a folder of their own. Agents send
counters, gauges and deltas, late ones and repeats among them. Meanwhile `tidemill registry apply`
and `rollback` change what is computed, and workers are killed with kill -9 between the announcement
and its time, and behind it. Nothing else restarts. Every window must be of the version that the
command announced for the time at which it begins, and say what the oracle says of that version.
Exit codes: 0 all equal, 1 a difference (shown), 5 no answer in time.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import random
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import Coroutine, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import yaml
from demo.compare import missing_from_the_log, wait_until_sealed
from demo.framing import write_framed
from demo.generate import Delivery
from demo.published import Table
from demo.replay import send
from demo.run import exit_code, in_folder
from demo.stack import Stack, running, settings
from oracle import definitions, kafka_log, log, windows
from oracle.definitions import SECOND, Definition
from oracle.histograms import mark
from oracle.log import LIVE
from oracle.oracle import Key, compute
from real.stories import BEFORE, body
from rich.console import Console

from tests.simulation.topology_world import Rows, certify

PATIENCE_S = 120
IDLE_AFTER_MS = 2_000
HOSTS = ("a", "b", "c", "d", "e", "f")
AT_MOST = 600
"""Seconds for which agents send; they end when the last change has counted for a while."""


def definition(name: str, metric: str, unit: str, sizes: list[str], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": f"rollup.{name}",
        "description": "Of a change",
        "owner": "tests",
        "source": {"metric": f"change.{metric}", "unit": unit},
        "space": {"keep": more.pop("keep", [])},
        "time": {"granularities": sizes, "grace": "2s", "corrections": "60s"},
        "aggregate": more.pop("aggregate"),
        **more,
    }


def steps(over_time: str, over_space: str) -> dict[str, str]:
    return {"over_time": over_time, "over_space": over_space}


INCREASE, BYTES = steps("increase", "sum"), steps("sum", "sum")
SAME = definition("traffic", "bytes", "By", ["5s", "10s"], aggregate=BYTES)
FIRST = [
    SAME,
    definition("requests", "requests", "{request}", ["5s", "10s"], aggregate=INCREASE),
    definition("load", "load", "1", ["5s", "10s"], aggregate=steps("avg", "max")),
    definition("going", "load", "1", ["10s"], aggregate=steps("count", "sum")),
]
SECOND_ONES = [
    SAME,
    definition("requests", "requests", "{request}", ["5s"], aggregate=INCREASE, keep=["host"]),
    definition("load", "load", "1", ["5s", "10s"], aggregate=steps("min", "max")),
    definition("coming", "load", "1", ["5s", "10s"], aggregate={"over_points": "p90"}),
]
THIRD = [
    SAME,
    definition("requests", "requests", "{request}", ["5s", "10s"], aggregate=INCREASE,
               keep=["host"]),
    definition("load", "load", "1", ["10s"], aggregate=steps("avg", "max")),
]  # fmt: skip


def schedule(rng: random.Random, begin: int) -> list[Delivery]:
    """Two requests a second of each host; some come late, and some twice."""
    found: list[Delivery] = []
    for number, host in enumerate(HOSTS):
        count = rng.randrange(100)
        for tenth in range(number, 10 * AT_MOST, 5):
            at = tenth / 10 + number / 100
            count = 0 if rng.random() < 0.03 else count + rng.randrange(9)
            moment = BEFORE + at
            text = (
                f"[host={host}] change.requests@{moment:g}={count}i^- "
                f"change.load@{moment:g}={rng.random():.3f} change.bytes@{moment:g}+={count}i"
            )
            sent = at + (rng.choice([3, 8, 14]) if rng.random() < 0.1 else 0)
            found.append(Delivery(number % 3, sent, body(text, begin)))
            if rng.random() < 0.1:
                found.append(Delivery(number % 3, sent + 2, body(text, begin)))
    return sorted(found, key=lambda delivery: delivery.at)


class Told:
    """What commands announced: by name, from when on (unix ns) which version, as it is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spans: dict[str, list[tuple[float, str | None, Definition | None]]] = {}
        self._before: dict[str, Definition] = {}

    def files(self, texts: list[dict[str, Any]]) -> dict[str, Definition]:
        """Write the files; what the oracle reads in them."""
        (self.folder / "change.yaml").write_text(yaml.safe_dump_all(texts))
        return {one.name: one for one in definitions.load(self.folder)}

    def first(self, texts: list[dict[str, Any]]) -> None:
        self._before = self.files(texts)
        self.spans = {name: [(-math.inf, None, one)] for name, one in self._before.items()}

    def change(self, said: dict[str, Any], now: dict[str, Definition]) -> int:
        """Note what a command said; returns when the last of it counts."""
        named = {each["name"] for each in said["changes"]}
        before = self._before
        assert named == {n for n in before.keys() | now.keys() if before.get(n) != now.get(n)}
        last = 0
        for each in said["changes"]:
            since = round(datetime.fromisoformat(each["from"]).timestamp()) * SECOND
            spans = self.spans.setdefault(each["name"], [(-math.inf, None, None)])
            if spans[-1][1] is None and len(spans) == 1:
                spans[0] = (-math.inf, each["old"], spans[0][2])
            assert spans[-1][1] == each["old"], f"{each['name']}: another version was in force"
            spans.append((since, each["new"], now.get(each["name"])))
            last = max(last, since)
        self._before = now
        return last

    def owner(self, key: Key) -> tuple[str | None, Definition | None]:
        """Whose the window is."""
        begins = windows.start_of(key.window_end, key.size)
        spans = self.spans.get(key.definition, [])
        return next(
            ((v, one) for since, v, one in reversed(spans) if since <= begins), (None, None)
        )


async def tidemill(stack: Stack, *words: str) -> dict[str, Any]:
    """What a command prints as JSON; it must end well."""
    command = (sys.executable, "-m", "tidemill", "registry", *words)
    process = await asyncio.create_subprocess_exec(
        *command, "--settings", str(stack.settings.file), "-o", "json", stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {process.returncode}: {err.decode()}")
    return {**json.loads(out), "notes": err.decode()}


async def change(stack: Stack, told: Told, short: bool, console: Console) -> list[str]:
    """Change definitions and kill workers, until the last change has counted; returns whom.

    The sleeps are part of the story: requests are on their way all the time, and changes come at
    times of the wall clock.
    """
    killed: list[str] = []

    async def made(*words: str, now: dict[str, Definition], kill: str = "") -> int:
        said = await tidemill(stack, *words)
        if kill:
            stack.kill(kill)
            killed.append(kill)
        else:
            assert "2 workers know" in said["notes"], said["notes"]
        last = told.change(said, now)
        away = (last - time.time_ns()) / SECOND
        console.print(f"{' '.join(words)}: counts in {away:.1f} s; killed: {kill or 'nobody'}")
        return last

    async def past(moment: int, seconds: float = 1) -> None:
        await asyncio.sleep(max(0.0, moment / SECOND - time.time() + seconds))

    first = told.files(FIRST)
    await asyncio.sleep(3)
    would = await tidemill(stack, "apply", "--dry-run")
    assert not would["changes"]
    second = told.files(SECOND_ONES)
    await made("apply", "--delete", now=second)
    await asyncio.sleep(2)
    stack.kill("worker-1")
    killed.append("worker-1")
    await stack.until_up("worker-1", serving=True)
    if short:
        await asyncio.sleep(3)
        await past(await made("rollback", now=first), 11)
        return killed
    await past(await made("rollback", "--no-wait", now=first, kill="worker-0"))
    await stack.until_up("worker-0", serving=True)
    third = told.files(THIRD)
    begins = await made("apply", "--delete", "--no-wait", now=third, kill="worker-1")
    await stack.until_up("worker-1", serving=True)
    await past(begins)
    stack.kill("worker-0")
    killed.append("worker-0")
    await stack.until_up("worker-0", serving=True)
    await past(begins, 11)
    return killed


async def prove(folder: Path, short: bool, seed: int, console: Console) -> int:
    """Start, send, change, wait, compare, end."""
    files = folder / "definitions"
    files.mkdir(parents=True)
    told = Told(files)
    told.first(FIRST)
    chosen = dataclasses.replace(
        settings(folder / "data", workers=2, idle_after_ms=IDLE_AFTER_MS),
        definitions=(str(files),),
        starter_definitions=False,
        raw_partitions=3,
        shard_partitions=2,
    )
    async with running(chosen, console.print) as stack:
        pids = {name: stack.pid(name) for name in stack.names}
        begin = -(-time.time_ns() // SECOND) * SECOND
        stop = threading.Event()
        planned = schedule(random.Random(seed), begin)
        edge = f"127.0.0.1:{chosen.edge_port}"
        try:
            async with asyncio.TaskGroup() as work:
                sending = work.create_task(asyncio.to_thread(send, edge, planned, stop=stop))
                killed = await change(stack, told, short, console)
                stop.set()
        finally:
            stop.set()
        answers = [one for one in sending.result() if one.attempts]
        acknowledged = folder / "acknowledged.otlp.zst"
        write_framed(acknowledged, [one.delivery.body for one in answers if one.acknowledged])
        last = time.time_ns() + 16 * SECOND
        console.print(f"{len(answers)} requests sent; waiting until their windows have sealed")
        await asyncio.to_thread(wait_until_sealed, chosen.bootstrap, last, PATIENCE_S)
        others = {name: stack.pid(name) for name in pids if name not in killed}
        if any(pids[name] != pid for name, pid in others.items()) or stack.restarts != len(killed):
            console.print(f"[red]processes were restarted: {pids} {others}[/red]")
            return 1
        console.print(f"{len(others)} processes run on as they were; killed: {', '.join(killed)}")
        return await asyncio.to_thread(compare, stack, told, acknowledged, console)


Wanted = dict[Key, tuple[object, int, str | None]]


def expected(told: Told, partitions: list[log.Partition]) -> tuple[Wanted, Wanted]:
    """What the oracle says of each window, by the version that owns it: first, and latest."""
    first: Wanted = {}
    latest: Wanted = {}
    every = {one for spans in told.spans.values() for _, _, one in spans if one is not None}
    for one in every:
        found = compute(partitions, [one])
        for key, cells in found.first.items():
            version, owner = told.owner(key)
            if owner == one:
                first[key] = (mark(cells[LIVE].value), cells[LIVE].points, version)
        for key, cell in found.latest.items():
            version, owner = told.owner(key)
            if owner == one:
                latest[key] = (mark(cell.value), cell.points, version)
    return first, latest


def compare(stack: Stack, told: Told, acknowledged: Path, console: Console) -> int:
    """With the oracle: the table, the first publications, and every certificate."""
    chosen = stack.settings
    host, _, port = chosen.store_url.removeprefix("http://").rpartition(":")
    table = Table(host, int(port))
    until = time.monotonic() + PATIENCE_S
    try:
        while True:
            read = kafka_log.read(chosen.bootstrap, kafka_log.input_topics(chosen.bootstrap))
            partitions = log.read(read)
            first, latest = expected(told, partitions)
            rows = table.rows(list(told.spans))
            got = {key: (mark(r.value), r.points, r.version) for key, (r, *_) in rows.items()}
            known = {
                key: (*cell[:2], cell[2] or got.get(key, (0, 0, None))[2])
                for key, cell in latest.items()
            }
            wrong = list(differences(known, got))
            if not wrong or time.monotonic() > until:
                break
            time.sleep(1)
    finally:
        table.close()
    published = Rows()
    for records in kafka_log.read(chosen.bootstrap, ["telemetry.rollups"]).values():
        for record in records:
            published.take(record.value)
    for certificate in published.certificates:
        certify(certificate, partitions)
    once = {key: cell[:2] for key, cell in first.items()}
    wrong += differences(once, {key: cell[1:] for key, cell in published.first.items()})
    wrong += [f"{key}: {len(r)} rows" for key, r in rows.items() if len(r) != 1]
    wrong += missing_from_the_log(partitions, acknowledged)
    console.print("\n".join(wrong[:20]), highlight=False, markup=False)
    by_version: dict[tuple[str, str], int] = {}
    for key, (_, _, version) in got.items():
        by_version[key.definition, version] = by_version.get((key.definition, version), 0) + 1
    for (name, version), count in sorted(by_version.items()):
        console.print(f"{name} {version}: {count} rows", highlight=False)
    console.print(
        f"{len(got)} rows in the table, {len(once)} first publications, "
        f"{len(published.certificates)} certificates; {len(wrong)} wrong"
    )
    announced = {
        (name, version)
        for name, spans in told.spans.items()
        for _, version, one in spans
        if version and one
    }
    if unseen := announced - by_version.keys():
        console.print(f"[red]no rows at all of {sorted(unseen)}[/red]")
        return 1
    return 1 if wrong else 0


def differences(wanted: dict[Key, Any], got: dict[Key, Any]) -> Iterator[str]:
    for key in sorted(wanted.keys() | got.keys(), key=repr):
        if wanted.get(key) != got.get(key):
            yield f"{key}: the oracle says {wanted.get(key)}, published is {got.get(key)}"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    given = parser.parse_args()
    console = Console(width=120)

    def work() -> Coroutine[Any, Any, int]:
        return in_folder(
            given.keep, console, lambda folder: prove(folder, given.short, given.seed, console)
        )

    return exit_code("the changes", work, console)


if __name__ == "__main__":
    sys.exit(main())
