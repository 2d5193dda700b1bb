"""The local state of a task of this worker: in its state folder, or in memory."""

from __future__ import annotations

from streams.config import WorkerConfig
from streams.state.rocks import RocksStore
from streams.state.store import MemoryStore, StateStore
from streams.task.events import TaskId


def open_store(config: WorkerConfig, task: TaskId) -> StateStore:
    """Opens it; one at a time has a task's folder open. Raises `Fatal`."""
    if config.state_dir is None:
        return MemoryStore()
    return RocksStore(config.state_dir / task.topology / task.topic / str(task.partition))
