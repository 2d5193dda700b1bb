"""`tidemill version`."""

from __future__ import annotations

import platform
from importlib import metadata

from tidemill.commands.output import Output, emit

STANDS_ON = (
    "faust-streaming", "aiokafka", "rocksdict", "numba", "numpy", "opentelemetry-proto",
    "opentelemetry-sdk", "clickhouse-connect", "chdb-core",
)  # fmt: skip


def version(*, output: Output = "table") -> int:
    """The version of tidemill, of Python, and of the packages that do the work."""
    rows = [
        {"name": "tidemill", "version": metadata.version("tidemill")},
        {"name": "python", "version": platform.python_version()},
        *({"name": name, "version": _version_of(name)} for name in STANDS_ON),
    ]
    emit(rows, ("name", "version"), output)
    return 0


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
