"""One look at the machine: what the sensors said, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Numbers = Mapping[str, float]


def _no_table() -> dict[str, Numbers]:
    return {}


def _no_numbers() -> dict[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A mounted file system; sizes in bytes."""

    device: str
    mountpoint: str
    type: str
    used: int
    free: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What the sensors said at one moment. A sensor that this machine lacks leaves its part empty.

    `cpu` maps a logical processor's number (as text) to mode -> seconds since boot. `disk` and
    `network` map a device to counter name -> total since boot (`read_bytes`, `write_count`,
    `bytes_sent`, `errin`, ... : psutil's names). `memory` and `paging` map a state to bytes.
    `load` maps `1m`, `5m`, `15m` to the load average. `processes` is None when it can't be counted.
    """

    cpu: Mapping[str, Numbers] = field(default_factory=_no_table)
    disk: Mapping[str, Numbers] = field(default_factory=_no_table)
    network: Mapping[str, Numbers] = field(default_factory=_no_table)
    memory: Numbers = field(default_factory=_no_numbers)
    paging: Numbers = field(default_factory=_no_numbers)
    load: Numbers = field(default_factory=_no_numbers)
    filesystems: tuple[Filesystem, ...] = ()
    processes: int | None = None
