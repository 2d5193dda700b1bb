"""How cleaned segments take the place of others, so that a crash at any point loses nothing.

A group of neighbouring segments becomes one:

1. `<base>-<end>.cleaned` is written and synced. A crash: it is removed, nothing happened.
2. It is renamed to `<base>-<end>.swap`. From here on the change is made, now or at the next start:
3. the indexes of all segments in [base, end) go, then the segments but the first,
4. the swap file becomes `<base>.log`, in place of the first one, and gets its index.
"""

from __future__ import annotations

from broker.log.disk import Disk
from broker.log.segment import index_name, log_name

LOG_SUFFIX = ".log"
CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"


def cleaned_name(base: int, end: int) -> str:
    return f"{base:020d}-{end:020d}{CLEANED_SUFFIX}"


def swap_name(base: int, end: int) -> str:
    return f"{base:020d}-{end:020d}{SWAP_SUFFIX}"


def log_bases(disk: Disk, folder: str) -> list[int]:
    """Base offsets of the segments in a folder, ascending."""
    names = disk.names(folder)
    return sorted(int(name[: -len(LOG_SUFFIX)]) for name in names if name.endswith(LOG_SUFFIX))


def make_swap(disk: Disk, folder: str, base: int, end: int) -> None:
    """Steps 2 to 4 but for the index. OSError: to be finished by `finish_swaps`."""
    disk.rename(f"{folder}/{cleaned_name(base, end)}", f"{folder}/{swap_name(base, end)}")
    _take_place(disk, folder, base, end)


def finish_swaps(disk: Disk, folder: str) -> None:
    """At a start: what a crash left half done. OSError if the disk refuses."""
    for name in disk.names(folder):
        if name.endswith(CLEANED_SUFFIX):
            disk.remove(f"{folder}/{name}")
        elif name.endswith(SWAP_SUFFIX):
            base, end = name[: -len(SWAP_SUFFIX)].split("-")
            _take_place(disk, folder, int(base), int(end))


def _take_place(disk: Disk, folder: str, base: int, end: int) -> None:
    replaced = [other for other in log_bases(disk, folder) if base <= other < end]
    for other in replaced:
        disk.remove(f"{folder}/{index_name(other)}")
    for other in replaced:
        if other != base:
            disk.remove(f"{folder}/{log_name(other)}")
    disk.rename(f"{folder}/{swap_name(base, end)}", f"{folder}/{log_name(base)}")
