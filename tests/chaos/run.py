"""The proof of the demo while every process is killed with kill -9, again and again.

    python tests/chaos/run.py --kills 40 --seed 1

Broker, store, edge and two workers are killed in turn at random moments and started again by the
real supervisor; agents repeat the same bytes until they are answered. At the end nothing that was
acknowledged may be lost or counted twice: the same table, exit code 0 only if all are equal.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos.kills import kill_in_turn, kill_the_loader
from demo.proof import Inputs, prove
from demo.run import exit_code, in_folder
from demo.stack import running, settings
from rich.console import Console

IDLE_AFTER_MS = 15_000
"""Longer than most restarts: else nearly everything would be late."""
SECONDS_A_KILL = 6.0
WORKERS = 2


async def chaos(folder: Path, inputs: Inputs, kills: int, seed: int, console: Console) -> int:
    """Start the stack, prove while it is killed, end the stack."""
    chosen = settings(folder, workers=WORKERS, idle_after_ms=IDLE_AFTER_MS)
    console.print(f"starting broker, store, edge and {WORKERS} workers in {folder}")
    async with running(chosen, console.print) as stack:
        loader = kill_the_loader(stack, random.Random(f"{seed}/load"), console)
        processes = kill_in_turn(stack, kills, random.Random(f"{seed}/kills"), console)
        found: list[object] = []
        code = await prove(stack, inputs, console, _both(processes, loader, found))
        console.print(f"killed with seed {seed}: {found[0]}, and the loader {found[1]} times")
        console.print(f"restarts by the supervisor: {stack.restarts}")
        return code


async def _both(
    processes: Coroutine[Any, Any, object], loader: Coroutine[Any, Any, object], found: list[object]
) -> None:
    found.extend(await asyncio.gather(processes, loader))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    given = parser.parse_args()
    console = Console(width=120)
    console.print(f"chaos with {given.kills} kills, --seed {given.seed}", highlight=False)
    seconds = max(40.0, SECONDS_A_KILL * given.kills)
    inputs = Inputs(seed=given.seed, seconds=seconds, patience=300)

    async def kill(folder: Path) -> int:
        return await chaos(folder, inputs, given.kills, given.seed, console)

    return exit_code("chaos", lambda: in_folder(given.keep, console, kill), console)


if __name__ == "__main__":
    sys.exit(main())
