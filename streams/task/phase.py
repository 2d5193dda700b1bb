"""Where a task is in its life."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """See the diagram in `task.py`."""

    CREATED = "created"
    FENCING = "fencing"
    RESTORING = "restoring"
    LOADING = "loading"
    REPLAYING = "replaying"
    RUNNING = "running"
    RESTARTING = "restarting"
    SUSPENDED = "suspended"
    CLOSING = "closing"
    CLOSED = "closed"
    FENCED = "fenced"
    FAILED = "failed"


ENDED = (Phase.CLOSED, Phase.FENCED, Phase.FAILED)
PROCESSING = (Phase.REPLAYING, Phase.RUNNING)
