"""A plugin of pytest: writes down which kernels were called, and which these call."""

from __future__ import annotations

import os
from pathlib import Path

from streams.kernels.compile import Kernel, bounds_checked, registered


def called_by(kernel: Kernel) -> list[Kernel]:
    """The kernels that its code names."""
    names, known = kernel.py_func.__code__.co_names, kernel.py_func.__globals__
    return [known[name] for name in names if isinstance(known.get(name), Kernel)]


def pytest_sessionfinish() -> None:
    if not bounds_checked():
        raise RuntimeError("kernels are not compiled with their indexes checked")
    waiting = [kernel for kernel in registered() if kernel.compiled]
    used: set[str] = set()
    while waiting:
        kernel = waiting.pop()
        if kernel.name not in used:
            used.add(kernel.name)
            waiting += called_by(kernel)
    Path(os.environ["TIDEMILL_KERNELS_USED"], str(os.getpid())).write_text("\n".join(used))
