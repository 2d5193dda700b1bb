"""What a process that works on columns asks of Python, of NumPy and of the C library.

Columns come and go, many megabytes at a time. By default each goes back to the system and comes
again as pages that the kernel has to clear: a fifth of a worker's time with a million groups
(bench_pipeline, profile B), half of which this saves; with few groups nothing.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

from numpy._core import multiarray

GARBAGE_EVERY = (100_000, 20, 20)
"""Objects made until Python looks for cycles, and how often that goes further back. A fetch makes
ten thousands of records and none is in a cycle: the default of 700 takes a quarter of the time."""
MIB = 1 << 20
_MALLOPT = {
    -8: 1,  # M_ARENA_MAX: a thread's own arena can't hold what is larger than 32 MiB
    -3: 32 * MIB,  # M_MMAP_THRESHOLD: its most
    -4: 0,  # M_MMAP_MAX: nor is what is larger given back, as far as there is room
    -1: 1024 * MIB,  # M_TRIM_THRESHOLD: so much that is free is kept
    -2: 128 * MIB,  # M_TOP_PAD: and so much is asked for at once; what is not touched takes nothing
}


def prepare() -> None:
    """Before threads are started. Does what the platform has: elsewhere it is slower, no more."""
    gc.freeze()  # what was imported stays
    gc.set_threshold(*GARBAGE_EVERY)
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):  # musl has none
            for parameter, value in _MALLOPT.items():
                library.mallopt(parameter, value)
    set_hugepages: Any = getattr(multiarray, "_set_madvise_hugepage", None)
    if set_hugepages is not None:  # what NUMPY_MADVISE_HUGEPAGE=0 does: they are cleared whole
        set_hugepages(False)
