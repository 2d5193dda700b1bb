"""The threads of a worker beside its event loop."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple


class Threads(NamedTuple):
    """Where work is done that would hold up heartbeats.

    Attributes:
        compute: Processors and their stores.
        restore: The same, while state is loaded: most of it is unpacked without the interpreter.
        codec: Unpacks what was fetched, and compresses what is to be written.
        standby: Copies of tasks that run elsewhere.
    """

    compute: Executor
    restore: Executor
    codec: Executor
    standby: Executor


@contextmanager
def threads(compute: int) -> Generator[Threads]:
    """Threads that are let go of at the end, whatever they still do; none before it is needed."""
    made = (
        ThreadPoolExecutor(compute, "tidemill-compute"),
        ThreadPoolExecutor(2, "tidemill-restore"),
        ThreadPoolExecutor(2, "tidemill-codec"),
        ThreadPoolExecutor(1, "tidemill-standby"),
    )
    try:
        yield Threads(*made)
    finally:
        for each in made:
            each.shutdown(wait=False, cancel_futures=True)
