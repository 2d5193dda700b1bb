"""Reads this machine's sensors through psutil (S). What a machine lacks stays empty."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil as _psutil

from topologies.host.reading import Filesystem, Numbers, Reading

# psutil is annotated in part only: this file is the one place that touches it.
psutil = cast(Any, _psutil)

logger = logging.getLogger("tidemill.host")

# Pseudo disks of Linux that are memory or files of a real disk.
_VIRTUAL_DISKS = ("loop", "ram", "zram")
_LINUX_BLOCK = Path("/sys/block")
T = TypeVar("T")


class Sensors:
    """Reads all sensors; one that fails is named once in the log and left out from then on."""

    def __init__(self) -> None:
        self._missing: set[str] = set()

    def read(self) -> Reading:
        return Reading(
            cpu=self._ask("cpu", _cpu, {}),
            disk=self._ask("disk", _disk, {}),
            network=self._ask("network", _network, {}),
            memory=self._ask("memory", _memory, {}),
            paging=self._ask("paging", _paging, {}),
            load=self._ask("load", _load, {}),
            filesystems=self._ask("filesystems", _filesystems, ()),
            processes=self._ask("processes", _processes, None),
        )

    def _ask(self, name: str, sensor: Callable[[], T], otherwise: T) -> T:
        if name in self._missing:
            return otherwise
        try:
            return sensor()
        except Exception as error:
            self._missing.add(name)
            logger.warning("this machine has no %s sensor (%s); the rest is measured", name, error)
            return otherwise


def _numbers(fields: Any) -> dict[str, float]:
    return dict(cast("dict[str, float]", fields._asdict()))


def _cpu() -> Mapping[str, Numbers]:
    return {str(i): _numbers(times) for i, times in enumerate(psutil.cpu_times(percpu=True))}


def _disk() -> Mapping[str, Numbers]:
    # None where there is no /proc/diskstats, as in some containers.
    disks = cast("dict[str, Any]", psutil.disk_io_counters(perdisk=True) or {})
    return {name: _numbers(counters) for name, counters in disks.items() if _whole_disk(name)}


def _whole_disk(name: str) -> bool:
    """True for a disk, False for a partition of one and for memory that poses as one."""
    if not sys.platform.startswith("linux") or not _LINUX_BLOCK.is_dir():
        return True
    if name.startswith(_VIRTUAL_DISKS):
        return False
    return (_LINUX_BLOCK / name.replace("/", "!")).exists()


def _network() -> Mapping[str, Numbers]:
    interfaces = cast("dict[str, Any]", psutil.net_io_counters(pernic=True) or {})
    return {name: _numbers(counters) for name, counters in interfaces.items()}


def _memory() -> Numbers:
    """States that add up to the whole: what is used excludes buffers and page cache."""
    memory = psutil.virtual_memory()
    cached = int(getattr(memory, "cached", 0))
    buffers = int(getattr(memory, "buffers", 0))
    free = int(memory.free)
    states = {"used": max(int(memory.total) - free - cached - buffers, 0), "free": free}
    if cached:
        states["cached"] = cached
    if buffers:
        states["buffers"] = buffers
    return states


def _paging() -> Numbers:
    swap = psutil.swap_memory()
    return {"used": int(swap.used), "free": int(swap.free)} if swap.total else {}


def _load() -> Numbers:
    one, five, fifteen = os.getloadavg()
    return {"1m": one, "5m": five, "15m": fifteen}


def _filesystems() -> tuple[Filesystem, ...]:
    found: dict[str, Filesystem] = {}
    for mount in psutil.disk_partitions(all=False):
        if mount.device in found:
            continue  # a bind mount shows the same file system again
        try:
            usage = psutil.disk_usage(mount.mountpoint)
        except OSError:
            continue  # not ours to look into
        found[mount.device] = Filesystem(
            mount.device, mount.mountpoint, mount.fstype, int(usage.used), int(usage.free)
        )
    return tuple(found.values())


def _processes() -> int:
    return len(psutil.pids())
