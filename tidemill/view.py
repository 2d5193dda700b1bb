"""What `tidemill up` shows: the processes, the first rollup, and what flows."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import quote

import msgspec
from rich.console import Console

from tidemill import probe
from tidemill.launcher import Launcher
from tidemill.settings import Settings
from tidemill.supervisor import Phase

_LATEST = """
SELECT rollup, resolution, toString(window_end) AS ended, labels, toString(value) AS value,
    histogram, count
FROM tidemill.rollups WHERE window_end > fromUnixTimestamp64Milli({since}, 'UTC')
ORDER BY window_end DESC, rollup LIMIT 1 FORMAT JSONEachRow
"""
_COUNTS = """
SELECT count() AS rows, uniqExact(rollup) AS rollups, toString(max(window_end)) AS newest
FROM tidemill.rollups FORMAT JSONEachRow
"""


class View:
    """Follows a launcher and says what a person wants to know, on one line at a time."""

    def __init__(
        self, settings: Settings, launcher: Launcher, console: Console, started: float
    ) -> None:
        self._settings = settings
        self._launcher = launcher
        self._console = console
        self._started = started
        self._since_ms = time.time_ns() // 1_000_000

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped: the start, the first rollup, then a line of figures every ten seconds."""
        await self._until_ready(stop)
        await self._until_first_rollup(stop)
        while not stop.is_set():
            await self._figures()
            await asyncio.sleep(10)

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:5.1f} s"

    async def _until_ready(self, stop: asyncio.Event) -> None:
        ready: set[str] = set()
        while not stop.is_set():
            for name, process in self._launcher.supervisor.processes.items():
                if process.phase is Phase.READY and name not in ready:
                    ready.add(name)
                    self._say(f"{self._elapsed()}  {name} ready (process {process.pid})")
            if self._launcher.all_ready:
                break
            await asyncio.sleep(0.1)
        if not stop.is_set():
            self._say(
                f"{self._elapsed()}  everything runs; the first 10-second window seals when its "
                "end has passed"
            )

    async def _until_first_rollup(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            found = await self._ask(_LATEST.replace("{since}", str(self._since_ms)))
            if found:
                own = self._settings.host_interval > 0
                name = "host.cpu.utilization" if own else found[0]["rollup"]
                self._say(f"{self._elapsed()}  first sealed rollup: {told(found[0])}")
                self._say(f"         ask for more: .venv/bin/tidemill query {name}")
                return
            await asyncio.sleep(0.25)

    async def _figures(self) -> None:
        found = await self._ask(_COUNTS)
        points = late = lag = 0
        for number in range(self._settings.workers):
            url = f"http://127.0.0.1:{self._settings.worker_port + number}/stats/tasks"
            try:
                tasks = tasks_of(await probe.get_json(url))
            except probe.Unreachable:
                continue
            for task in tasks:
                stats = task["processor"]
                points += stats.get("points", 0)
                late += stats.get("late", 0)
                lag += task.get("lag") or 0
        rows = found[0] if found else {"rows": 0, "rollups": 0, "newest": "-"}
        down = [
            f"{process.name} {process.phase.value}"
            for process in self._launcher.supervisor.processes.values()
            if process.phase is not Phase.READY
        ]
        self._say(
            f"{self._elapsed()}  points {points:,} (late {late:,})  records waiting {lag:,}  "
            f"rollup rows {int(rows['rows']):,} of {rows['rollups']} definitions, newest "
            f"{rows['newest']}" + (f"  [{', '.join(down)}]" if down else "")
        )

    async def _ask(self, query: str) -> list[dict[str, Any]]:
        url = f"{self._settings.store_url}/?query={quote(query)}"
        try:
            body = await probe.get(url)
        except probe.Unreachable:
            return []
        return [msgspec.json.decode(line) for line in body.splitlines() if line]

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def told(row: dict[str, Any]) -> str:
    """A row of `tidemill.rollups` in one line."""
    labels = ", ".join(f"{k}={v}" for k, v in sorted(row["labels"].items()))
    value = f"{float(row['value']):.6g}"
    if row["histogram"]:
        value = f"a histogram of {int(row['count']):,}"
    return f"{row['rollup']} [{labels}] {row['resolution']}s to {row['ended']} = {value}"


def tasks_of(answer: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every task in a worker's answer to GET /stats/tasks (topology -> partition -> figures)."""
    return [task for tasks in answer.values() for task in tasks.values()]
