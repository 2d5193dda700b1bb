"""The broker's data folder: its version, its lock, and the small files in it.

VERSION           "1\\n"; another version is refused
lock              held while a broker runs (flock: a dead process holds nothing)
node.json         cluster id and the next block of producer ids
topics.json       the topic table
logs/<topic>/<id>.<partition>/    segments, indexes, producers' state
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from broker.controller.topics import Topic, TopicCatalog
from broker.runtime.os_disk import OsDisk

VERSION = "1\n"
PRODUCER_ID_BLOCK = 1000
LOGS = "logs"
TOPICS = "topics.json"
NODE = "node.json"


class DataFolderError(Exception):
    """The folder can't be used; the message says why and what to do."""


def log_folder(topic: Topic, partition: int) -> str:
    """Where a partition's log is. The id keeps a topic made again apart from its predecessor."""
    return f"{LOGS}/{topic.name}/{topic.id.hex[:8]}.{partition}"


class DataFolder:
    """An opened and locked data folder."""

    def __init__(self, path: Path) -> None:
        """Raises DataFolderError if the folder is locked or of another version, OSError if the
        disk refuses."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.disk = OsDisk(path)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            self._take_lock()
            self._check_version()
            self._read_node()
        except BaseException:
            os.close(self._lock)
            raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            raise DataFolderError(
                f"{self.path} is in use by another broker (process {holder or 'unknown'}). "
                "Stop it, or give this one another --data folder."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _check_version(self) -> None:
        found = self.disk.read("VERSION")
        if found is None:
            strangers = [name for name in self.disk.names("") if name != "lock"]
            if strangers:
                raise DataFolderError(
                    f"{self.path} has no VERSION file but holds {strangers[0]!r}: it is not a "
                    "broker's data folder. Give --data an empty or new folder."
                )
            self.disk.replace("VERSION", VERSION.encode())
        elif found.decode(errors="replace") != VERSION:
            raise DataFolderError(
                f"{self.path} was written by version {found.decode(errors='replace').strip()!r} of "
                f"the data format; this broker reads version {VERSION.strip()}. Use the broker "
                "that wrote it, or another --data folder."
            )

    def _read_node(self) -> None:
        data = self.disk.read(NODE)
        state: dict[str, Any] = json.loads(data) if data is not None else {}
        self.cluster_id: str = state.get("cluster_id") or uuid4().hex[:22]
        self._next_producer_id: int = state.get("next_producer_id", 1)
        self._producer_ids_end = self._next_producer_id
        if data is None:
            self._write_node()

    def _write_node(self) -> None:
        state = {"cluster_id": self.cluster_id, "next_producer_id": self._producer_ids_end}
        self.disk.replace(NODE, (json.dumps(state) + "\n").encode())

    def new_producer_id(self) -> int:
        """The next producer id; a block of them is reserved on disk first."""
        if self._next_producer_id == self._producer_ids_end:
            self._producer_ids_end += PRODUCER_ID_BLOCK
            try:
                self._write_node()
            except OSError:
                self._producer_ids_end -= PRODUCER_ID_BLOCK
                raise
        self._next_producer_id += 1
        return self._next_producer_id - 1

    def read_topics(self, catalog: TopicCatalog) -> None:
        """Restore the topic table. DataFolderError if it is missing while there are logs."""
        data = self.disk.read(TOPICS)
        if data is not None:
            catalog.restore(data)
        elif self.disk.names(LOGS):
            raise DataFolderError(
                f"{self.path / TOPICS} is missing but {self.path / LOGS} holds logs. Restore the "
                "file from a backup, or move the logs away to start empty."
            )

    def write_topics(self, catalog: TopicCatalog) -> None:
        self.disk.replace(TOPICS, catalog.encode())

    def remove_strays(self, topics: Iterable[Topic]) -> None:
        """Remove logs that belong to no topic (a crash while topics were made or deleted)."""
        known = {log_folder(topic, index) for topic in topics for index in range(topic.partitions)}
        for name in self.disk.names(LOGS):
            folders = [f"{LOGS}/{name}/{part}" for part in self.disk.names(f"{LOGS}/{name}")]
            for folder in folders:
                if folder not in known:
                    self.disk.remove_folder(folder)
            if not any(folder in known for folder in folders):
                self.disk.remove_folder(f"{LOGS}/{name}")

    def close(self) -> None:
        os.close(self._lock)
