"""Checks of this machine: Python, packages, disk, clock, kernels."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from streams.kernels.compile import cache_directory
from tidemill.diagnosis.finding import Finding, fail, ok, warn
from tidemill.settings import Settings
from tidemill.up import DATA_VERSION, LEAST_FREE_BYTES

OURS = ("broker", "metric_registry", "streams", "tidemill", "topologies")
LEAST_PYTHON = (3, 11)
_COMFORTABLE_FREE = 5 << 30
_SLOW_FSYNC_MS = 20.0
_FSYNCS = 15
_CLOCK_SECONDS = 0.3
_DRIFT_MS = 5.0


def python(_: Settings) -> Iterator[Finding]:
    """The interpreter."""
    found = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info >= LEAST_PYTHON:
        yield ok("python", found)
    else:
        least = ".".join(map(str, LEAST_PYTHON))
        yield fail("python", found, f"use {least} or newer: make clean, make PYTHON=python{least}")


def packages(_: Settings) -> Iterator[Finding]:
    """Whether everything that is required is installed, and nobody else has a name of ours."""
    wanted = metadata.requires("tidemill") or []
    missing = [name for name in map(_required, wanted) if name and not _installed(name)]
    if missing:
        yield fail("packages", f"missing: {', '.join(missing)}", "install them: make install")
    elif importlib.util.find_spec("chdb") is None:
        yield warn(
            "packages",
            "all there but the embedded store",
            "for `tidemill up`: make install; else set a ClickHouse server in the settings",
        )
    else:
        yield ok("packages", f"{sum(1 for word in wanted if _required(word))} required, all there")
    clashes = sorted(_clashes())
    if clashes:
        yield fail(
            "names",
            "; ".join(clashes),
            "tidemill needs an environment of its own: make clean install",
        )
    else:
        yield ok("names", f"{', '.join(OURS)} are tidemill's")


def data_folder(settings: Settings) -> Iterator[Finding]:
    """The data directory: its version, its room, what it costs to write there durably."""
    folder = settings.folder.resolve()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    version = folder / "VERSION"
    if version.exists() and version.read_text().strip() != DATA_VERSION:
        yield fail(
            "data",
            f"{folder} has data version {version.read_text().strip()}, this program reads "
            f"{DATA_VERSION}",
            "use the release that wrote it, or another folder: tidemill up --data OTHER",
        )
    elif not os.access(there, os.W_OK):
        yield fail(
            "data", f"{there} cannot be written", "choose a folder: tidemill up --data OTHER"
        )
    else:
        yield ok("data", f"{folder}" + ("" if folder == there else " (made at the first start)"))
    yield _room(there)
    if os.access(there, os.W_OK):
        yield _fsync(there)


def clock(settings: Settings) -> Iterator[Finding]:
    """Wall clock against the monotonic one, and against what was written before."""
    wall, steady = time.time_ns(), time.monotonic_ns()
    time.sleep(_CLOCK_SECONDS)
    drift = abs((time.time_ns() - wall) - (time.monotonic_ns() - steady)) / 1e6
    newest = settings.file.stat().st_mtime if settings.file.exists() else 0.0
    if newest > time.time() + 1:
        yield fail(
            "clock",
            f"{settings.file} was written {newest - time.time():.0f} s in the future: the clock "
            "was set back",
            "points ahead of the clock by two minutes are rejected: synchronise it (NTP)",
        )
    elif drift > _DRIFT_MS:
        yield warn(
            "clock",
            f"the wall clock moved {drift:.1f} ms against the monotonic one in "
            f"{_CLOCK_SECONDS:g} s",
            "let NTP slew the clock instead of stepping it",
        )
    else:
        yield ok("clock", f"steady (drift {drift:.2f} ms in {_CLOCK_SECONDS:g} s)")


def kernels(_: Settings) -> Iterator[Finding]:
    """Whether compiled kernels are there."""
    folder = cache_directory()
    count = len(list(folder.glob("*.kernel"))) if folder.exists() else 0
    if count:
        yield ok("kernels", f"{count} compiled in {folder}")
    else:
        yield warn("kernels", f"none compiled in {folder}", "compile them once: tidemill warm")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    python,
    packages,
    data_folder,
    clock,
    kernels,
)


def _room(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / (1 << 30):.1f} GiB free where {folder} is"
    if free < LEAST_FREE_BYTES:
        return fail("disk", text, "free some, or use another disk: tidemill up --data OTHER")
    if free < _COMFORTABLE_FREE:
        return warn("disk", text, "the log keeps days of raw data: watch it, or use another disk")
    return ok("disk", text)


def _fsync(folder: Path) -> Finding:
    took: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_FSYNCS):
            began = time.perf_counter()
            file.write(bytes(16384))
            file.flush()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    middle = statistics.median(took)
    text = f"16 KiB durable in {middle:.1f} ms (median; slowest {max(took):.1f} ms)"
    if middle > _SLOW_FSYNC_MS:
        return warn(
            "fsync",
            text,
            "every acknowledgement waits for it: use a faster disk, or tidemill broker --fsync "
            "interval and accept to lose that much in a power cut",
        )
    return ok("fsync", text)


def _required(requirement: str) -> str:
    """The distribution's name; empty for one that an extra or a marker asks for."""
    if ";" in requirement:
        return ""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found.group() if found else ""


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _clashes() -> Iterator[str]:
    """Packages of ours that another distribution or folder brings too."""
    home = Path(__file__).parents[2]
    for name in OURS:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin) if spec and spec.origin else None
        if origin is None or origin.parents[1] != home:
            yield f"`{name}` is imported from {origin}"
    for folder in map(Path, sys.path):
        if folder.name == "site-packages" and folder != home:
            yield from (
                f"{folder / name} is another package of that name"
                for name in OURS
                if (folder / name / "__init__.py").exists()
            )
