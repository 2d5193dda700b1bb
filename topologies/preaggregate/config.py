"""What pre-aggregation tasks agree on."""

from __future__ import annotations

from dataclasses import dataclass

from streams.event_time.windows import SECOND
from topologies.deployment import Deployment, InForce


@dataclass(frozen=True, slots=True, kw_only=True)
class PreaggregateConfig:
    """What all pre-aggregation tasks of a deployment agree on. Times in ns.

    Attributes:
        deployed: The definitions, and since when each version counts; `InForce` where that may
            change while the process runs.
        live: The time domain whose data moves event time; in all others markers do.
        sources: Partitions of the input topic, that is sources of a time domain (a later epoch's
            topic says by itself how many it has).
        shard_partitions: Partitions of `telemetry.partials`.
        key: Secret that fingerprints are made with.
        stream_gap: Silence after which a stream is unknown.
        settle: How long late points wait for their neighbours before a revision.
        keep_from: Shorter sealed windows are not kept (see `Panes`); fixed by the first state.
        compact_above: Bytes of histogram points that may be held of panes that have sealed.
        forget_above: So many streams may stay when they are gone (see `forgetting`).
    """

    deployed: Deployment | InForce
    live: str = "telemetry.raw"
    sources: int
    shard_partitions: int
    key: bytes
    stream_gap: int = 900 * SECOND
    settle: int = 2 * SECOND
    keep_from: int = 300 * SECOND
    forget_above: int = 1 << 12
    compact_above: int = 1 << 20

    @property
    def wanted(self) -> Deployment:
        """What is in force by now."""
        return self.deployed.now if isinstance(self.deployed, InForce) else self.deployed
