"""A plugin of pytest: writes down which kernels were compiled, which is at their first call."""

from __future__ import annotations

import os
from pathlib import Path

from streams.kernels.compile import bounds_checked, registered


def pytest_sessionfinish() -> None:
    if not bounds_checked():
        raise RuntimeError("kernels are not compiled with their indexes checked")
    used = [kernel.name for kernel in registered() if kernel.compiled]
    Path(os.environ["TIDEMILL_KERNELS_USED"], str(os.getpid())).write_text("\n".join(used))
