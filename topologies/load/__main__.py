"""`python -m topologies.load`: CSV files as a historical domain."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from topologies.load.app import run_load
from topologies.load.config import Columns, LoadConfig, LoadError, Naming


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 loaded (or it was already), 1 failed."""
    parser = argparse.ArgumentParser(
        prog="tidemill load",
        description="CSV files as history: a time domain of its own, loaded whole or not at all.",
        epilog="Example: tidemill load tests/data/nab --name nab",
    )
    parser.add_argument("paths", nargs="+", type=Path, help="CSV files, or folders of them")
    parser.add_argument("--name", required=True, help="of the load, and so of its topic")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="the log")
    parser.add_argument("--tenant", default="default", help="whose points they are")
    parser.add_argument("--metric", help="the points' metric; else the files' names say it")
    parser.add_argument("--unit", default="", help="of the points (UCUM), such as Cel or By")
    parser.add_argument("--time", default="timestamp", help="column that holds the time (UTC)")
    parser.add_argument("--time-format", default="iso", choices=_TIME_FORMATS)
    parser.add_argument("--value", default="value", help="column that holds the value")
    parser.add_argument("--attribute", action="append", default=[], help="column; may be repeated")
    parser.add_argument("--resource", action="append", default=[], help="column, or NAME=TEXT")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    fixed = [tuple(word.split("=", 1)) for word in options.resource if "=" in word]
    try:
        config = LoadConfig(
            name=options.name,
            files=tuple(options.paths),
            bootstrap=options.bootstrap,
            tenant=options.tenant,
            columns=Columns(
                time=options.time,
                value=options.value,
                attributes=tuple(options.attribute),
                resource=tuple(word for word in options.resource if "=" not in word),
                time_format=options.time_format,
            ),
            naming=Naming(options.metric, options.unit, tuple((n, t) for n, t in fixed)),
        )
        summary = asyncio.run(run_load(config, lambda line: print(line, file=sys.stderr)))
    except LoadError as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    print(summary.text())
    return 0


_TIME_FORMATS = ("iso", "unix-s", "unix-ms", "unix-us", "unix-ns")

if __name__ == "__main__":
    raise SystemExit(main())
