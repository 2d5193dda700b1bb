"""The windows of metrics, asked over HTTP from any worker.

GET /windows                                     every metric, its labels and window sizes
GET /windows/METRIC?LABEL=VALUE&granularity=...  rows, with the position they are valid at
"""

# Faust ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from faust.web import Request, View

from metric_registry.granularities import text_of
from metric_registry.plan import ResolvedDefinition
from streams.queries.questions import QueryError
from streams.worker.queries import Queries, patiently
from streams.worker.query_pages import given_in, refused
from tidemill.operators import PREAGGREGATION, ROLL_UP
from topologies.deployment import InForce
from topologies.epochs import domain_of
from topologies.queries.answers import Replies, answer, may_overflow
from topologies.queries.parsing import Asking, found_metric, parse, shares
from topologies.queries.questions import MetricQuestion, asked


class MetricQueries:
    """Asks the tasks of pre-aggregation and of the roll-up, here and at other workers."""

    def __init__(self, queries: Queries, known: InForce) -> None:
        self._queries = queries
        self._known = known

    def metrics(self) -> list[dict[str, Any]]:
        """What can be asked for."""
        return [
            {
                "metric": definition.name,
                "labels": ["tenant", *definition.keep],
                "granularities": [text_of(size) for size in definition.granularities],
                "unit": definition.unit,
            }
            for definition in self._begun()
        ]

    def _begun(self) -> tuple[ResolvedDefinition, ...]:
        """Definitions as the windows have them that begin now."""
        return self._known.now.begun(time.time_ns())

    async def ask(self, metric: str, given: Mapping[str, str]) -> dict[str, Any]:
        """The answer, as JSON; waits as long as the question says. Raises `QueryError`."""
        asking = parse(found_metric(self._begun(), metric, self._known.now.plan.derived), given)
        return await patiently(lambda: self._once(asking), asking.wait_ms)

    async def _once(self, asking: Asking) -> dict[str, Any]:
        question = asking.question
        replies = await self._replies(question)
        if may_overflow(replies, shares(self._known.now.plan, question.metric)):
            question = msgspec.structs.replace(question, whole=True)
            replies = await self._replies(question)
        return await asyncio.to_thread(answer, question, asking.limit, asking.bound, replies)

    async def _replies(self, question: MetricQuestion) -> Replies:
        """The roll-up is asked first: what sources have sealed since does not fit, and is seen."""
        reducers = await self._queries.replies(self._queries.tasks(ROLL_UP), asked(question))
        if not question.is_open:
            return Replies.of({}, reducers)
        tasks = [
            task
            for task in self._queries.tasks(PREAGGREGATION)
            if domain_of(task.topic) == question.domain
        ]
        if not tasks:
            message = f"no worker that can be asked runs a task of {question.domain}"
            raise QueryError(503, "nowhere", message, retry_ms=1_000)
        return Replies.of(await self._queries.replies(tasks, asked(question)), reducers)


def pages(queries: MetricQueries) -> dict[str, type[View]]:
    """Path -> page."""

    class Metrics(View):
        """Every metric."""

        async def get(self, request: Request, **kwargs: Any) -> Any:
            return self.json(queries.metrics())

    class Windows(View):
        """Rows of a metric's windows."""

        async def get(self, request: Request, metric: str, **kwargs: Any) -> Any:
            try:
                found = await queries.ask(metric, given_in(request))
            except QueryError as error:
                return refused(self, error)
            return self.bytes(msgspec.json.encode(found), content_type="application/json")

    return {"/windows": Metrics, "/windows/{metric}": Windows}
