"""How long a task puts up with failures: retries have a time limit, restores a count."""

from __future__ import annotations

from streams.config import TaskSettings
from streams.errors import Fatal, StreamsError

MAX_RESTORES = 12
"""Restores in a row, without one transaction in between, after which the worker stops."""


class Patience:
    """Both methods return when to try again (ms) and raise `Fatal` when it is enough."""

    def __init__(self, name: str, settings: TaskSettings) -> None:
        self._name = name
        self._settings = settings
        self._retrying_since: int | None = None
        self._restores = 0

    def retry(self, error: StreamsError, now_ms: int) -> int:
        """The same call, a little later."""
        if self._retrying_since is None:
            self._retrying_since = now_ms
        if now_ms - self._retrying_since >= self._settings.give_up_after_ms:
            seconds = self._settings.give_up_after_ms // 1000
            raise Fatal(f"{self._name} gave up after {seconds} s: {error.message}", error.advice)
        return now_ms + self._settings.retry_backoff_ms

    def restore(self, error: StreamsError, now_ms: int) -> int:
        """Everything from the log again, later each time."""
        if self._restores >= MAX_RESTORES:
            raise Fatal(f"{self._name} failed again and again: {error.message}", error.advice)
        self._restores += 1
        return now_ms + self._settings.retry_backoff_ms * self._restores

    def call_succeeded(self) -> None:
        """The log answers."""
        self._retrying_since = None

    def committed(self) -> None:
        """A transaction went through."""
        self._restores = 0
