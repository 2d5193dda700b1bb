"""``python -m tidemill.embedded_store``: the store as a process."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import uvloop

from tidemill.embedded_store.config import StoreConfig
from tidemill.embedded_store.errors import StartError

_DEADLINE_S = 4.5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tidemill store",
        description="ClickHouse's engine behind its HTTP interface, over one folder.",
        epilog="Example: tidemill store --data .tidemill/store --port 8123",
    )
    parser.add_argument("--data", type=Path, required=True, help="the store's folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8123, help="TCP port; 0 picks a free one")
    parser.add_argument("--memory-mib", type=int, default=2048, help="memory cap of the engine")
    parser.add_argument("--reserve-mib", type=int, default=256, help="disk that is left free")
    parser.add_argument("--threads", type=int, default=8, help="queries that run at a time")
    parser.add_argument("--queue", type=int, default=256, help="queries that may wait")
    parser.add_argument("--max-body-mib", type=int, default=256, help="largest request body")
    parser.add_argument("--password-file", type=Path, help="file with the password asked for")
    return parser.parse_args()


def _config(given: argparse.Namespace) -> StoreConfig:
    password = given.password_file.read_text().strip() if given.password_file else ""
    return StoreConfig(
        data=given.data,
        host=given.host,
        port=given.port,
        password=password,
        memory_bytes=given.memory_mib << 20,
        reserve_bytes=given.reserve_mib << 20,
        threads=given.threads,
        queue=given.queue,
        max_body_bytes=given.max_body_mib << 20,
    )


async def _serve(config: StoreConfig) -> None:
    from tidemill.embedded_store.server import run

    stop = asyncio.Event()

    def end() -> None:
        stop.set()
        # A query that does not stop would hold its thread, and that the process; data is safe.
        hard = threading.Timer(_DEADLINE_S, os._exit, (0,))
        hard.daemon = True
        hard.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await run(
        config,
        stop=stop,
        ready=lambda host, port: print(f"store ready on {host}:{port}", flush=True),
    )


def main() -> int:
    """Run until SIGINT or SIGTERM. Returns the exit code."""
    try:
        config = _config(_arguments())
    except (ValueError, OSError) as error:
        print(f"tidemill store: {error}", file=sys.stderr)
        return 2
    try:
        uvloop.run(_serve(config))
    except StartError as error:
        print(f"tidemill store: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
