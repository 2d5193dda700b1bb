"""Kills every process in turn at random moments; which and when follows from a seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from demo.stack import Stack
from rich.console import Console

LONGEST_PAUSE_S = 4.0
LONGEST_CALM_S = 12.0
LOADER_KILLS = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """Seconds to wait once the victim serves; `early`: once it merely runs, and comes up.

    calm: seconds before that in which all serve, None where nobody but the victim is waited for.
    """

    pause: float
    victim: str
    early: bool
    calm: float | None = None


def plan(names: list[str], kills: int, rng: random.Random) -> Iterator[Kill]:
    """Every process once a round, each round in another order; one kill of four is early.

    Before a round the stack may work for a while, so that there is something to interrupt.
    """
    left = kills
    while left > 0:
        calm = rng.uniform(0.0, LONGEST_CALM_S)
        for name in rng.sample(names, len(names))[:left]:
            early = rng.random() < 0.25
            yield Kill(rng.uniform(0.1, 2.0 if early else LONGEST_PAUSE_S), name, early, calm)
            calm = None
            left -= 1


async def kill_in_turn(
    stack: Stack, kills: int, rng: random.Random, console: Console
) -> Counter[str]:
    """Kill -9, `kills` times, then wait until everything serves again; returns who died how often.

    Within a round only the victim is waited for: the others may still be coming back from theirs.
    """
    done: Counter[str] = Counter()
    for kill in plan(stack.names, kills, rng):
        if kill.calm is not None:
            await stack.until_ready(180)
            await asyncio.sleep(kill.calm)
        while True:
            await stack.until_up(kill.victim, serving=not kill.early)
            await asyncio.sleep(kill.pause)
            if stack.kill(kill.victim):
                break
        done[kill.victim] += 1
        others = [other for other in stack.away if other != kill.victim]
        console.print(
            f"kill {done.total()}/{kills}: {kill.victim}, {kill.pause:.2f} s after it "
            + ("was started" if kill.early else "was seen serving")
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
