"""Asks tasks, here and at other workers, until their replies make an answer.

Whoever is asked answers for all: an answer may need tasks of several workers, which a redirect to
one could not give, and a client need not reach, or know, the workers one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from streams.queries.answers import answer
from streams.queries.parsing import Asking, found_store, parse
from streams.queries.questions import QueryError, Question, Reply
from streams.queries.shapes import StoreShape
from streams.task.events import TaskId
from streams.worker.engine import Engine

T = TypeVar("T")
A_WHILE_MS = 1_000
_REMOTE_SECONDS = 7.0
_question = msgspec.msgpack.Decoder(Question)
_reply = msgspec.msgpack.Decoder(Reply)


class Queries:
    """The stores of the topologies that a worker runs."""

    def __init__(self, endpoint: str, stores: Mapping[str, StoreShape]) -> None:
        self.endpoint = endpoint
        self.stores = dict(stores)
        self._engine: Engine | None = None
        self._session: aiohttp.ClientSession | None = None

    def serve(self, engine: Engine) -> None:
        """From now on ask this engine's tasks."""
        self._engine = engine

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()

    # ------------------------------------------------------------ what people ask

    async def ask(self, name: str, given: Mapping[str, str]) -> dict[str, Any]:
        """The answer, as JSON; waits as long as the question says. Raises `QueryError`."""
        asking = parse(found_store(self.stores, name), given)
        return await patiently(lambda: self._once(asking), asking.wait_ms)

    def where(self, name: str, given: Mapping[str, str]) -> dict[str, Any]:
        """Which tasks have a key, or the store, and which workers run them. Raises `QueryError`."""
        asking = parse(found_store(self.stores, name), given)
        holders = asking.shape.holders(asking.key, self._partitions)
        told = [self._told(task) for task in holders]
        parts = [self._told(task) for task in asking.shape.feeders(self._partitions)]
        return {"store": name, "held_by": told, "parts_of_open_windows": parts}

    async def _once(self, asking: Asking) -> dict[str, Any]:
        shape, question = asking.shape, asking.question
        first = shape.holders(asking.key, self._partitions)
        replies = await self.replies(first, question)
        replies |= await self.replies(shape.feeders(self._partitions), question)
        return await asyncio.to_thread(answer, shape, question, asking.bound, replies)

    def tasks(self, topology: str) -> list[TaskId]:
        """Every task of a topology that some worker can be asked for. Raises `QueryError`."""
        return [TaskId(topology, *at) for at in sorted(self._where(topology))]

    async def replies(self, tasks: Sequence[TaskId], question: Question) -> dict[TaskId, Reply]:
        """What each of the tasks says, wherever it runs. Raises `QueryError`."""
        found = await asyncio.gather(*(self._reply(task, question) for task in tasks))
        return dict(zip(tasks, found, strict=True))

    # ------------------------------------------------------------ tasks

    async def here(self, task: TaskId, asked: bytes) -> bytes:
        """The reply of a task of this worker, for another worker. Raises `QueryError`."""
        try:
            question = _question.decode(asked)
        except msgspec.DecodeError as error:
            raise QueryError(400, "not-a-question", f"this is no question: {error}") from error
        runner = None if self._engine is None else self._engine.runner(task.topology)
        desk = None if runner is None else runner.desk((task.topic, task.partition))
        if desk is None:
            message = f"{task.input} does not run here"
            raise QueryError(503, "moved", message, retry_ms=A_WHILE_MS)
        return msgspec.msgpack.encode(await desk.ask(question))

    async def _reply(self, task: TaskId, question: Question) -> Reply:
        endpoint = self._endpoint(task)
        try:
            asked = msgspec.msgpack.encode(question)
            if endpoint == self.endpoint:
                return _reply.decode(await self.here(task, asked))
            return await self._there(endpoint, task, asked)
        except QueryError as error:
            error.more.setdefault("task", str(task))
            error.more.setdefault("worker", endpoint)
            raise

    async def _there(self, endpoint: str, task: TaskId, asked: bytes) -> Reply:
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=_REMOTE_SECONDS, connect=2.0)
            self._session = aiohttp.ClientSession(timeout=limits)
        url = f"http://{endpoint}/tasks/{task.topology}/{task.topic}/{task.partition}/ask"
        try:
            async with self._session.post(url, data=asked) as response:
                body = await response.read()
                if response.status == 200:
                    return _reply.decode(body)
                raise _from(response.status, body)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            message = f"the worker at {endpoint}, which runs {task.input}, does not answer"
            raise QueryError(503, "unreachable", message, retry_ms=A_WHILE_MS) from error

    def _where(self, topology: str) -> Mapping[tuple[str, int], str]:
        runner = None if self._engine is None else self._engine.runner(topology)
        if runner is None or not runner.where:
            message = "this worker has not been told yet who runs what"
            raise QueryError(503, "joining", message, retry_ms=A_WHILE_MS)
        return runner.where

    def _endpoint(self, task: TaskId) -> str:
        found = self._where(task.topology).get((task.topic, task.partition))
        if found is None:
            message = f"no worker that can be asked runs {task.input}"
            raise QueryError(503, "nowhere", message, retry_ms=A_WHILE_MS)
        return found

    def _partitions(self, topic: str) -> int:
        """As many as the group has given away."""
        known = [
            partition
            for shape in self.stores.values()
            for tasks in (*shape.owners, *shape.sources)
            if tasks.topic == topic
            for at, partition in self._where(tasks.topology)
            if at == topic
        ]
        return max(known, default=-1) + 1

    def _told(self, task: TaskId) -> dict[str, Any]:
        return {"task": str(task), "input": task.input, "worker": self._endpoint(task)}


async def patiently(once: Callable[[], Awaitable[T]], wait_ms: int) -> T:
    """What `once` returns, asked again for so long while it raises a `QueryError` that passes."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_ms / 1000
    while True:
        try:
            return await once()
        except QueryError as error:
            left = until - loop.time()
            if error.retry_ms is None or left <= 0:
                raise
            await asyncio.sleep(min(error.retry_ms / 1000, left))


def _from(status: int, body: bytes) -> QueryError:
    """The error that another worker answered with."""
    said: dict[str, Any] = msgspec.json.decode(body)
    code, message = said.pop("error"), said.pop("message")
    return QueryError(status, code, message, retry_ms=said.pop("retry_after_ms", None), **said)
