"""How a command fails: with one line for the person who typed it, and an exit code for scripts."""

from __future__ import annotations

FINE, FAILED, USAGE, WARNINGS, UNREACHABLE, TIMED_OUT = range(6)
"""Exit codes of every command; WARNINGS only under `--strict`."""


class CommandError(Exception):
    """What went wrong and what to do about it, on one line; `code` is the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
