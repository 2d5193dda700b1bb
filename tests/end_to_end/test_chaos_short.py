"""The proof of `make demo` and `make chaos`, in short: fewer inputs, few kills.

TIDEMILL_KILLS and TIDEMILL_SEED make it longer or another.
"""

import asyncio
import os
import random
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import pytest
from chaos.kills import kill_in_turn, kill_the_loader, plan
from demo.proof import NAB, Inputs, prove
from demo.stack import running, settings
from rich.console import Console

KILLS = int(os.environ.get("TIDEMILL_KILLS", "5"))
SEED = int(os.environ.get("TIDEMILL_SEED", "1"))
FILES = ("ec2_cpu_utilization_24ae8d", "iio_us-east-1_i-a2eb1cd9_NetworkIn")


async def trouble(stack, console: Console) -> None:
    """Every process is killed once in a while, the loader too."""
    await asyncio.gather(
        kill_in_turn(stack, KILLS, random.Random(f"{SEED}/kills"), console),
        kill_the_loader(stack, random.Random(f"{SEED}/load"), console),
    )


async def proof(folder: Path, inputs: Inputs, console: Console) -> tuple[int, int, list[int]]:
    chosen = settings(folder / "data", workers=2, idle_after_ms=8_000)
    async with running(chosen, console.print) as stack:
        code = await prove(stack, inputs, console, trouble(stack, console))
        return code, stack.restarts, [stack.pid(name) for name in stack.names]


@pytest.mark.timeout(900)  # on a busy machine a restart takes many seconds
def test_whatever_is_killed_every_rollup_is_what_the_oracle_says(tmp_path: Path):
    csv = tmp_path / "csv"
    csv.mkdir()
    for name in FILES:
        shutil.copy(NAB / f"{name}.csv", csv)
    with (tmp_path / "said").open("w") as said:
        console = Console(file=said, width=120)
        inputs = Inputs(csv=csv, seed=SEED, seconds=15, requests=60, past=True, patience=120)
        code, restarts, left = asyncio.run(proof(tmp_path, inputs, console))
    told = (tmp_path / "said").read_text()
    assert code == 0, told
    assert restarts >= KILLS, told
    assert not [pid for pid in left if psutil.pid_exists(pid)]


def test_a_seed_says_who_is_killed_when_and_everybody_has_a_turn():
    names = ["broker", "store", "edge", "worker-0", "worker-1"]
    first = list(plan(names, 12, random.Random("7/kills")))
    assert first == list(plan(names, 12, random.Random("7/kills")))
    assert first != list(plan(names, 12, random.Random("8/kills")))
    assert {kill.victim for kill in first[:5]} == {kill.victim for kill in first[5:10]} == {*names}
    assert len(first) == 12
