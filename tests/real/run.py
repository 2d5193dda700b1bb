"""Random stories through the real processes, which are killed meanwhile; compared to the bit.

    python tests/real/run.py --stories 50 --stacks 2 --seed 1

Edge, broker, workers and store are started on free ports in a folder of their own. Agents send
over HTTP until they are answered, histories are written as their topics demand; event times are
now. Processes are killed with kill -9. When all windows have sealed, the log that the broker holds
is read with a stock consumer, the oracle computes from it, and what the final topic, the table and
`telemetry.rollups` hold must be equal: values, points, one first publication, revisions that rise
by one, certificates that are true.

The stories of a stack share its processes, its partitions and so their watermarks; each has
metrics, definitions and hosts of its own, and one in four a history; four share a topic.
Exit codes: 0 all equal, 1 a difference (shown), 5 no answer in time.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import functools
import math
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import yaml
from chaos.kills import kill_in_turn
from demo.compare import Where, report, wait_until_sealed
from demo.framing import write_framed
from demo.generate import Delivery
from demo.proof import progress
from demo.replay import send
from demo.run import exit_code, in_folder
from demo.stack import Stack, running, settings
from oracle import kafka_log, log
from oracle.definitions import SECOND
from real.histories import write_histories
from real.stories import Story, body, story
from rich.console import Console

from tests.simulation.topology_world import Rows, certify

AGGREGATES = Path(__file__).resolve().parents[2] / "examples" / "apdex.py"
AGENTS = 3  # of demo.replay
PATIENCE_S = 150
IDLE_AFTER_MS = 4_000
LONGEST_S = 60 + 5  # window and grace; an hour's window seals with the clock, or stays open


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What one stack is given."""

    seed: int
    stories: list[Story]
    seconds: float
    kills: int


async def one_stack(folder: Path, plan: Plan, console: Console) -> int:
    """Start, send, kill, wait, compare, end."""
    rng = random.Random(f"stack/{plan.seed}")
    definitions = folder / "definitions"
    definitions.mkdir(parents=True)
    every = [definition for told in plan.stories for definition in told.definitions]
    (definitions / "stories.yaml").write_text(yaml.safe_dump_all(every))
    chosen = dataclasses.replace(
        settings(folder / "data", workers=rng.choice([1, 2]), idle_after_ms=IDLE_AFTER_MS),
        definitions=(str(definitions),),
        aggregates=(str(AGGREGATES),),
        raw_partitions=rng.choice([1, 2, 4, 5]),
        shard_partitions=rng.choice([1, 3, 4]),
    )
    console.print(
        f"stack {plan.seed}: stories {plan.stories[0].name} to {plan.stories[-1].name}, "
        f"{len(every)} definitions, {chosen.workers} workers, {chosen.raw_partitions} partitions "
        f"of telemetry.raw, {chosen.shard_partitions} of telemetry.partials",
        highlight=False,
    )
    async with running(chosen, console.print) as stack, progress(stack, console):
        begin = -(-time.time_ns() // SECOND) * SECOND
        acknowledged = await _put_in(stack, plan, begin, console)
        if acknowledged is None:
            return 1
        last = begin + math.ceil(plan.seconds + 12 + LONGEST_S) * SECOND
        console.print("everything is sent; waiting until its windows have sealed")
        await asyncio.to_thread(wait_until_sealed, chosen.bootstrap, last, PATIENCE_S)
        return await asyncio.to_thread(_compare, stack, definitions, acknowledged, console)


async def _put_in(stack: Stack, plan: Plan, begin: int, console: Console) -> Path | None:
    """Send and load everything while processes are killed; the acknowledged bodies, as a file."""
    schedule = _schedule(plan, begin)
    histories = [told for told in plan.stories if told.loaded]
    stop = threading.Event()
    chosen = stack.settings
    try:
        async with asyncio.TaskGroup() as work:
            rng = random.Random(f"kills/{plan.seed}")
            work.create_task(kill_in_turn(stack, plan.kills, rng, console))
            loading = asyncio.to_thread(
                write_histories,
                chosen.bootstrap,
                chosen.raw_partitions,
                histories,
                begin,
                plan.seed,
            )
            work.create_task(loading)
            edge = f"127.0.0.1:{chosen.edge_port}"
            sending = work.create_task(asyncio.to_thread(send, edge, schedule, stop=stop))
    finally:
        stop.set()
    answers = sending.result()
    unanswered = [one for one in answers if one.status == 429 or not 0 < one.status < 500]
    console.print(
        f"{len(answers)} requests, {sum(one.attempts - 1 for one in answers)} sent again; "
        f"{len(histories)} stories with a history"
    )
    if unanswered:
        console.print(f"[red]{len(unanswered)} requests were never answered[/red]")
        return None
    path = chosen.folder / "acknowledged.otlp.zst"
    write_framed(path, [one.delivery.body for one in answers if one.acknowledged])
    return path


def _schedule(plan: Plan, begin: int) -> list[Delivery]:
    found: list[Delivery] = []
    for number, told in enumerate(plan.stories):
        for sent in told.sent:
            made = body(sent.text, begin)
            found.append(Delivery(number % AGENTS, sent.at, made, told.name))
            if sent.again is not None:
                found.append(Delivery(number % AGENTS, sent.at + sent.again, made, told.name))
    return sorted(found, key=lambda delivery: delivery.at)


def _compare(stack: Stack, definitions: Path, acknowledged: Path, console: Console) -> int:
    chosen = stack.settings
    host, _, port = chosen.store_url.removeprefix("http://").rpartition(":")
    where = Where(chosen.bootstrap, (host, int(port)), definitions, timeout=PATIENCE_S)
    code = report(where, acknowledged, None, console)
    if code:
        return code
    try:
        rows, certificates = check_rollups(chosen.bootstrap)
    except AssertionError as error:
        console.print(f"[red]telemetry.rollups: {error}[/red]", highlight=False, markup=False)
        return 1
    console.print(f"telemetry.rollups: {rows} rows, their revisions rise by one; ", end="")
    console.print(f"{certificates} certificates, all true")
    return 0


def check_rollups(bootstrap: str) -> tuple[int, int]:
    """Every record of the topic; raises AssertionError where a row or a certificate lies."""
    partitions = log.read(kafka_log.read(bootstrap, kafka_log.input_topics(bootstrap)))
    rows = Rows()
    for records in kafka_log.read(bootstrap, ["telemetry.rollups"]).values():
        for record in records:
            rows.take(record.value)
    for certificate in rows.certificates:
        certify(certificate, partitions)
    return sum(rows.revisions.values()), len(rows.certificates)


async def all_stacks(given: argparse.Namespace, console: Console) -> int:
    """One stack after the other; the worst exit code."""
    told = [story(given.seed + number, given.seconds) for number in range(given.stories)]
    share = -(-len(told) // given.stacks)
    codes: list[int] = []
    for first in range(0, len(told), share):
        seed = given.seed + first
        plan = Plan(seed, told[first : first + share], given.seconds, given.kills)
        code = await in_folder(
            given.keep and given.keep / f"stack-{seed}",
            console,
            functools.partial(one_stack, plan=plan, console=console),
        )
        codes.append(code)
        if code:
            again = f"--stories {len(plan.stories)} --stacks 1 --seed {seed}"
            again += f" --seconds {given.seconds:g} --kills {given.kills}"
            console.print(f"[red]again[/red]: python tests/real/run.py {again}", highlight=False)
    return max(codes)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", type=int, default=50)
    parser.add_argument("--stacks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=45, help="for which a story lasts")
    parser.add_argument("--kills", type=int, default=5, help="in each stack")
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    given = parser.parse_args()
    console = Console(width=120)
    console.print(f"{given.stories} stories, --seed {given.seed}", highlight=False)
    what = f"{given.stories} stories"
    code = exit_code(what, lambda: all_stacks(given, console), console)
    console.print("[green]all equal[/green]" if code == 0 else f"[red]exit code {code}[/red]")
    return code


if __name__ == "__main__":
    sys.exit(main())
