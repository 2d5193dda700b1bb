"""Where the questions to one task wait for their replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from streams.queries.questions import QueryError, Question, Reply

ANSWER_SECONDS = 5.0


class Desk:
    """Numbers questions, gives them to the task, and hands its replies out."""

    def __init__(self, give: Callable[[int, Question], None]) -> None:
        self._give = give
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._closed = False

    async def ask(self, question: Question) -> Reply:
        """The task's reply. Raises `QueryError`."""
        if self._closed:
            raise _leaving()
        self._last += 1
        number = self._last
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        self._give(number, question)
        try:
            return await asyncio.wait_for(reply, ANSWER_SECONDS)
        except TimeoutError:
            message = f"the task has been at work for {ANSWER_SECONDS:.0f} s without a pause"
            raise QueryError(503, "busy", message, retry_ms=1_000) from None
        finally:
            self._waiting.pop(number, None)

    def hand_out(self, replies: Mapping[int, Reply | QueryError]) -> None:
        """The task has answered."""
        for number, reply in replies.items():
            waiting = self._waiting.get(number)
            if waiting is None or waiting.done():
                continue
            if isinstance(reply, QueryError):
                waiting.set_exception(reply)
            else:
                waiting.set_result(reply)

    def refuse(self, numbers: Iterable[int], error: QueryError) -> None:
        """The task does not answer these."""
        self.hand_out(dict.fromkeys(numbers, error))

    def close(self) -> None:
        """The task is let go of: it answers nothing any more."""
        self._closed = True
        self.refuse(list(self._waiting), _leaving())


def _leaving() -> QueryError:
    return QueryError(503, "moving", "the task is leaving this worker", retry_ms=1_000)
