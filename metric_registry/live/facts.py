"""What was seen of one definition in traffic: numbers, and an example of each (C).

Who gathers it is `topologies/observe`; what contradicts the definition is `rules.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Looked:
    """How much was looked at. Times are unix ns, 0 if there are no points."""

    requests: int
    points: int
    streams: int
    repeats: int
    malformed: int
    first: int
    last: int
    metrics: tuple[str, ...]
    """Names of all metrics, sorted."""
    summaries: frozenset[str]
    """Those that are sent as quantiles, which nobody counts."""
    received: bool
    """Whether it is known when requests came."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, and one of them."""

    count: int
    of: int
    example: str = ""


@dataclass(frozen=True, slots=True)
class RefusedStreams:
    """Streams that the definition names and cannot count. `reason` is a code of the ledger's."""

    reason: str
    detail: str
    streams: int
    points: int
    example: str


@dataclass(frozen=True, slots=True)
class SentTwice:
    """Resources that send several of the definition's names at a time, into one group."""

    names: tuple[str, ...]
    resources: int
    example: str


@dataclass(frozen=True, slots=True)
class MostGroups:
    """The greatest number of groups that a tenant had in a window, of any granularity."""

    granularity: str
    groups: int
    tenant: str
    end: int


@dataclass(frozen=True, slots=True)
class Late:
    """How late points came. Times are ns."""

    points: int = 0
    late: int = 0
    """Those whose window had been sealed, also those that are lost."""
    beyond: int = 0
    """Those that came later than `corrections`."""
    grace_99: int = 0
    """The grace, in whole seconds, under which 99 % of all points would be in time."""
    grace_999: int = 0
    most: int = 0
    example: str = ""
    example_beyond: str = ""


@dataclass(frozen=True, slots=True)
class Sparse:
    """Streams whose samples are usually further apart than the finest windows are long."""

    streams: Share
    interval_ns: int


@dataclass(frozen=True, slots=True)
class Waited:
    """Windows of the finest size that were sealed while somebody looked. Times are ns."""

    windows: int
    longer: int
    """Those that were sealed later than the freshness that is promised."""
    longest: int
    end: int
    """Of the window that waited longest."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of a definition."""

    sources: Mapping[str, int]
    """A name or a pattern that it reads, and how many streams have it."""
    values: Mapping[str, Mapping[str | None, int]]
    """Of each attribute of `where`: its values among these streams, and how many have them; None:
    no value."""
    passing: int
    """Streams that meet all conditions."""
    counted: int
    """Streams that are counted."""
    refused: tuple[RefusedStreams, ...] = ()
    units: Mapping[str, Share] = field(default_factory=dict[str, Share])
    """Units that are not the one stated, and whose values are converted."""
    lacking: Mapping[str, Share] = field(default_factory=dict[str, Share])
    """Of a kept attribute: streams that have none."""
    by_default: Mapping[str, Share] = field(default_factory=dict[str, Share])
    """Of an attribute that is made: streams for which its default stands in."""
    twice: tuple[SentTwice, ...] = ()
    groups: MostGroups | None = None
    late: Late = Late()
    ahead: Share = Share(0, 0)
    negative: Share = Share(0, 0)
    sparse: Sparse | None = None
    sequence: Mapping[str, Share] = field(default_factory=dict[str, Share])
    """Samples of cumulative streams by how they follow the one before: `decreased`, `overlap`,
    `gap`, `tie`, `restart`."""
    waited: Waited | None = None
    """None: nobody knows when requests came, or no window was sealed."""
