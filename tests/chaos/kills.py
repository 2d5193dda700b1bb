"""Kills every process in turn at random moments; which and when follows from a seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

from demo.stack import Stack
from rich.console import Console

LONGEST_PAUSE_S = 5.0
LOADER_KILLS = 3


def plan(names: list[str], kills: int, rng: random.Random) -> Iterator[tuple[float, str]]:
    """(seconds to wait, victim): every process once a round, each round in another order."""
    left = kills
    while left > 0:
        for name in rng.sample(names, len(names))[:left]:
            yield rng.uniform(0.2, LONGEST_PAUSE_S), name
            left -= 1


async def kill_in_turn(
    stack: Stack, kills: int, rng: random.Random, console: Console
) -> Counter[str]:
    """Kill -9, `kills` times, then wait until everything serves again; returns who died how often.

    A victim that is down just then is waited for: only a running process is killed. The others may
    still be coming back from theirs.
    """
    done: Counter[str] = Counter()
    for pause, name in plan(stack.names, kills, rng):
        await asyncio.sleep(pause)
        await stack.until_running(name)
        stack.kill(name)
        done[name] += 1
        others = [other for other in stack.away if other != name]
        console.print(
            f"kill {done.total()}/{kills}: {name} after {pause:.2f} s"
            + (f", while {', '.join(others)} came back" if others else ""),
            highlight=False,
        )
    await stack.until_ready(180)
    return done


async def kill_the_loader(stack: Stack, rng: random.Random, console: Console) -> int:
    """Kill the process that loads history while it is at it, a few times; how often it was hit."""
    hits = 0
    for _ in range(LOADER_KILLS):
        pause = rng.uniform(0.2, 2.5)
        await asyncio.sleep(pause)
        loader = stack.loader
        if loader is not None and loader.returncode is None:
            loader.kill()
            hits += 1
            console.print(f"killed the loader after {pause:.2f} s", highlight=False)
    return hits
