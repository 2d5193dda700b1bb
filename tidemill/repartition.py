"""Announcing other partitions of the live topic, or another key: when that may begin, and how.

Everything that must know is written in one transaction: the bounds into every partition of the
topic that ends and of the one that begins, and the list that edges read. So nobody ever knows a
half of it.
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from metric_registry.plan import ResolvedDefinition
from streams.event_time.levels import longest, window_end
from streams.event_time.windows import rfc3339
from tidemill.definitions_topic import decisions_of, in_force
from tidemill.probe import Unreachable
from tidemill.sending import Sent, send
from tidemill.settings import Settings, announcements, topics
from topologies.deployment import Deployment
from topologies.edge.epochs import EpochsReader
from topologies.epochs import CONTROL, KEY, LIVE, TOPIC, Bounds, Epochs, Key, Listed, topic_of
from topologies.joining import levels_of

MOST_STEPS = 10_000
MILLISECOND = 1_000_000


class RepartitionError(ValueError):
    """A change that can't be announced like this; the message says what could be."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of epochs: the list as it will be, and where the domain lives until then."""

    epochs: Epochs
    before: Listed

    @property
    def new(self) -> Listed:
        """The epoch that begins."""
        return self.epochs.later[-1]


def next_boundary(after: int, sizes: Iterable[int]) -> int:
    """The first time (unix ns) from `after` on at which windows of all these levels end.

    Raises:
        RepartitionError: None was found.
    """
    every = set(sizes)
    time = after
    for _ in range(MOST_STEPS):
        latest = max((window_end(time, size) for size in every), default=time)
        if latest == time:
            return time
        time = latest
    raise RepartitionError("windows of these definitions have no end in common")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the new epoch is to be, and from when (unix ns; None: as soon as may be).

    partitions: None: as many as before; key: "same": as before.
    """

    partitions: int | None = None
    key: Key | Literal["same"] = "same"
    at: int | None = None


def change(
    known: Epochs, first: int, wanted: Wanted, earliest: int, sizes: Sequence[int]
) -> Change:
    """The change to what is wanted.

    first: partitions of the first epoch. earliest: before it the change may not begin.

    Raises:
        RepartitionError: It can't be; the message says what could.
    """
    before = known.later[-1] if known.later else Listed(LIVE, first, 0)
    soonest = next_boundary(max(earliest, before.since + 1), sizes)
    at, partitions = wanted.at, wanted.partitions or before.partitions
    key = before.key if wanted.key == "same" else wanted.key
    if (partitions, key) == (before.partitions, before.key):
        raise RepartitionError(
            f"{before.topic} has {partitions} partitions already, keyed by {key_text(before.key)}"
        )
    if at is not None and at < soonest:
        raise RepartitionError(
            f"{rfc3339(at)} is too soon, or already past: edges and workers must have learnt of it "
            f"before anything depends on it. The first time possible is {rfc3339(soonest)}"
        )
    if at is not None and next_boundary(at, sizes) != at:
        raise RepartitionError(
            f"{rfc3339(at)} lies within windows; the next time at which all end is "
            f"{rfc3339(next_boundary(at, sizes))}"
        )
    begin = soonest if at is None else at
    new = Listed(topic_of(len(known.later) + 2), partitions, begin, key)
    return Change(Epochs((*known.later, new), known.gap), before)


def key_text(key: Key) -> str:
    """What records are keyed by, in words."""
    return "tenant and resource" if key is None else ", ".join(("tenant", *key))


async def announce(settings: Settings, wanted: Wanted, now: int, dry: bool) -> Change:
    """Make the topic of the new epoch and tell everybody; dry: only say what would be.

    Raises:
        RepartitionError: It can't be, or something else was announced meanwhile.
        Unreachable: The log does not answer.
        DefinitionsError, UnreadableDecision: What is in force cannot be read.
    """
    try:
        async with asyncio.timeout(60):
            return await _announce(settings, wanted, now, dry)
    except (ProducerFenced, InvalidProducerEpoch) as error:
        raise RepartitionError(
            "another change of partitions or definitions began meanwhile: nothing of this one was "
            "announced; see: tidemill topic epochs, tidemill registry history"
        ) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unreachable(
            f"no log answers at {settings.bootstrap} ({type(error).__name__})"
        ) from error


async def epochs_of(settings: Settings) -> Epochs:
    """The epochs that were announced. Raises `Unreachable`."""
    try:
        return await _known(settings)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unreachable(
            f"no log answers at {settings.bootstrap} ({type(error).__name__})"
        ) from error


async def _known(settings: Settings) -> Epochs:
    reader = EpochsReader(settings.bootstrap, "tidemill-topic")
    try:
        await reader.start()
        return reader.epochs or Epochs()
    finally:
        await reader.stop()


async def _announce(settings: Settings, wanted: Wanted, now: int, dry: bool) -> Change:
    if dry:
        return await _decide(settings, wanted, now)
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap,
        transactional_id=announcements(settings),
        transaction_timeout_ms=30_000,
    )
    try:
        await producer.start()  # another that is under way is fenced
        decided = await _decide(settings, wanted, now)
        await _create(settings, decided.new)
        async with producer.transaction():
            await _tell(producer, decided)
        return decided
    finally:
        await producer.stop()


async def _decide(settings: Settings, wanted: Wanted, now: int) -> Change:
    known = await _known(settings)
    gap = settings.stream_gap_ms * MILLISECOND
    if not known.later:
        known = Epochs((), gap)
    earliest = now + gap + settings.epoch_margin_ms * MILLISECOND
    sizes = _levels(in_force(await decisions_of(settings), settings), now)
    return change(known, settings.raw_partitions, wanted, earliest, sizes)


def _levels(deployed: Deployment, now: int) -> list[int]:
    """Of all windows that may be open from `now` on, those of replaced definitions among them."""

    def reaches(one: ResolvedDefinition) -> int:
        return deployed.spans(one.version)[-1][1] + max(map(longest, levels_of([one])))

    return levels_of(one for one in deployed.plan.definitions if reaches(one) > now)


async def _tell(producer: Any, decided: Change) -> None:
    new, before = decided.new, decided.before
    records: list[Sent] = []
    for topic, count, bounds in (
        (new.topic, new.partitions, Bounds(since=new.since, partitions=new.partitions)),
        (before.topic, before.partitions, Bounds(until=new.since)),
    ):
        told = bounds.to_json()
        records += [Sent(topic, number, told, headers=(CONTROL,)) for number in range(count)]
    records.append(Sent(TOPIC, 0, decided.epochs.to_json(), KEY))
    await send(producer, records)


async def _create(settings: Settings, new: Listed) -> None:
    """The topic, as the first one is; an empty one that is there already will do.

    Raises:
        RepartitionError: There is one that is not empty, or of another size.
    """
    spec = next(spec for spec in topics(settings) if spec.name == LIVE)
    spec = replace(spec, name=new.topic, partitions=new.partitions)
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap)
    await admin.start()
    await consumer.start()
    try:
        described: list[dict[str, Any]] = await admin.describe_topics()
        found = [topic["partitions"] for topic in described if topic["topic"] == new.topic]
        if not found:
            made = NewTopic(
                spec.name, spec.partitions, settings.replication, topic_configs=dict(spec.config)
            )
            answer = await admin.create_topics([made])
            wrong = [name for name, code, *_ in answer.topic_errors if code]
            if wrong:
                raise RepartitionError(f"the log does not create {new.topic}: {answer}")
            return
        every = [TopicPartition(new.topic, each["partition"]) for each in found[0]]
        ends: dict[Any, int] = await consumer.end_offsets(every)
        if len(every) != new.partitions or any(ends.values()):
            raise RepartitionError(
                f"topic {new.topic} is there already, with {len(every)} partitions and "
                f"{sum(ends.values())} records: delete it first"
            )
    finally:
        await asyncio.gather(admin.close(), consumer.stop(), return_exceptions=True)
