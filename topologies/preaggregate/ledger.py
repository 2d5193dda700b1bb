"""What a task tells `telemetry.ledger`: what became of points and records, and why.

A row is a function of the log up to the record that it was written at, and totals since the
beginning; so the newest row of a source says it all.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from topologies.preaggregate.lateness import Lateness
from topologies.preaggregate.resets import Resets

MOST_DETAILS = 16
"""Different details a definition and reason; what agents write without end counts as OTHER."""
OTHER = "..."


@dataclass(slots=True)
class Counts:
    """What became of points and records."""

    points: int = 0
    late: int = 0
    beyond: int = 0
    rejected: int = 0
    negative: int = 0
    repeats: int = 0
    malformed: int = 0
    joined_late: int = 0
    contradictory: int = 0

    def to_meta(self) -> dict[str, int]:
        """By name; `asdict`, which copies each number, takes ten times as long."""
        return {name: getattr(self, name) for name in self.__slots__}


class Refusal(NamedTuple):
    """Why a stream that a definition names is no member of it: a code, and what it is instead."""

    definition: str
    reason: str
    detail: str


class Refusals:
    """Streams that are no members of a definition that names them, and their points."""

    def __init__(self) -> None:
        self._sets: dict[tuple[Refusal, ...], int] = {(): 0}
        self._of_slot = np.zeros(0, np.int32)
        self._streams = np.zeros(1, np.int64)
        self._tally = np.zeros(1, np.int64)
        self._details: dict[tuple[str, str], set[str]] = {}
        self.points: Counter[Refusal] = Counter()

    def begin(self) -> None:
        """Other definitions are in force: every stream is asked about again."""
        self._settle()
        self._sets, self._tally = {(): 0}, np.zeros(1, np.int64)
        self._streams = np.zeros(1, np.int64)
        self._of_slot = np.zeros(0, np.int32)

    def add_streams(self, first: int, last: int, refused: Mapping[int, Sequence[Refusal]]) -> None:
        """The slots `first` to `last` - 1, with the definitions that refuse them."""
        if last > len(self._of_slot):
            grown = np.zeros(max(last, 2 * len(self._of_slot)), np.int32)
            grown[:first] = self._of_slot[:first]
            self._of_slot = grown
        self._of_slot[first:last] = 0
        for slot, refusals in refused.items():
            key = tuple(self._limited(refusal) for refusal in refusals)
            which = self._of_slot[slot] = self._sets.setdefault(key, len(self._sets))
            if which == len(self._tally):
                self._tally, self._streams = np.append(self._tally, 0), np.append(self._streams, 0)
            self._streams[which] += 1

    def _limited(self, refusal: Refusal) -> Refusal:
        seen = self._details.setdefault((refusal.definition, refusal.reason), set())
        if refusal.detail not in seen and len(seen) >= MOST_DETAILS:
            return refusal._replace(detail=OTHER)
        seen.add(refusal.detail)
        return refusal

    def count(self, slots: npt.NDArray[np.int32]) -> None:
        """Points of these streams have come."""
        if len(self._sets) == 1:
            return
        self._tally += np.bincount(self._of_slot[slots], minlength=len(self._tally))

    def _settle(self) -> None:
        for refusals, which in self._sets.items():
            for refusal in refusals:
                self.points[refusal] += int(self._tally[which])
        self._tally[:] = 0

    def rows(self) -> list[dict[str, Any]]:
        """A row a refusal that is in force, in their order."""
        self._settle()
        streams: Counter[Refusal] = Counter()
        for refusals, which in self._sets.items():
            for refusal in refusals:
                streams[refusal] += int(self._streams[which])
        return [
            {**refusal._asdict(), "streams": streams[refusal], "points": self.points[refusal]}
            for refusal in sorted(streams)
        ]

    def to_meta(self) -> list[list[Any]]:
        """The points, for the state; streams are asked about again."""
        self._settle()
        return [[*refusal, count] for refusal, count in sorted(self.points.items())]

    def restore(self, meta: Sequence[Sequence[Any]]) -> None:
        """What `to_meta` gave."""
        for definition, reason, detail, count in meta:
            self.points[self._limited(Refusal(definition, reason, detail))] = count


class Ledger:
    """Keeps the account of one task."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.refusals = Refusals()
        self.resets = Resets()
        self.lateness = Lateness()
        self._told = ""

    def body(self) -> dict[str, Any]:
        """Everything, for a row and for people."""
        accounts = {"refused": self.refusals.rows(), "resets": self.resets.rows()}
        return {**self.counts.to_meta(), **accounts, "lateness": self.lateness.rows()}

    def news(self, source: str, watermark: int) -> bytes | None:
        """The next row, if it says anything new."""
        body = json.dumps(self.body())
        digest = hashlib.blake2b(body.encode(), digest_size=16).hexdigest()
        if digest == self._told:
            return None
        self._told = digest
        who = json.dumps({"source": source, "watermark": watermark})
        return f"{who[:-1]}, {body[1:]}".encode()

    def to_meta(self) -> dict[str, Any]:
        """For the state."""
        return {
            "counts": self.counts.to_meta(),
            "refused": self.refusals.to_meta(),
            "resets": self.resets.rows(),
            "lateness": self.lateness.rows(),
            "told": self._told,
        }

    def restore(self, meta: Mapping[str, Any]) -> None:
        """What `to_meta` gave."""
        self.counts = Counts(**meta["counts"])
        self.refusals.restore(meta["refused"])
        self.resets.restore(meta["resets"])
        self.lateness.restore(meta["lateness"])
        self._told = meta["told"]
