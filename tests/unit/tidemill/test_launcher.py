"""What the launcher of `tidemill up` leaves in the log of a process that crashes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tidemill.launcher import Command, Launcher

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


def test_the_log_of_a_process_that_crashes_says_where(tmp_path: Path):
    async def never() -> bool:
        return False

    async def run() -> None:
        crashed = asyncio.Event()

        def tell(line: str) -> None:
            if "signal 11" in line:
                crashed.set()

        command = Command("broken", (sys.executable, "-c", CRASH), (), never)
        async with asyncio.timeout(60):
            await Launcher([command], tmp_path, tell).run(crashed)

    asyncio.run(run())
    log = (tmp_path / "broken.log").read_text()
    assert "Fatal Python error: Segmentation fault" in log
    assert 'File "<string>", line 1 in <module>' in log
