"""What many histories must have met together: a fault that never came proves nothing."""

from __future__ import annotations

from collections import Counter

from streams.testing import POINTS

ANYWHERE = (
    *(f"crash {point}" for point in POINTS),
    "answer lost",
    "commit sent, outcome unknown",
    "disk damaged",
    "disk lost",
    "fault in the middle of a rebalance",
    "hung in the middle of a transaction",
    "late commit counted",
    "late commit was fenced",
    "local write torn",
    "partition came back",
    "partition moved away",
    "produce failed",
    "produce written, answer lost",
    "question lost",
    "registration arrived late",
    "task ended closed",
    "task ended failed",
    "task ended fenced",
    "transaction committed among faults",
    "transaction committed, answer lost",
    "transaction timed out",
    "zombie was fenced",
)
ONE_TASK = (*ANYWHERE, "zombie died")
WITH_STANDBY = (
    *ONE_TASK,
    "standby died",
    "standby died as its owner began",
    "standby's copy taken over",
)
TWO_WORKERS = (
    *ANYWHERE,
    "partition given up unsettled",
    "partition revoked at work",
    "partition revoked in a transaction",
    "task began beside its old owner",
    "task waits for its store",
    "worker came back",
    "worker died at a point",
    "worker exited",
    "worker hung",
    "worker killed",
    "worker killed with the other",
)


def missing(met: Counter[str], wanted: tuple[str, ...] = ANYWHERE) -> list[str]:
    """What no history met."""
    return [name for name in wanted if not met[name]]
