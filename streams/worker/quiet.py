"""Keeps aiokafka (0.14) from flooding the log, and from calling errors what was dealt with.

Without a broker it logs 100 lines a second; and when a producer is fenced, it leaves futures of its
own with the error that nobody can look at, which asyncio reports, each with a traceback.
"""

# aiokafka ships no types.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import Any

from aiokafka.errors import ProducerFenced

WINDOW_SECONDS = 10.0
MAX_KINDS = 1_000


def pass_over_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler. Who was fenced hears of it from the call that found out."""
    nobodys = "never retrieved" in str(context.get("message"))
    if not (nobodys and isinstance(context.get("exception"), ProducerFenced)):
        loop.default_exception_handler(context)


class LogLimiter(logging.Filter):
    """Lets one record a message template pass every ten seconds, and says how many it held back.

    A context manager: the filter is on the loggers under `name` that exist when it is entered.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}
        self._on: list[logging.Logger] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO:
            return True
        kind = (record.name, str(record.msg))
        now = time.monotonic()
        passed, held = self._seen.get(kind, (0.0, 0))
        if kind in self._seen and now - passed < WINDOW_SECONDS:
            self._seen[kind] = (passed, held + 1)
            return False
        if len(self._seen) >= MAX_KINDS:
            self._seen.clear()
        self._seen[kind] = (now, 0)
        if held:
            record.msg = f"{record.msg} ({held} more like this held back)"
        return True

    def __enter__(self) -> LogLimiter:
        names = [self._name, *logging.root.manager.loggerDict]
        for name in names:
            if name == self._name or name.startswith(f"{self._name}."):
                logger = logging.getLogger(name)
                logger.addFilter(self)
                self._on.append(logger)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for logger in self._on:
            logger.removeFilter(self)
        self._on.clear()
