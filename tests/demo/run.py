"""The finite proof: a stack of its own, real data, and every rollup compared to the bit.

    python tests/demo/run.py

Starts the real processes on free ports in a folder that is removed if all is well, loads the
CloudWatch files as history, replays a bad day of three hosts over OTLP, waits until all is sealed,
recomputes every rollup by the oracle and compares. Exit codes as of compare.py, 0: all equal.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.proof import Inputs, prove
from demo.stack import StackError, running, settings
from rich.console import Console

IDLE_AFTER_MS = 5_000
"""A host is silent for ten events here while its process restarts; a partition is idle after more
than that, else the first pause of a busy machine would make everything after it late."""


async def demo(folder: Path, inputs: Inputs, console: Console) -> int:
    """Start the stack, prove, end the stack."""
    chosen = settings(folder, workers=1, idle_after_ms=IDLE_AFTER_MS)
    console.print(f"starting broker, store, edge and worker in {folder}")
    async with running(chosen, console.print) as stack:
        return await prove(stack, inputs, console)


async def in_folder(
    kept: Path | None, console: Console, work: Callable[[Path], Coroutine[Any, Any, int]]
) -> int:
    """Run it in the folder given, or in one that is removed if its exit code is 0."""
    folder = _made(kept)
    code = -1
    try:
        code = await work(folder)
    finally:
        if code == 0 and kept is None:
            shutil.rmtree(folder)
        else:
            console.print(f"data and logs are kept in {folder}", highlight=False)
    return code


def _made(kept: Path | None) -> Path:
    if kept is None:
        return Path(tempfile.mkdtemp(prefix="tidemill-demo-"))
    kept.mkdir(parents=True, exist_ok=True)
    return kept


async def interruptible(work) -> int:
    """Run it; SIGINT and SIGTERM end it in order, with the processes it has started."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def exit_code(what: str, work: Callable[[], Coroutine[Any, Any, int]], console: Console) -> int:
    """Run it to its end, and say how long it took, or why there is none: 5 no answer in time."""
    started = time.monotonic()
    try:
        code = asyncio.run(interruptible(work()))
    except (StackError, TimeoutError) as error:
        console.print(f"[red]{error}[/red]")
        return 5
    except asyncio.CancelledError:
        console.print("interrupted")
        return 130
    console.print(f"{what} took {time.monotonic() - started:.0f} s")
    return code


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30, help="of the replay, at least")
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder")
    given = parser.parse_args()
    console = Console(width=120)
    inputs = Inputs(seed=given.seed, seconds=given.seconds)

    def work() -> Coroutine[Any, Any, int]:
        return in_folder(given.keep, console, lambda folder: demo(folder, inputs, console))

    return exit_code("the demo", work, console)


if __name__ == "__main__":
    sys.exit(main())
