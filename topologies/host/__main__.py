"""`python -m topologies.host`: measure this machine and deliver by OTLP, as a process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from topologies.host.app import HostConfig, HostConfigError, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM. Exit codes: 0 fine, 2 wrong settings."""
    defaults = HostConfig()
    parser = argparse.ArgumentParser(
        prog="tidemill host",
        description="Measure this machine and deliver by OTLP.",
        epilog="Example: tidemill host --endpoint http://127.0.0.1:4318 --interval 2",
    )
    parser.add_argument("--endpoint", default=defaults.endpoint)
    parser.add_argument("--interval", type=float, default=defaults.interval, help="seconds")
    parser.add_argument(
        "--token-variable",
        metavar="NAME",
        help="environment variable that holds the token; none on loopback",
    )
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    token = os.environ.get(options.token_variable) if options.token_variable else None
    try:
        config = HostConfig(options.endpoint, options.interval, token)
    except HostConfigError as error:
        print(f"host: {error}", file=sys.stderr)
        return 2
    asyncio.run(_run(config))
    return 0


async def _run(config: HostConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(config, stop=stop)


if __name__ == "__main__":
    raise SystemExit(main())
