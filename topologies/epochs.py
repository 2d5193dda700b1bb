"""Topic epochs: one time domain on one topic after another, each with partitions of its own.

Epoch 1 of the live domain is `telemetry.raw`, epoch n is `telemetry.raw.e<n>`. An epoch counts the
points in (since, until]; `since` is the `until` of the one before, and a boundary of every window,
so that each window belongs to one epoch. Both are told by records of the topic itself (header
`control: epoch`), the first record of a new one. All times are unix nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec

from streams.event_time.windows import EARLIEST, LATEST, SECOND

LIVE = "telemetry.raw"
"""The live time domain, and the topic of its first epoch."""
TOPIC = "telemetry.epochs"
"""Where everybody reads which epochs there are: one partition, the newest record says it all."""
KEY = b"live"
CONTROL = ("control", b"epoch")
"""The header of a record that tells the bounds of its topic."""

_Time = Annotated[int, msgspec.Meta(ge=EARLIEST, le=LATEST)]
_LATER = re.compile(rf"{re.escape(LIVE)}\.e([1-9][0-9]*)")


class _Told(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    since: _Time | None = None
    until: _Time | None = None
    partitions: Annotated[int, msgspec.Meta(gt=0)] | None = None


_TOLD = msgspec.json.Decoder(_Told)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The points that an epoch counts: those in (since, until]. Both unix ns.

    partitions: of its topic, where a record of it says so.
    """

    since: int = EARLIEST
    until: int = LATEST
    partitions: int | None = None

    @property
    def known(self) -> bool:
        """Whether the record that tells where a later epoch begins has been read."""
        return self.since != LATEST

    @property
    def all_of_time(self) -> bool:
        """Whether every point is the epoch's own."""
        return self.since == EARLIEST and self.until == LATEST

    def owns(self, time: int) -> bool:
        """Whether a point of this time counts here."""
        return self.since < time <= self.until

    def narrowed(self, told: Bounds) -> Bounds:
        """These bounds, once a record has told those; what it leaves open stays."""
        return Bounds(
            self.since if told.since == EARLIEST else told.since,
            self.until if told.until == LATEST else told.until,
            self.partitions if told.partitions is None else told.partitions,
        )

    def to_json(self) -> bytes:
        """As the value of a record with the header `CONTROL`: what is left open is absent."""
        return msgspec.json.encode(
            _Told(
                since=None if self.since == EARLIEST else self.since,
                until=None if self.until == LATEST else self.until,
                partitions=self.partitions,
            )
        )

    @classmethod
    def from_json(cls, value: bytes) -> Bounds:
        """What `to_json` wrote. Raises ValueError."""
        told = _TOLD.decode(value)
        if told == _Told():
            raise ValueError("neither since nor until")
        return cls(
            EARLIEST if told.since is None else told.since,
            LATEST if told.until is None else told.until,
            told.partitions,
        )


Key = tuple[str, ...] | None
"""By which attributes of their resource, beside the tenant, records find their partition, sorted;
None: by all of them. So a stream stays in one partition of an epoch, whatever its key."""


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An epoch after the first as the topic `TOPIC` lists it; `since` in unix ns."""

    topic: str
    partitions: Annotated[int, msgspec.Meta(gt=0)]
    since: int
    key: Key = None


class Epochs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All epochs of the live domain after its first, ascending: the newest record of `TOPIC`.

    gap: how long before its begin an epoch knows base lines, ns.
    """

    later: tuple[Listed, ...] = ()
    gap: int = 900 * SECOND

    def of(self, topic: str, partitions: int, oldest: int, newest: int) -> list[Listed]:
        """The epochs that a record goes to whose points lie in [oldest, newest], unix ns.

        The first epoch is `topic` with so many partitions. A record goes to each epoch that counts
        some of its points, or may take some as base lines.
        """
        every = [Listed(topic, partitions, EARLIEST), *self.later]
        ends = [*(epoch.since for epoch in self.later), LATEST]
        return [
            epoch
            for epoch, until in zip(every, ends, strict=True)
            if oldest <= until and (epoch.since == EARLIEST or newest > epoch.since - self.gap)
        ]

    def to_json(self) -> bytes:
        """As the value of a record of `TOPIC`."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, value: bytes) -> Epochs:
        """What `to_json` wrote. Raises ValueError."""
        found = _EPOCHS.decode(value)
        begins = [epoch.since for epoch in found.later]
        if begins != sorted(set(begins)):
            raise ValueError("epochs are not in order of time")
        return found


_EPOCHS = msgspec.json.Decoder(Epochs)
ONE_EPOCH = Epochs()


def domain_of(topic: str) -> str:
    """The time domain that a topic belongs to: all epochs of the live topic are one."""
    return LIVE if _LATER.fullmatch(topic) else topic


def topic_of_source(source: str) -> str:
    """The topic of a source `topic/partition`."""
    return source.rsplit("/", 1)[0]


def number_of(topic: str) -> int:
    """Which epoch of its domain a topic is, from 1."""
    found = _LATER.fullmatch(topic)
    return int(found[1]) if found else 1


def topic_of(number: int) -> str:
    """The topic of an epoch of the live domain."""
    return LIVE if number == 1 else f"{LIVE}.e{number}"


def first_bounds(topic: str) -> Bounds:
    """What is known of a topic before any of its records: nothing counts in a later epoch."""
    return Bounds() if number_of(topic) == 1 else Bounds(since=LATEST)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One topic of a time domain, as its sources describe it; they are its partitions."""

    sources: int
    since: int = EARLIEST
    until: int = LATEST

    def owns(self, end: int) -> bool:
        """Whether the window that ends there is the epoch's."""
        return self.since < end <= self.until

    def after(self, known: Epoch | None) -> Epoch:
        """What is known of the epoch once a source says this; not all know yet when it ends."""
        return self if known is None else replace(self, until=min(self.until, known.until))


@dataclass(frozen=True, slots=True)
class Sealed:
    """How far a source has sealed (unix ns).

    holds: whether windows of later epochs wait for it, too, because what late points change in its
    own travels with them.
    """

    topic: str
    frontier: int
    holds: bool


def frontier(epochs: Mapping[str, Epoch], sources: Iterable[Sealed]) -> int:
    """Up to where every window of a domain has been sealed by all that have a say in it.

    That is every source of the window's epoch, once those of the epochs before have come to its
    begin. EARLIEST while sources of the first epoch have not been heard of.
    """
    by_topic: dict[str, list[Sealed]] = {}
    for source in sources:
        by_topic.setdefault(source.topic, []).append(source)
    reached, limit = EARLIEST, LATEST
    for topic, epoch in sorted(epochs.items(), key=lambda item: item[1].since):
        heard = by_topic.get(topic, [])
        if epoch.since > reached or len(heard) < epoch.sources:
            break
        reached = min(min(source.frontier for source in heard), epoch.until)
        limit = min(limit, *(source.frontier for source in heard if source.holds), LATEST)
        if reached < epoch.until:
            break
    return min(reached, limit)
