"""What the sink's core is told, and what it wants done. Times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

_FORMAT = "tidemill-sink/1"


@dataclass(frozen=True, slots=True)
class Bounds:
    """A batch: every record of one partition from ``first`` to ``last``, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Committed:
    """What the consumer group keeps for one partition.

    Attributes:
        offset: Everything before it is stored.
        epoch: Made once for the life of the partition's log; part of every token, so that a topic
            made anew under an old name cannot meet the tokens of its predecessor.
        bounds: The batch that may have been inserted, or in part, or not at all; None when the
            next batch is not decided.
    """

    offset: int
    epoch: str
    bounds: Bounds | None = None

    def metadata(self) -> str:
        """Epoch and bounds as the metadata of the group's offset."""
        body: list[object] = [_FORMAT, self.epoch]
        if self.bounds is not None:
            body += [self.bounds.first, self.bounds.last]
        return msgspec.json.encode(body).decode()

    @classmethod
    def read(cls, offset: int, metadata: str) -> Committed | None:
        """The group's offset as the sink committed it; None where something else did."""
        try:
            match msgspec.json.decode(metadata.encode()):
                case [str(form), str(epoch)] if form == _FORMAT:
                    return cls(offset, epoch)
                case [str(form), str(epoch), int(first), int(last)] if form == _FORMAT:
                    return cls(offset, epoch, Bounds(first, last))
                case _:
                    return None
        except msgspec.DecodeError:
            return None


# What happened -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assigned:
    """A partition is ours.

    Attributes:
        assignment: Rises with every assignment; answers to effects of older ones are ignored.
        start, end: First offset the log still holds, and the last stable offset.
        fresh_epoch: Random, for a partition that has none.
    """

    partition: int
    assignment: int
    committed: Committed | None
    start: int
    end: int
    fresh_epoch: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """One record of the log: where it is, how many rows it has, and how long ago their newest
    window ended."""

    offset: int
    rows: int
    behind_ms: int = 0


@dataclass(frozen=True, slots=True)
class Records:
    """Records in their order, and the offset that is read next (behind control records)."""

    partition: int
    assignment: int
    records: tuple[Arrived, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Done:
    """An effect was carried out."""

    partition: int
    assignment: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An effect failed, or its outcome is unknown; the same is to be tried again later."""

    partition: int
    assignment: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """A partition is not ours any more."""

    partition: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Assigned | Records | Done | Failed | Revoked | Tick

# What to do --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seek:
    """Read on from this offset."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Keep this in the consumer group, durably. Answer with Done or Failed."""

    partition: int
    assignment: int
    committed: Committed


@dataclass(frozen=True, slots=True)
class Insert:
    """Insert exactly these records in one block under this token. Answer with Done or Failed."""

    partition: int
    assignment: int
    bounds: Bounds
    token: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Records up to this offset (included) are stored and need not be held."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Report:
    """Something a person should know."""

    partition: int
    message: str


Effect = Seek | Commit | Insert | Forget | Report
