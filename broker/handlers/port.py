"""What a handler is given and what it may ask of the broker.

A request kind is one file here with a module-level `API`, and one line in `table.py`:

    def handle(broker: Broker, request: Request) -> Fields | None: ...
    API = Api(key=12, name="Heartbeat", min_version=0, max_version=4, handle=handle)

`handle` returns the fields of the response, named as in Kafka's message definitions (snake case,
nested dicts and lists, error codes as numbers), or None when it has arranged for the request's
`answer(...)` to be called later; the connection keeps the order of answers by itself. An exception
becomes the answer that `Api.failure` makes (by default error code -1, unknown server error), and is
logged and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from broker.config import BrokerConfig
    from broker.controller.topics import TopicCatalog
    from broker.log.partition import PartitionLog
    from broker.records.batch import Refusal

Fields = Mapping[str, Any]


class Request(Protocol):
    """One request. `body` is the decoded message of its version (`broker.protocol.messages`): plain
    attributes in snake case; for an `Api` with `raw=True` a memoryview that is valid during
    `handle` only. `body.x` exists only in the versions that have the field: use `field(body, ...)`.
    """

    id: int
    version: int
    client_id: str | None
    client_host: str
    body: Any

    def answer(self, fields: Fields) -> None:
        """Send the response (once). Later calls, or a connection that is gone: ignored."""
        ...

    def answer_raw(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send an encoded response body, in pieces that nobody changes any more."""
        ...

    def answer_nothing(self) -> None:
        """Free the place in the order of answers without sending (Produce with acks=0)."""
        ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Admissions(Protocol):
    """Which producers may append transactional batches where."""

    def refusal(self, producer_id: int, epoch: int, topic: str, partition: int) -> int:
        """0 if the producer may, else the error code."""
        ...


class Broker(Protocol):
    """The running broker as handlers see it."""

    config: BrokerConfig
    catalog: TopicCatalog
    admissions: Admissions
    cluster_id: str
    apis: list[Api]
    """All request kinds that are answered."""
    port: int
    """The port that clients are told to reach; the host is in `config`."""

    def now_ms(self) -> int:
        """Unix time in milliseconds; never goes back."""
        ...

    def log(self, topic: str, partition: int) -> PartitionLog | None:
        """The open log of a partition, None if there is no such partition."""
        ...

    def when_durable(self, logs: list[PartitionLog], then: Callable[[], None]) -> None:
        """Call `then` once what was appended to `logs` so far survives what the configuration
        promises, or can't (then `log.failed` is set). At once if nothing has to be waited for."""
        ...

    def when_visible(
        self, logs: list[PartitionLog], wake: Callable[[], bool]
    ) -> Callable[[], None]:
        """Call `wake` whenever a reader of one of `logs` may see more, until it returns True.
        Returns a function that forgets the wish."""
        ...

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer: ...

    def new_producer_id(self) -> int:
        """Never the same number twice, also after a crash."""
        ...

    def tell(self, coordinator: str, event: Any) -> None:
        """Hand an event to a coordinator (`broker.coordination`)."""
        ...

    def change_topics(self, change: Callable[[], object]) -> Refusal | None:
        """Run `change` on the catalog, make it durable, open and delete logs to match. If the disk
        refuses, everything is as before and the refusal says why."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """One request kind: its key, the versions it answers, and the function that does."""

    key: int
    name: str
    min_version: int
    max_version: int
    handle: Callable[[Any, Any], Fields | None]
    raw: bool = False
    failure: Callable[[Any], Fields] = lambda body: {"error_code": -1}
    """The answer to a request (its decoded body) whose handler raised."""
    raw_failure: Callable[[memoryview, int], bytes] = lambda body, version: b""
    """The same for `raw` kinds: from body and version to the encoded response."""


def field(body: Any, name: str, default: Any = None) -> Any:
    """A field of a decoded message, or the default in versions that do not have it."""
    return getattr(body, name, default)
