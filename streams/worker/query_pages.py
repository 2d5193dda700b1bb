"""The pages of a worker that answer questions.

GET  /stores                                 what there is
GET  /stores/NAME?COLUMN=VALUE&from=&to=...  rows, with the position they are valid at
GET  /where/NAME?COLUMN=VALUE                who has them
POST /tasks/TOPOLOGY/TOPIC/PARTITION/ask     another worker asks
"""

# Faust ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from typing import Any

import msgspec
from faust.web import Request, View

from streams.queries.questions import QueryError
from streams.task.events import TaskId
from streams.worker.queries import Queries

_MANY = "several values for {}: ask for one at a time"


def pages(queries: Queries) -> dict[str, type[View]]:
    """Path -> page."""

    class Stores(View):
        """Every store, with its columns and windows."""

        async def get(self, request: Request, **kwargs: Any) -> Any:
            return self.json([shape.told() for shape in queries.stores.values()])

    class Store(View):
        """Rows of a store."""

        async def get(self, request: Request, store: str, **kwargs: Any) -> Any:
            try:
                found = await queries.ask(store, given_in(request))
            except QueryError as error:
                return refused(self, error)
            return self.bytes(msgspec.json.encode(found), content_type="application/json")

    class Where(View):
        """Who has a store, or a key of it."""

        async def get(self, request: Request, store: str, **kwargs: Any) -> Any:
            try:
                return self.json(queries.where(store, given_in(request)))
            except QueryError as error:
                return refused(self, error)

    class Ask(View):
        """One task's part of an answer."""

        async def post(
            self, request: Request, topology: str, topic: str, partition: str, **kwargs: Any
        ) -> Any:
            task = TaskId(topology, topic, int(partition))
            try:
                reply = await queries.here(task, await request.read())
            except QueryError as error:
                return refused(self, error)
            return self.bytes(reply, content_type="application/msgpack")

    return {
        "/stores": Stores,
        "/stores/{store}": Store,
        "/where/{store}": Where,
        r"/tasks/{topology}/{topic}/{partition:\d+}/ask": Ask,
    }


def given_in(request: Any) -> dict[str, str]:
    """What a URL says behind its question mark. Raises `QueryError`."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise QueryError(400, "wrong-option", _MANY.format(name))
        given[name] = value
    return given


def refused(view: View, error: QueryError) -> Any:
    """The page of a question that gets no answer."""
    headers: dict[str, str] = {}
    if error.retry_ms is not None:
        headers["Retry-After"] = str(max(1, -(-error.retry_ms // 1000)))
    return view.json(error.body(), status=error.status, headers=headers)
