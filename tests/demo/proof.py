"""The proof on real processes: history and live metrics in, everything compared with the oracle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # the store is killed here


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is put in, and for how long to wait for what comes out.

    csv: folder of CSV files, loaded as history; seed, seconds: of the replay; requests: how many of
    the recording's requests each host sends; past: the events have happened before they are sent;
    patience: seconds a step may take after all is sent.
    """

    csv: Path = NAB
    definitions: Path = DEFINITIONS
    seed: int = 1
    seconds: float = 30
    requests: int = 300
    past: bool = False
    patience: float = 150


async def prove(
    stack: Stack, inputs: Inputs, console: Console, trouble: Coroutine[Any, Any, None] | None = None
) -> int:
    """Put everything in, wait until it is sealed, compare. 0: all equal; as of compare.py.

    trouble: what happens to the stack meanwhile; its end is waited for before comparing.
    """
    out = stack.settings.folder / "proof"
    async with progress(stack, console):
        if not await _put_in(stack, inputs, out, console, trouble):
            return 1
        grace = max(d.grace for d in load_definitions(inputs.definitions))
        through = json.loads((out / "replay.json").read_text())["sealed_through"] + grace
        console.print("everything is sent; waiting until every window of it is sealed")
        await asyncio.to_thread(
            wait_until_sealed, stack.settings.bootstrap, through, inputs.patience
        )
    console.print("comparing with the oracle")
    host, _, port = stack.settings.store_url.removeprefix("http://").rpartition(":")
    where = Where(
        stack.settings.bootstrap, (host, int(port)), inputs.definitions, timeout=inputs.patience
    )
    acknowledged = out / "acknowledged.otlp.zst"
    return await asyncio.to_thread(report, where, acknowledged, inputs.csv, console)


async def _put_in(
    stack: Stack,
    inputs: Inputs,
    out: Path,
    console: Console,
    trouble: Coroutine[Any, Any, None] | None,
) -> bool:
    """Send everything; whether everything was answered."""
    console.print(
        f"loading {len(list(inputs.csv.glob('*.csv')))} CloudWatch files as history, and "
        f"replaying ten minutes of three hosts in {inputs.seconds:.0f} s or a little more, "
        f"seed {inputs.seed}"
    )
    stop = threading.Event()
    try:
        async with asyncio.TaskGroup() as work:
            work.create_task(_loaded(stack, inputs.csv))
            if trouble is not None:
                work.create_task(trouble)
            sending = work.create_task(asyncio.to_thread(_replay, stack, inputs, out, stop))
    finally:
        stop.set()
    sent = sending.result()
    console.print(
        f"{sent['deliveries']} requests, {sent['sent_again']} sent again: {sent['by_story']}",
        highlight=False,
    )
    if sent["unanswered"]:
        console.print(f"[red]{sent['unanswered']} requests were never answered[/red]")
    return not sent["unanswered"]


def _replay(stack: Stack, inputs: Inputs, out: Path, stop: threading.Event) -> dict[str, object]:
    return replay(
        f"127.0.0.1:{stack.settings.edge_port}",
        out,
        seed=inputs.seed,
        seconds=inputs.seconds,
        first=inputs.requests,
        past=inputs.past,
        stop=stop,
    )


async def _loaded(stack: Stack, folder: Path) -> None:
    """Load the history; a loader that is killed, or gives up, is started again."""
    while True:
        stack.loader = await start_load(stack, folder, "nab")
        try:
            if await stack.loader.wait() == 0:
                return
        finally:
            if stack.loader.returncode is None:
                stack.loader.kill()
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
