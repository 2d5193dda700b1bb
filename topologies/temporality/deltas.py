"""Cumulative to delta for histograms: the cores an engine calls where it calls `fold` for numbers.

A core holds base lines by stream; `advance` takes the samples of a pane, in any order, and gives
what each contributes. Every number is a function of the set of samples: README.md has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from streams.aggregates.explicit import ExplicitPoints
from streams.aggregates.exponential_points import ExponentialPoints
from streams.aggregates.pooled import damaged, open_sealed, seal
from streams.event_time.windows import EARLIEST, LATEST, SECOND
from streams.kernels.sequence import NOTICE_WIDTH
from topologies.temporality.chain import Chain, Contributions, Kind, Loaded
from topologies.temporality.samples import Samples, explicit_at, exponential_at

I64 = npt.NDArray[np.int64]
P = TypeVar("P", ExplicitPoints, ExponentialPoints)

_NAME, _VERSION = "explicit histogram deltas", 1


@dataclass(frozen=True, slots=True)
class Advance:
    """What a pane's samples add, and what was noticed about them.

    Attributes:
        contributions: One for each kind of buckets; within it by stream and time.
        notices: i64[n, NOTICE_WIDTH] of `streams.kernels.sequence`: stream, kind, time; in order.
    """

    contributions: tuple[Contributions, ...]
    notices: I64


class ExponentialDeltas:
    """Cumulative exponential histograms become deltas.

    Args:
        pane: ns; a first sample whose start lies in its own window of this size counts whole.
        gap: ns; a stream that was silent for longer is unknown.
    """

    def __init__(self, pane: int = 10 * SECOND, gap: int = 15 * 60 * SECOND) -> None:
        self._chain = Chain(Kind.exponential(), pane, gap)

    def advance(
        self, samples: Samples[ExponentialPoints], after: int = EARLIEST, until: int = LATEST
    ) -> Advance:
        """What samples in (after, until] contribute; base lines move on to the last up to `until`.

        All samples are later than their stream's base line; those up to `after` contribute nothing,
        and points without a recorded value are passed over.

        Raises:
            Rejected: A point contradicts itself; nothing has changed.
        """
        contributions, notices = self._chain.advance(self._loaded(samples), after, until)
        return Advance((contributions,), _in_order([notices]))

    def raise_lines(self, samples: Samples[ExponentialPoints]) -> None:
        """Samples that came late: where they are the last of their stream, the base line."""
        self._chain.raise_lines(self._loaded(samples))

    def forget(self, before: int) -> None:
        """Drop base lines with a time before this: the streams are unknown."""
        self._chain.forget(before)

    def renumber(self, now: I64) -> None:
        """Stream s is now[s] from now on; -1: it is gone."""
        self._chain.renumber(now)

    def encode(self) -> bytes:
        """The base lines."""
        return self._chain.encode()

    def restore(self, data: bytes) -> None:
        """The base lines of `encode`; UnreadableState if they are of another version or damaged."""
        self._chain.restore(data)

    def _loaded(self, samples: Samples[ExponentialPoints]) -> Loaded:
        at = np.flatnonzero(samples.recorded)
        points = samples.points
        if len(at) < len(samples):
            points = exponential_at(points, at)
        columns = (samples.streams[at], samples.starts[at], samples.times[at])
        return Loaded.of(self._chain.kind, *columns, points)


class ExplicitDeltas:
    """Cumulative explicit histograms become deltas. Those with other bounds are another stream.

    Arguments and methods as `ExponentialDeltas`.
    """

    def __init__(self, pane: int = 10 * SECOND, gap: int = 15 * 60 * SECOND) -> None:
        self._pane = pane
        self._gap = gap
        self._chains: dict[bytes, Chain] = {}

    def advance(
        self, samples: Samples[ExplicitPoints], after: int = EARLIEST, until: int = LATEST
    ) -> Advance:
        """As `ExponentialDeltas.advance`."""
        found: list[Contributions] = []
        notices: list[I64] = []
        for chain, loaded in self._loaded(samples):
            contributions, noticed = chain.advance(loaded, after, until)
            found.append(contributions)
            notices.append(noticed)
        return Advance(tuple(found), _in_order(notices))

    def raise_lines(self, samples: Samples[ExplicitPoints]) -> None:
        """As `ExponentialDeltas.raise_lines`."""
        for chain, loaded in self._loaded(samples):
            chain.raise_lines(loaded)

    def forget(self, before: int) -> None:
        """As `ExponentialDeltas.forget`."""
        for bounds, chain in list(self._chains.items()):
            chain.forget(before)
            if not len(chain):
                del self._chains[bounds]

    def renumber(self, now: I64) -> None:
        """As `ExponentialDeltas.renumber`."""
        for chain in self._chains.values():
            chain.renumber(now)

    def encode(self) -> bytes:
        """The base lines."""
        chains = [(key, c.encode()) for key, c in sorted(self._chains.items()) if len(c)]
        sizes = np.array([[len(key), len(chain)] for key, chain in chains], "<i8")
        keys, parts = (b"".join(each[side] for each in chains) for side in (0, 1))
        return seal(_NAME, _VERSION, len(chains), sizes.tobytes(), keys, parts)

    def restore(self, data: bytes) -> None:
        """As `ExponentialDeltas.restore`."""
        n, (sizes, keys, parts) = open_sealed(_NAME, _VERSION, data, 3)
        if len(sizes) != 16 * n:
            raise damaged(_NAME, "their number is another")
        self._chains, key_at, at = {}, 0, 0
        for key_size, size in np.frombuffer(sizes, "<i8").reshape(n, 2).tolist():
            key = keys[key_at : key_at + key_size]
            chain = Chain(Kind.explicit(np.frombuffer(key).tolist()), self._pane, self._gap)
            chain.restore(parts[at : at + size])
            self._chains[key] = chain
            key_at, at = key_at + key_size, at + size

    def _loaded(self, samples: Samples[ExplicitPoints]) -> list[tuple[Chain, Loaded]]:
        """The recorded samples of each bounds, with their chain; by bounds."""
        at = np.flatnonzero(samples.recorded)
        found: list[tuple[Chain, Loaded]] = []
        for key, places in sorted(_by_bounds(samples.points, at).items()):
            chain = self._chains.get(key)
            if chain is None:
                chain = Chain(Kind.explicit(np.frombuffer(key).tolist()), self._pane, self._gap)
            columns = (samples.streams[places], samples.starts[places], samples.times[places])
            points = explicit_at(samples.points, places)
            found.append((chain, Loaded.of(chain.kind, *columns, points)))
            self._chains[key] = chain
        return found


def _by_bounds(points: ExplicitPoints, at: I64) -> dict[bytes, I64]:
    """The places among `at` of points with the same bounds, by the bounds' bytes."""
    bounds = points.bounds + 0.0  # no -0.0
    sizes = np.diff(points.bound_offsets)
    if len(at) and bool((sizes == sizes[0]).all()):
        table = bounds.reshape(len(sizes), -1)
        if bool((table == table[0]).all()):
            return {table[0].tobytes(): at}
    offsets, raw = points.bound_offsets.tolist(), bounds.tobytes()
    found: dict[bytes, list[int]] = {}
    for j in at.tolist():
        found.setdefault(raw[8 * offsets[j] : 8 * offsets[j + 1]], []).append(j)
    return {key: np.array(places, np.int64) for key, places in found.items()}


def _in_order(notices: list[I64]) -> I64:
    every = np.concatenate([np.empty((0, NOTICE_WIDTH), np.int64), *notices])
    return every[np.lexsort((every[:, 1], every[:, 2], every[:, 0]))]
