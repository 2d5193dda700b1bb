"""The processes that read their own command line: broker, edge, store, host source, load.

`tidemill NAME ARGUMENTS` becomes `python -m MODULE ARGUMENTS` in the same process, with what the
deployment's settings say put before the arguments, where the last word wins.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from tidemill.commands.deployment import settings_of
from tidemill.settings import Settings

Arguments = Annotated[str, Parameter(allow_leading_hyphen=True)]
MODULES = {
    "broker": "broker",
    "edge": "topologies.edge",
    "store": "tidemill.embedded_store",
    "host": "topologies.host",
    "load": "topologies.load",
}


def broker(*arguments: Arguments) -> int:
    """The log broker alone."""
    return _become("broker", arguments)


def edge(*arguments: Arguments) -> int:
    """The edge alone."""
    return _become("edge", arguments)


def store(*arguments: Arguments) -> int:
    """The embedded store alone."""
    return _become("store", arguments)


def host(*arguments: Arguments) -> int:
    """The source that measures this machine, alone."""
    return _become("host", arguments)


def load(*arguments: Arguments) -> int:
    """CSV files as history."""
    return _become("load", arguments)


def defaults(name: str, settings: Settings) -> list[str]:
    """What a deployment's settings say to a process started alone."""
    edge_url = f"http://127.0.0.1:{settings.edge_port}"
    words: dict[str, list[object]] = {
        "broker": [
            "--data", settings.folder / "broker", "--port", settings.broker_port,
            "--metrics-port", settings.broker_metrics_port,
        ],
        "edge": [
            "--bootstrap", settings.bootstrap, "--port", settings.edge_port,
            "--partitions", settings.raw_partitions,
        ],
        "store": [
            "--data", settings.folder / "store",
            "--port", urlsplit(settings.store_url).port or 8123,
        ],
        "host": ["--endpoint", edge_url, "--interval", settings.host_interval or 2.0],
        "load": ["--bootstrap", settings.bootstrap],
    }  # fmt: skip
    return [str(word) for word in words[name]]


def _become(name: str, arguments: tuple[str, ...]) -> int:
    """The exit code after help; else this process is the other one from here on."""
    command = [sys.executable, "-m", MODULES[name]]
    wants_help = bool({"-h", "--help"} & set(arguments))
    if not wants_help:
        sys.stdout.flush()
        os.execv(command[0], [*command, *defaults(name, settings_of(None)), *arguments])
    return subprocess.run([*command, "--help"], check=False).returncode
