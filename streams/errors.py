"""Errors cut by what the caller must do, not by where they arose.

| error         | says                                       | what the caller does           |
|---------------|--------------------------------------------|--------------------------------|
| `Retriable`   | the log is away or busy                    | waits and does the same again  |
| `Fenced`      | another owner took the task over           | drops the task, joins anew     |
| `MustRestore` | memory may be ahead of the log             | restores the task from the log |
| `Rejected`    | a record cannot be processed               | dead-letters it, goes on       |
| `Fatal`       | anything else, unknown outcomes among it   | stops the worker               |
"""

from __future__ import annotations

import msgspec

UNREADABLE_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec's decoders raise at bytes from anywhere; the last where they nest very deeply."""


class StreamsError(Exception):
    """A failure of the framework. `advice` says what a person does next."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class Retriable(StreamsError):
    """Nothing happened; the same call may work later."""


class Fenced(StreamsError):
    """Another owner of the task has registered. Never re-initialise in place: rejoin or exit."""


class MustRestore(StreamsError):
    """The open transaction was abandoned; memory is ahead of the log and has to be thrown away.

    `local` says that the local copy of the state is at fault: wipe it, restore from the changelog.
    """

    def __init__(self, message: str, advice: str = "", *, local: bool = False) -> None:
        super().__init__(message, advice)
        self.local = local


class Rejected(StreamsError):
    """A record that goes to the dead-letter topic.

    `code` is kebab-case and stable, for programs; the message is a sentence, for people. `index`
    is the record's place in the sequence given to `process`; naming it promises that no record of
    that call was counted, so that the call can be made again without it. None: the framework
    restores the task and finds the record by processing one at a time.
    """

    def __init__(self, code: str, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.index = index


class Fatal(StreamsError):
    """The worker must stop. Nothing acknowledged is lost; a restart continues from the log."""
