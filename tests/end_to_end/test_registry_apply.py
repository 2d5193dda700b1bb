"""Definitions change on a running stack: no restart, no window lost, both versions exact.

A worker is killed between the announcement and its time; then everything is rolled back. The same
with more changes and kills is run by `make real`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real.definitions import prove


def test_applied_under_load_and_rolled_back_every_window_is_its_versions_and_exact(tmp_path: Path):
    told = Console(record=True, width=160)
    code = asyncio.run(prove(tmp_path, short=True, seed=1, console=told))
    assert code == 0, told.export_text()
