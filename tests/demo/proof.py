"""The proof on real processes: history and live metrics in, everything compared with the oracle."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from demo.compare import Where, report, wait_until_sealed
from demo.replay import replay
from demo.stack import Stack, start_load
from oracle.definitions import load as load_definitions
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
NAB = ROOT / "tests" / "data" / "nab"
DEFINITIONS = ROOT / "metric_registry" / "definitions"
EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is put in, and for how long to wait for what comes out.

    csv: folder of CSV files, loaded as history; seed, seconds: of the replay; hosts: how many
    hosts it tells of; requests: how many of the recording's requests each sends; patience: seconds
    a step may take after all is sent.
    """

    csv: Path = NAB
    definitions: Path = DEFINITIONS
    seed: int = 1
    seconds: float = 60
    requests: int = 300
    patience: float = 150


async def prove(stack: Stack, inputs: Inputs, console: Console) -> int:
    """Put everything in, wait until it is sealed, compare. 0: all equal; as of compare.py."""
    out = stack.settings.folder / "proof"
    host, _, port = stack.settings.store_url.removeprefix("http://").rpartition(":")
    async with progress(stack, console):
        console.print(
            f"loading {len(list(inputs.csv.glob('*.csv')))} CloudWatch files as history, and "
            f"replaying ten minutes of three hosts in {inputs.seconds:.0f} s, seed {inputs.seed}"
        )
        loading = asyncio.create_task(_loaded(stack, inputs.csv))
        edge = f"127.0.0.1:{stack.settings.edge_port}"
        sent = await asyncio.to_thread(
            replay, edge, out, seed=inputs.seed, seconds=inputs.seconds, first=inputs.requests
        )
        console.print(
            f"{sent['deliveries']} requests, {sent['sent_again']} sent again: {sent['by_story']}",
            highlight=False,
        )
        if sent["unanswered"]:
            console.print(f"[red]{sent['unanswered']} requests were never answered[/red]")
            return 1
        await loading
        grace = max(d.grace for d in load_definitions(inputs.definitions))
        through = int(str(sent["sealed_through"])) + grace
        console.print("everything is sent; waiting until every window of it is sealed")
        await asyncio.to_thread(
            wait_until_sealed, stack.settings.bootstrap, through, inputs.patience
        )
    console.print("comparing with the oracle")
    where = Where(
        stack.settings.bootstrap, (host, int(port)), inputs.definitions, timeout=inputs.patience
    )
    acknowledged = out / "acknowledged.otlp.zst"
    return await asyncio.to_thread(report, where, acknowledged, inputs.csv, console)


async def _loaded(stack: Stack, folder: Path) -> None:
    """Load the history; a loader that is killed, or gives up, is started again."""
    while True:
        loader = await start_load(stack, folder, "nab")
        if await loader.wait() == 0:
            return
        await asyncio.sleep(1.0)


@contextlib.asynccontextmanager
async def progress(stack: Stack, console: Console) -> AsyncIterator[None]:
    """A line of figures every few seconds, as long as the block lasts."""
    telling = asyncio.create_task(_tell(stack, console))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(stack: Stack, console: Console) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(EVERY_S)
        rows = await asyncio.to_thread(_rows, stack.settings.store_url)
        down = ", ".join(stack.away)
        console.print(
            f"  {time.monotonic() - started:4.0f} s  rows in the store: {rows}"
            + (f"  [away: {down}]" if down else ""),
            highlight=False,
            markup=False,
        )


def _rows(url: str) -> str:
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        with clickhouse_connect.get_client(
            host=host, port=int(port), connect_timeout=2, send_receive_timeout=5
        ) as client:
            found = client.query("SELECT count() FROM tidemill.rollups_v1").result_rows
            return f"{int(found[0][0]):,}"
    except (ClickHouseError, OSError):
        return "-"
