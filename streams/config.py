"""What a worker, a topology and a task are told. Validated here, passed in, read nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from streams.task.processor import ProcessorFactory

Guarantee = Literal["exactly_once", "at_least_once"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How one task behaves. Times are milliseconds.

    `commit_interval_ms`: how long outputs and position wait for a transaction at most.
    `snapshot_interval_ms`: how often state blocks ride along; 0: with every transaction. Longer
    means less to write and more to replay after a crash; results are the same.
    `idle_after_ms`: how long a partition stays at its last stable offset before it counts as idle.
    `batch_*` bound one call of `process`, `buffer_*` the input fetched ahead of it.
    `lost_input`: when the log no longer holds the input that is wanted, `stop` the worker or `skip`
    what is missing.
    """

    commit_interval_ms: int = 250
    snapshot_interval_ms: int = 10_000
    idle_after_ms: int = 1_000
    batch_records: int = 256
    batch_bytes: int = 8 << 20
    buffer_records: int = 512
    buffer_bytes: int = 32 << 20
    retry_backoff_ms: int = 500
    give_up_after_ms: int = 120_000
    lost_input: Literal["stop", "skip"] = "stop"
    dead_letter_topic: str = "telemetry.dead-letter"

    def __post_init__(self) -> None:
        for name in ("commit_interval_ms", "idle_after_ms", "batch_records", "buffer_records"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.snapshot_interval_ms < 0:
            raise ValueError("snapshot_interval_ms must be 0 (every commit) or more")


@dataclass(frozen=True, slots=True)
class Topology:
    """A named computation over the partitions of some topics; one task a topic partition.

    Give `topics` (names) or `pattern` (a regular expression that a whole topic name must match;
    topics that appear later join at run time). `partitions`: how many every input topic must have,
    where results depend on it; a worker that meets another number stops. None: any number, and so
    for topics whose whole name matches the regular expression `any_number`. `version`: of what is
    stored, as its author counts; a task does not go back to workers of a lower one.
    """

    name: str
    factory: ProcessorFactory
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    settings: TaskSettings = field(default_factory=TaskSettings)
    partitions: int | None = None
    any_number: str | None = None
    version: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"topology name {self.name!r}: lower case letters, digits, . _ - only")
        if bool(self.topics) == (self.pattern is not None):
            raise ValueError(f"topology {self.name!r}: give either topics or a pattern")
        if self.pattern is not None:
            re.compile(self.pattern)

    def partitions_of(self, topic: str) -> int | None:
        """How many partitions the topic must have; None: any number."""
        free = self.any_number is not None and re.fullmatch(self.any_number, topic) is not None
        return None if free else self.partitions

    def reads(self, topic: str) -> bool:
        """Whether the topology has tasks on this topic."""
        if self.pattern is not None:
            return re.fullmatch(self.pattern, topic) is not None
        return topic in self.topics


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a worker process behaves. Times are milliseconds, sizes bytes.

    `app` prefixes consumer groups, transactional ids and changelogs. `state_dir` None keeps state
    in memory; it is restored from the changelog after every restart.
    `commit_timeout_ms` must stay below `transaction_timeout_ms`: past it a commit's outcome is
    unknown and the worker exits. `drain_ms` bounds the last commit of a stop, `handover_ms` that of
    a rebalance, for which the other members wait: a task that is busy for longer goes back to its
    last commit.
    `standby_replicas`: how many other processes keep a copy of each task's state, as far as there
    are so many; needs a `state_dir`.
    `heartbeat_interval_ms`: so long a member may go on before it hears of a rebalance.
    `metadata_max_age_ms`: so long a member of a group may not know of new partitions.
    `fetch_max_wait_ms`: so long the log keeps a fetch for which it has nothing; 250 at least where
    nothing came for two seconds.
    `guarantee`: of what is written. With `at_least_once` outputs are written outside transactions,
    seen at once, and after a crash again: those since the last snapshot. See `streams/task`.
    """

    app: str
    bootstrap_servers: str
    state_dir: Path | None
    client_id: str = "tidemill-worker"
    web_host: str = "127.0.0.1"
    web_port: int = 6066
    session_timeout_ms: int = 6_000
    heartbeat_interval_ms: int = 300
    rebalance_timeout_ms: int = 60_000
    metadata_max_age_ms: int = 2_000
    request_timeout_ms: int = 15_000
    transaction_timeout_ms: int = 30_000
    commit_timeout_ms: int = 20_000
    drain_ms: int = 5_000
    handover_ms: int = 20_000
    fetch_max_wait_ms: int = 100
    partition_fetch_bytes: int = 4 << 20
    fetch_bytes: int = 16 << 20
    max_request_bytes: int = 8 << 20
    batch_bytes: int = 1 << 20
    changelog_replication: int = 1
    compute_threads: int = 1
    standby_replicas: int = 0
    guarantee: Guarantee = "exactly_once"
    queries: bool | None = None
    advertised: str | None = None

    @property
    def answers(self) -> bool:
        """Whether the stores can be asked."""
        local = self.web_host == "localhost" or self.web_host.startswith("127.")
        return local or self.web_host == "::1" if self.queries is None else self.queries

    @property
    def endpoint(self) -> str:
        """Where others ask this worker; empty: nowhere."""
        if not self.answers:
            return ""
        return self.advertised or f"{self.web_host}:{self.web_port}"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.app):
            raise ValueError(f"app name {self.app!r}: lower case letters, digits, . _ - only")
        if self.guarantee not in get_args(Guarantee):
            known = " or ".join(get_args(Guarantee))
            raise ValueError(f"guarantee {self.guarantee!r}: it is {known}")
        if self.commit_timeout_ms >= self.transaction_timeout_ms:
            raise ValueError("commit_timeout_ms must be shorter than transaction_timeout_ms")
        if self.standby_replicas < 0:
            raise ValueError("standby_replicas must be 0 or more")
        if self.standby_replicas and self.state_dir is None:
            raise ValueError("standby_replicas needs a state_dir")
        if self.handover_ms >= self.rebalance_timeout_ms:
            raise ValueError("handover_ms must be shorter than rebalance_timeout_ms")
