"""`tidemill warm`."""

from __future__ import annotations

import sys
import time

from tidemill.kernels import compile_all


def warm(*, quiet: bool = False) -> int:
    """Compile the kernels into the cache, so that no process waits for them at its first record.

    A second run finds them there and takes a second. The installation does this.

    Parameters
    ----------
    quiet:
        Say nothing until the end.
    """
    began = time.monotonic()
    live = sys.stderr.isatty()
    told = began

    def progress(done: int, total: int, name: str) -> None:
        nonlocal told
        if quiet or not name:
            return
        if live:
            print(f"\r\033[Kkernel {done + 1} of {total}: {name}", end="", file=sys.stderr)
        elif time.monotonic() - told > 2:
            told = time.monotonic()
            print(f"compiling kernels: {done} of {total}", file=sys.stderr, flush=True)

    count = compile_all(progress)
    if live and not quiet:
        print("\r\033[K", end="", file=sys.stderr)
    print(f"{count} kernels ready in {time.monotonic() - began:.1f} s")
    return 0
