"""`python -m broker`: a broker process.

Exit codes: 0 stopped by a signal, 1 failed, 2 usage, 3 port in use, 4 data folder unusable.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import signal
import sys
from pathlib import Path

import uvloop

from broker.config import BrokerConfig
from broker.log.settings import LogSettings
from broker.runtime.data_folder import DataFolderError
from broker.runtime.server import PortInUseError, run

FAILED, PORT_IN_USE, BAD_DATA = 1, 3, 4


def parse(arguments: list[str] | None = None) -> BrokerConfig:
    """The configuration from the command line; exits with 2 on a usage error."""
    parser = argparse.ArgumentParser(
        prog="tidemill broker",
        description="A log broker that speaks Kafka's protocol.",
        epilog="Example: tidemill broker --data .tidemill/broker --port 9092",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder for everything that must survive")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=9092, help="Kafka protocol; 0 takes a free one")
    add("--metrics-port", type=int, default=9644, help="/metrics, /health; -1 for none")
    add("--advertised-host", help="name that clients are told to reach (default: --host)")
    add("--advertised-port", type=int, help="port that clients are told to reach")
    add("--node-id", type=int, default=1)
    add(
        "--fsync",
        choices=("group", "interval", "none"),
        default="group",
        help="group: acknowledge after fdatasync, shared by all waiting requests; interval: sync "
        "every --fsync-interval; none: leave it to the system",
    )
    add("--fsync-interval", type=int, default=10, metavar="MS")
    add("--auto-create-topics", action="store_true")
    add("--default-partitions", type=int, default=1)
    defaults = LogSettings()
    add("--retention-ms", type=int, default=defaults.retention_ms, help="-1 keeps for ever")
    add("--retention-bytes", type=int, default=-1, help="a partition; -1 is no limit")
    add("--segment-bytes", type=int, default=defaults.segment_bytes)
    add(
        "--cleaner-interval",
        type=int,
        default=15_000,
        metavar="MS",
        help="how often to look for a compacted topic that is dirty enough",
    )
    add(
        "--cleaner-share",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="of one core's time that compaction may take (0.25)",
    )
    add("--max-message-bytes", type=int, default=defaults.max_message_bytes)
    given = parser.parse_args(arguments)
    for name in ("port", "advertised_port"):
        value = getattr(given, name)
        if value is not None and not 0 <= value <= 65535:
            parser.error(f"--{name.replace('_', '-')} {value}: a port is between 0 and 65535")
    if not 0 < given.cleaner_share <= 1:
        parser.error(f"--cleaner-share {given.cleaner_share}: more than 0, at most 1")
    if given.cleaner_interval < 1:
        parser.error(f"--cleaner-interval {given.cleaner_interval}: at least 1 ms")
    return BrokerConfig(
        data=given.data,
        host=given.host,
        port=given.port,
        metrics_port=None if given.metrics_port < 0 else given.metrics_port,
        advertised_host=given.advertised_host,
        advertised_port=given.advertised_port,
        node_id=given.node_id,
        fsync=given.fsync,
        fsync_interval_ms=given.fsync_interval,
        auto_create_topics=given.auto_create_topics,
        default_partitions=given.default_partitions,
        cleaner_interval_ms=given.cleaner_interval,
        cleaner_share=given.cleaner_share,
        log=LogSettings(
            segment_bytes=given.segment_bytes,
            retention_ms=given.retention_ms,
            retention_bytes=given.retention_bytes,
            max_message_bytes=given.max_message_bytes,
        ),
    )


def _allow_many_files() -> None:
    """Every segment is an open file: raise the soft limit to the hard one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(config: BrokerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ready(port: int, metrics_port: int | None) -> None:
        more = "" if metrics_port is None else f" metrics on {config.host}:{metrics_port}"
        print(f"broker ready on {config.host}:{port}{more} data in {config.data}", flush=True)

    await run(config, stop=stop, on_ready=ready)


def main(arguments: list[str] | None = None) -> int:
    """Run a broker until SIGTERM or SIGINT; the exit code."""
    config = parse(arguments)
    _allow_many_files()
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        uvloop.run(_serve(config))
    except PortInUseError as problem:
        print(f"broker: {problem}", file=sys.stderr)
        return PORT_IN_USE
    except DataFolderError as problem:
        print(f"broker: {problem}", file=sys.stderr)
        return BAD_DATA
    except OSError as problem:
        print(f"broker: {problem}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
