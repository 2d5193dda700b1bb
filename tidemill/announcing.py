"""Puts definitions in force: decides, tells the log's partitions, and writes the decision down (S).

A partition's task goes over to other definitions at a record of its input, so what counts under
which is a matter of the log. All partitions are told in one transaction with the decision itself,
some time before the definitions begin to count; what of the log comes later, comes behind it. Who
is about to announce fences whoever else is: a decision is about what the one before left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.errors import (  # pyright: ignore[reportMissingTypeStubs]
    InvalidProducerEpoch,
    ProducerFenced,
)

from streams.event_time.windows import SECOND
from tidemill.changes import changes, holds
from tidemill.definitions_topic import AWAY, decisions_of
from tidemill.deployed_file import file_of, written
from tidemill.probe import Unreachable
from tidemill.repartition import epochs_of
from tidemill.sending import Sent, send
from tidemill.settings import Settings, announcements
from tidemill.wiring import DefinitionsError, load_plan
from topologies.decisions import TOPIC, Circumstances, Decision, Decisions, started
from topologies.deployment import Deployment
from topologies.epochs import LIVE, Epochs

HEADER = ("control", b"plan")
LEAD_NS = 20 * SECOND
"""How long before they count definitions are announced; longer than announcing may take."""
_TIMEOUT_S = 15.0
_LARGEST = 16 << 20  # as topics take
LARGEST_TOLD = 6 << 20
"""Bytes of a decision: less than a worker's largest record, `WorkerConfig.max_request_bytes`."""
_FENCED = (ProducerFenced, InvalidProducerEpoch)


class Superseded(RuntimeError):
    """Somebody else began to announce meanwhile, and nothing of this change is in force."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a change is decided on.

    earlier: of a program that wrote it into a file, what goes to the topic first.
    """

    decisions: Decisions
    when: Circumstances
    earlier: Decision | None


Choose = Callable[[Known], Decision | None]
"""Decides; None: nothing is to change."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was in force (None: nothing ever), and what was decided (None: it stays)."""

    before: Deployment | None
    decided: Decision | None
    epochs: Epochs

    def sentences(self) -> list[str]:
        """One for each definition that changes; none for the first ones."""
        if self.before is None or self.decided is None:
            return []
        return changes(self.before, self.decided.deployed, self.epochs)


async def introduce(settings: Settings) -> list[str]:
    """Put the definitions as files have them in force, as a stack does that starts.

    Returns a sentence for each that changes; or one that says why none does, if a rollback holds.

    Raises:
        DefinitionsError: Some definition has a mistake.
        Unreachable: The log does not answer in time.
        Superseded: Somebody else does, too.
    """
    plan = load_plan(settings)
    held: list[str] = []

    def choose(known: Known) -> Decision | None:
        held[:] = holds(known.decisions.newest, plan)
        return started(known.decisions, plan, known.when)

    outcome = await put_in_force(settings, choose)
    return held or outcome.sentences()


async def would_be(settings: Settings, choose: Choose, reached: int = 0) -> Outcome:
    """What `put_in_force` would do now; nothing is. Raises as it does, but for `Superseded`."""
    known = await _known(settings, reached)
    return _outcome(known, that_fits(choose(known)))


async def put_in_force(settings: Settings, choose: Choose, reached: int = 0) -> Outcome:
    """Decide on what the log says, and tell everybody in one transaction.

    reached: event time that some partition has come to, unix ns: what counts, counts after it.

    Raises:
        Unreachable: The log does not answer in time; the message says what that means.
        Superseded: Somebody else began to announce meanwhile; nothing has changed.
        DefinitionsError: The file of an earlier program cannot be read, or the tables of lookups
            are more than can be told.
    """
    producer = _producer(settings)
    try:
        await _started(settings, producer)  # another that is under way is fenced
        known = await _known(settings, reached)
        decided = that_fits(choose(known))
        new = [each for each in (known.earlier, decided) if each is not None]
        if new:
            await _announced(settings, producer, known, new)
    finally:
        await producer.stop()
    file_of(settings).unlink(missing_ok=True)  # the topic says it, from here on
    return _outcome(known, decided)


def that_fits(decided: Decision | None) -> Decision | None:
    """The same, if tasks can keep it among their state and pass it on."""
    size = 0 if decided is None else len(decided.to_json())
    if decided is not None and size > LARGEST_TOLD:
        plan = decided.deployed.plan
        tables = sum(table.size for table in plan.tables.values())
        raise DefinitionsError(
            f"the definitions are {size:,} bytes with those that still have windows to close, and "
            f"{LARGEST_TOLD:,} can be told; {tables:,} of them are {len(plan.tables)} tables of "
            "lookups, of which versions that were replaced keep theirs until no point of their "
            "windows can come any more. Change large tables less often, or keep fewer rows in them"
        )
    return decided


def _outcome(known: Known, decided: Decision | None) -> Outcome:
    newest = known.decisions.newest
    return Outcome(newest.deployed if newest else None, decided, known.when.epochs)


def _producer(settings: Settings) -> Any:
    return AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap,
        transactional_id=announcements(settings),
        transaction_timeout_ms=30_000,
        compression_type="zstd",
        max_request_size=_LARGEST,
    )


async def _started(settings: Settings, producer: Any) -> None:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await producer.start()
    except AWAY as error:
        raise Unreachable(
            f"no log answers at {settings.bootstrap} ({type(error).__name__})"
        ) from error


async def _known(settings: Settings, reached: int) -> Known:
    decisions, epochs = await decisions_of(settings), await epochs_of(settings)
    earlier = None
    if decisions.newest is None and (file := written(settings)) is not None:
        earlier = Decision("start", file)
        decisions = decisions.also(earlier)
    kept = settings.raw_retention_hours * 3_600 * SECOND
    now = time.time_ns()
    soon = -(-(max(now, reached) + LEAD_NS) // SECOND) * SECOND  # as people are told it
    return Known(decisions, Circumstances(now, soon, epochs, kept), earlier)


async def _announced(settings: Settings, producer: Any, known: Known, new: list[Decision]) -> None:
    try:
        async with asyncio.timeout(_TIMEOUT_S), producer.transaction():
            await _tell(settings, producer, known, new)
    except (*_FENCED, *AWAY) as error:
        if not await _is_there(settings, new[-1], fence=not isinstance(error, _FENCED)):
            raise Superseded(
                "another change of definitions or partitions began meanwhile, or the log was away: "
                "nothing of this one is in force. See what is: tidemill registry history"
            ) from error


async def _is_there(settings: Settings, decided: Decision, fence: bool) -> bool:
    """Whether a transaction of unknown outcome was committed. fence: let the log end it first."""
    try:
        if fence:
            after = _producer(settings)
            try:
                await _started(settings, after)
            finally:
                await after.stop()
        found = await decisions_of(settings)
    except Unreachable as error:
        raise Unreachable(
            f"{error}: whether the change is in force is not known; the log says it when it "
            "answers again: tidemill registry history"
        ) from error
    return decided.deployed.decided in found.records


async def _tell(settings: Settings, producer: Any, known: Known, new: list[Decision]) -> None:
    records: list[Sent] = []
    after = known.decisions
    if after.newest is not None and new[-1] is not known.earlier:
        told = new[-1].deployed.to_json()
        topics = {LIVE: settings.raw_partitions}
        topics |= {epoch.topic: epoch.partitions for epoch in known.when.epochs.later}
        records += [
            Sent(topic, number, told, headers=(HEADER,))
            for topic, partitions in topics.items()
            for number in range(partitions)
        ]
    for each in new:
        after = after.also(each)
        records.append(Sent(TOPIC, 0, each.to_json(), each.key))
    records += [Sent(TOPIC, 0, None, key) for key in after.outdated()]
    await send(producer, records)
