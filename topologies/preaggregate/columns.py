"""Points of known streams as columns, and what definitions must share to share panes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PaneKey:
    """What definitions must share to share panes. All in nanoseconds."""

    pane: int
    grace: int
    corrections: int

    def text(self) -> str:
        """A name for messages and state: `pane/grace/corrections`."""
        return f"{self.pane}/{self.grace}/{self.corrections}"

    @classmethod
    def parse(cls, text: str) -> PaneKey:
        pane, grace, corrections = (int(part) for part in text.split("/"))
        return cls(pane, grace, corrections)


@dataclass(frozen=True, slots=True)
class PointColumns:
    """Points of known streams: slots i32[n]; times, starts, raws i64[n]; metas u8[n]."""

    slots: I32
    times: I64
    starts: I64
    raws: I64
    metas: U8

    def __len__(self) -> int:
        return len(self.slots)

    def where(self, mask: npt.NDArray[np.bool_]) -> PointColumns:
        """The points for which the mask holds."""
        return PointColumns(
            self.slots[mask],
            self.times[mask],
            self.starts[mask],
            self.raws[mask],
            self.metas[mask],
        )

    def slice(self, first: int, end: int) -> PointColumns:
        """The points from `first` up to, without, `end`: views."""
        return PointColumns(
            self.slots[first:end],
            self.times[first:end],
            self.starts[first:end],
            self.raws[first:end],
            self.metas[first:end],
        )

    @classmethod
    def join(cls, parts: Iterable[PointColumns]) -> PointColumns:
        """All points of the parts, in their order."""
        chosen = list(parts)
        if len(chosen) == 1:
            return chosen[0]
        return cls(
            np.concatenate([part.slots for part in chosen] or [np.zeros(0, np.int32)]),
            np.concatenate([part.times for part in chosen] or [np.zeros(0, np.int64)]),
            np.concatenate([part.starts for part in chosen] or [np.zeros(0, np.int64)]),
            np.concatenate([part.raws for part in chosen] or [np.zeros(0, np.int64)]),
            np.concatenate([part.metas for part in chosen] or [np.zeros(0, np.uint8)]),
        )


class Late(NamedTuple):
    """A late point that has not settled: its stream, time, record, and kind."""

    slot: int
    time: int
    offset: int
    cumulative: bool


@dataclass(frozen=True, slots=True)
class Members:
    """Entries of streams in the cells of definitions.

    slot i64[n], definition u16[n], kind u8[n] (`members.kind_of`),
    group i32[n], tenant i64[n], see `groups.Groups`.
    """

    slot: I64
    definition: npt.NDArray[np.uint16]
    kind: npt.NDArray[np.uint8]
    group: npt.NDArray[np.int32]
    tenant: I64

    def of(self, definitions: Iterable[int]) -> Members:
        """The entries of these definitions."""
        return self._chosen(np.isin(self.definition, np.fromiter(definitions, np.int64)))

    def in_slots(self, slots: I64) -> Members:
        """The same of other slots, in order of slot."""
        order = np.argsort(slots, kind="stable")
        return replace(self._chosen(order), slot=slots[order])

    def slice(self, first: int, end: int) -> Members:
        """The entries from `first` up to, without, `end`."""
        return self._chosen(slice(first, end))

    @classmethod
    def join(cls, parts: Iterable[Members]) -> Members:
        """The entries of all parts, in their order."""
        chosen = list(parts)
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(part.slot for part in chosen)]),
            np.concatenate([np.zeros(0, np.uint16), *(part.definition for part in chosen)]),
            np.concatenate([np.zeros(0, np.uint8), *(part.kind for part in chosen)]),
            np.concatenate([np.zeros(0, np.int32), *(part.group for part in chosen)]),
            np.concatenate([np.zeros(0, np.int64), *(part.tenant for part in chosen)]),
        )

    def _chosen(self, rows: npt.NDArray[Any] | slice) -> Members:
        return Members(
            self.slot[rows], self.definition[rows], self.kind[rows], self.group[rows],
            self.tenant[rows],
        )  # fmt: skip
