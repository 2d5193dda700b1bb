"""The port between a coordinator's core and the broker that runs it.

A coordinator (consumer groups, transactions) is a pure object. It owns one internal topic, takes
one event and the time, and returns effects; it never awaits, reads no clock and raises for nothing
that can happen. `broker.runtime.coordinators` runs it and promises:

- **Start.** Every record of the coordinator's topic goes to `replay` in the order it was appended
  (later ones replace earlier ones of the same key; compaction may have dropped the earlier ones),
  then one `Restored` event arrives; only after that do requests.
- **Append.** Records are appended at once, in the order of the effects, and `Appended(token)` comes
  when they are durable (group-committed fsync). A client may be told of a change only after that.
  If the disk refuses, `AppendFailed(token, error)` comes instead; it will not be replayed, unless
  it was the sync that failed (then the log takes nothing more until the broker is restarted).
- **Answer.** A handler passes `request.id` inside its event; the core answers it now or any time
  later with `Answer(request_id, fields)`. A connection's answers leave in the order of its
  requests, whoever finishes first; other connections do not wait. Each request is answered once.
- **Timers.** `SetTimer(name, at_ms)` replaces the timer of that name; `TimerFired(name)` comes not
  before that time. `now_ms` never goes back.
- **Markers.** `WriteMarkers` appends a COMMIT or ABORT control batch to each partition's log (for a
  partition that is unknown by then, nothing), and `MarkersWritten(token, failed)` comes when the
  others are durable and visible.
- **Admission.** A transactional batch is appended only while its (producer id, epoch, partition)
  is admitted. Emit `Admit` before the answer to AddPartitionsToTxn, and `Dismiss` together with the
  append that prepares the end of the transaction. Admissions are not durable: emit `Admit` again
  for each open transaction on `Restored`.
- **Tell.** `Tell(name, event)` hands an event to another coordinator, after the current effects.

How a handler uses it (one file a request kind in `broker/handlers`, registered in `table.py`):

    def handle(broker: Broker, request: Request) -> None:
        body = request.body                      # decoded message, see broker.protocol.messages
        broker.tell("groups", Heartbeat(request.id, body.group_id, body.generation_id, ...))

and in the core's `step`:  `return [Answer(event.request_id, {"error_code": 0})]`.
Answer fields are named as in Kafka's message definitions (snake case; nested ones are dicts and
lists); fields that the request's version does not have are left out, missing ones take defaults.

A coordinator is registered in `broker/runtime/registry.py`: name -> factory.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One opaque record of a coordinator's topic; a value of None forgets the key."""

    key: bytes
    value: bytes | None


# --- events the broker feeds to every coordinator (each has kinds of its own besides) -------------


@dataclass(frozen=True, slots=True)
class Restored:
    """The whole topic was replayed; requests follow."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The records of `Append(token=...)` are durable."""

    token: Hashable


@dataclass(frozen=True, slots=True)
class AppendFailed:
    """The records of `Append(token=...)` were not appended. `error` is a Kafka error code."""

    token: Hashable
    error: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    name: Hashable


@dataclass(frozen=True, slots=True)
class MarkersWritten:
    """`failed`: partitions whose log refused the marker (disk error); ask again later."""

    token: Hashable
    failed: tuple[tuple[str, int], ...]


# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Append:
    records: Sequence[Record]
    token: Hashable


@dataclass(frozen=True, slots=True)
class Answer:
    request_id: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetTimer:
    name: Hashable
    at_ms: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    name: Hashable


@dataclass(frozen=True, slots=True)
class WriteMarkers:
    token: Hashable
    producer_id: int
    producer_epoch: int
    commit: bool
    partitions: tuple[tuple[str, int], ...]
    coordinator_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Admit:
    """Let batches of this producer and epoch into these partitions (added to those before).

    Another epoch of the same producer id replaces everything admitted before."""

    producer_id: int
    producer_epoch: int
    partitions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Refuse transactional batches of this producer id from now on."""

    producer_id: int


@dataclass(frozen=True, slots=True)
class Tell:
    coordinator: str
    event: Any


Effect = Append | Answer | SetTimer | CancelTimer | WriteMarkers | Admit | Dismiss | Tell


class Coordinator(Protocol):
    """What a core looks like to the broker."""

    topic: str
    """The internal topic it owns, e.g. `__consumer_offsets`; one partition, kept by key."""

    def replay(self, record: Record) -> None:
        """Take one record of the topic at start."""
        ...

    def step(self, event: Any, now_ms: int) -> list[Effect]:
        """Take one event; `now_ms` is Unix time in milliseconds that never goes back."""
        ...


class Services(Protocol):
    """What a coordinator's core may ask for at once, without an effect. Pure look-ups, except that
    `new_producer_id` never gives the same number twice, also after a crash."""

    node_id: int

    def new_producer_id(self) -> int: ...

    def partition_exists(self, topic: str, partition: int) -> bool: ...
