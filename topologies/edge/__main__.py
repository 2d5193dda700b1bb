"""`python -m topologies.edge`: an edge as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from topologies.edge.access import Tokens
from topologies.edge.app import EdgeService
from topologies.edge.config import EdgeConfig, EdgeConfigError, parse_tokens

_DEADLINE_S = 4.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM. Exit codes: 0 fine, 2 wrong settings."""
    parser = argparse.ArgumentParser(
        prog="tidemill edge",
        description="Take OTLP over HTTP, check it, and append it to the log.",
        epilog="Example: tidemill edge --bootstrap 127.0.0.1:9092 --port 4318",
    )
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="the log, host:port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4318, help="0 takes a free port")
    parser.add_argument("--tokens", type=Path, help="file with lines `TOKEN TENANT`")
    parser.add_argument(
        "--tenant", default="default", help="of clients without a token, on loopback"
    )
    parser.add_argument("--no-anonymous", action="store_true", help="ask everybody for a token")
    parser.add_argument("--partitions", type=int, default=4, help="of telemetry.raw, if created")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # 100 lines a second without a broker
    try:
        config = EdgeConfig(
            bootstrap=options.bootstrap,
            host=options.host,
            port=options.port,
            tokens=_tokens(options.tokens),
            anonymous_tenant=None if options.no_anonymous else options.tenant,
            partitions=options.partitions,
        )
        asyncio.run(_run(config))
    except EdgeConfigError as error:
        print(f"edge: {error}", file=sys.stderr)
        return 2
    return 0


def _tokens(file: Path | None) -> Tokens:
    if file is None:
        return Tokens()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeConfigError(f"the tokens can't be read: {error}") from error
    return parse_tokens(text, str(file))


async def _run(config: EdgeConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        # A client of a log that is away may never let go. Nothing that it holds was acknowledged.
        hard = threading.Timer(_DEADLINE_S, os._exit, (0,))
        hard.daemon = True
        hard.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    await EdgeService(config).run(stop)


if __name__ == "__main__":
    raise SystemExit(main())
