"""`tidemill registry apply` and `rollback`: ask the workers, announce, wait until all know (S)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metric_registry.plan import Plan
from tidemill import probe
from tidemill.adoption import Heard, Workers, lacking, reached, silent, sources, waiting
from tidemill.announcing import Choose, Known, Outcome, put_in_force, would_be
from tidemill.settings import Settings
from topologies.candidates import TooLong, definitions_of
from topologies.decisions import Decision, applied, rolled_back, tried

_POLL_S = 0.25


class Refused(ValueError):
    """A change that is not made; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Waited:
    """What became of an announced change.

    Attributes:
        sources: How many partitions were told.
        workers: How many workers answer.
        behind: Who has not gone over yet.
    """

    sources: int
    workers: int
    behind: list[str]


async def decide(settings: Settings, choose: Choose, dry: bool) -> Outcome:
    """Decide, and unless it is a trial announce it.

    Raises:
        Refused: Something that `choose` found, or a worker that cannot compute it.
    """
    workers = await ask(settings)

    def checked(known: Known) -> Decision | None:
        decided = choose(known)
        if decided is not None and (found := lacking(decided.deployed.plan, workers)):
            raise Refused(
                f"{'; '.join(found)}: a worker learns aggregates when it starts. Name the file in "
                "`aggregates` of the settings, start the workers anew one by one, then try again"
            )
        return decided

    work = would_be if dry else put_in_force
    return await work(settings, checked, reached(workers))


def to_apply(plan: Plan, delete: bool) -> Choose:
    """Put these definitions in force; delete: those that are not among them go."""

    def choose(known: Known) -> Decision | None:
        newest = known.decisions.newest
        names = {one.name for one in (*plan.definitions, *plan.derived)}
        there = definitions_of(newest.deployed) if newest else ()
        derived = newest.deployed.plan.derived if newest else ()
        gone = [one.name for one in (*there, *derived) if one.name not in names]
        if gone and not delete:
            raise Refused(
                f"{', '.join(gone)} would go, since no file has them: let them go with --delete, "
                "or name all files of definitions"
            )
        return applied(known.decisions, plan, known.when)

    return choose


def to_try(plan: Plan) -> Choose:
    """Run candidates beside what is in force, of those of these definitions that differ from it."""

    def choose(known: Known) -> Decision | None:
        newest = known.decisions.newest
        if newest is None:
            raise Refused(
                "nothing is in force yet, so there is nothing that candidates could run beside: "
                "tidemill up, or tidemill registry apply, puts definitions in force"
            )
        try:
            return tried(known.decisions, plan, known.when)
        except TooLong as error:
            raise Refused(str(error)) from None

    return choose


def to_roll_back(to: Callable[[Known], Decision]) -> Choose:
    """Put back the definitions of the decision that `to` finds."""

    def choose(known: Known) -> Decision | None:
        return rolled_back(known.decisions, to(known), known.when)

    return choose


async def ask(settings: Settings) -> Workers:
    """What the workers say now; those that do not answer are left out."""
    names = [f"worker-{number}" for number in range(settings.workers)]
    urls = [f"http://127.0.0.1:{settings.worker_port + n}" for n in range(settings.workers)]
    answers = await asyncio.gather(*map(_answers, urls))
    return {n: answer for n, answer in zip(names, answers, strict=True) if answer is not None}


async def _answers(url: str) -> Heard | None:
    try:
        tasks: dict[str, Any] = await probe.get_json(f"{url}/stats/tasks")
        definitions: dict[str, Any] = await probe.get_json(f"{url}/stats/definitions")
    except probe.Unreachable:
        return None
    return Heard(tasks, definitions)


async def until_known(
    settings: Settings, outcome: Outcome, timeout: float, say: Callable[[str], None]
) -> Waited:
    """Until every task and worker has gone over, or for `timeout` seconds. say: gets progress."""
    assert outcome.decided is not None
    told = sources(settings.raw_partitions, outcome.epochs)
    expected = [f"worker-{number}" for number in range(settings.workers)]
    until, said = time.monotonic() + timeout, -1
    while True:
        workers = await ask(settings)
        behind = waiting(outcome.decided.deployed.decided, told, workers)
        behind += [f"{name}: does not answer" for name in silent(expected, workers)]
        if not behind or time.monotonic() >= until:
            return Waited(len(told), len(workers), behind)
        if len(behind) != said:
            said = len(behind)
            say(f"announced; waiting for {said} of {len(told) + len(expected)}: {behind[0]}")
        await asyncio.sleep(_POLL_S)
