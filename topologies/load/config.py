"""What a load needs to know; how it says what to change (C)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
DAY_NS = 86_400 * 1_000_000_000
TimeFormat = Literal["iso", "unix-s", "unix-ms", "unix-us", "unix-ns"]


class LoadError(Exception):
    """The load can't be done like this; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a CSV file hold what.

    `time` and `value` are column names; `attributes` become attributes of the points, `resource`
    attributes of the resource, both under the column's name. An empty field is an absent attribute.
    Times without a zone are UTC.
    """

    time: str = "timestamp"
    value: str = "value"
    attributes: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    time_format: TimeFormat = "iso"


@dataclass(frozen=True, slots=True)
class Naming:
    """What the points are called. Without a `metric` the files' names say it (see `naming`)."""

    metric: str | None = None
    unit: str = ""
    resource: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """One load. `name` names its topic; files are CSV. `partitions` is used if neither the load's
    topic nor the raw topic exists. `marker_days`: how many days of event time are told complete at
    once. `patience`: seconds to wait for a log that went away.
    """

    name: str
    files: tuple[Path, ...]
    bootstrap: str = "127.0.0.1:9092"
    tenant: str = "default"
    columns: Columns = field(default_factory=Columns)
    naming: Naming = field(default_factory=Naming)
    raw_topic: str = "telemetry.raw"
    topic_prefix: str = "telemetry.history."
    dead_letter_topic: str = "telemetry.dead-letter"
    partitions: int = 4
    replication: int = 1
    points_per_record: int = 500
    marker_days: int = 7
    retention_days: int = 3650
    append_timeout: float = 10.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LoadError(
                f"{self.name!r} can't name a load: use small letters, digits, '.', '_' and '-'"
            )
        if not self.files:
            raise LoadError("no file to load: name CSV files, or a folder that holds some")

    @property
    def topic(self) -> str:
        """The topic that holds this load."""
        return self.topic_prefix + self.name


def csv_files(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files named, and those `*.csv` within the folders named, in order of their names.

    Raises LoadError where there is none, or two have one name (the name identifies a file).
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.csv"))
            if not inside:
                raise LoadError(f"the folder {path} holds no *.csv file")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise LoadError(f"there is no file or folder {path}")
    names = [path.name for path in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LoadError(f"two files are called {twice[0]}: load them apart, under two names")
    return tuple(sorted(found, key=lambda path: path.name))
