"""The processes that read their own command line: broker, edge, store, host source, load.

`tidemill NAME ARGUMENTS` becomes `python -m MODULE ARGUMENTS` in the same process, with what the
deployment's settings say put before the arguments, where the last word wins.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

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
        "store": ["--data", settings.folder / "store"],
        "host": ["--endpoint", edge_url, "--interval", settings.host_interval or 2.0],
        "load": ["--bootstrap", settings.bootstrap],
    }  # fmt: skip
    return [str(word) for word in words[name]]


def _become(name: str, arguments: tuple[str, ...]) -> int:
    from tidemill.main import COMMANDS

    command = [sys.executable, "-m", MODULES[name]]
    if {"-h", "--help"} & set(arguments):
        example = next(entry[4] for entry in COMMANDS if entry[0] == name)
        code = subprocess.run([*command, "--help"], check=False).returncode
        print(f"\nAs a command of tidemill, with the deployment's settings: {example}")
        return code
    file = Path(os.environ["TIDEMILL_SETTINGS"]) if "TIDEMILL_SETTINGS" in os.environ else None
    words = [*defaults(name, settings_of(file)), *arguments]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, *words])
