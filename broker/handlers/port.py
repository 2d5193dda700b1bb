"""What a handler is given and what it may ask of the broker.

A request kind is one file here with a module-level `API`, and one line in `table.py`:

    def handle(broker: Broker, request: Request) -> Fields | None: ...
    API = Api(key=12, name="Heartbeat", min_version=0, max_version=4, handle=handle)

`handle` returns the fields of the response, named as in Kafka's message definitions (snake case,
nested dicts and lists, error codes as numbers), or None when it has arranged for `request.answer(...)`
to be called later; the connection keeps the order of answers by itself. An exception becomes an
answer with error code -1 (unknown server error), and is logged and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from broker.config import BrokerConfig
    from broker.controller.topics import TopicCatalog
    from broker.log.partition import PartitionLog

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

    def answer_raw(self, payload: bytes) -> None:
        """Send an encoded response body; for `raw` kinds."""
        ...

    def answer_nothing(self) -> None:
        """Free the place in the order of answers without sending (Produce with acks=0)."""
        ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Admissions(Protocol):
    """Which producers may append transactional batches where."""

    def admitted(self, producer_id: int, epoch: int, topic: str, partition: int) -> bool: ...


class Broker(Protocol):
    """The running broker as handlers see it."""

    config: BrokerConfig
    catalog: TopicCatalog
    admissions: Admissions
    port: int
    """The port that clients reach, known once listening."""

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

    def when_visible(self, logs: list[PartitionLog], wake: Callable[[], bool]) -> Callable[[], None]:
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

    def topics_changed(self) -> None:
        """Make the catalog durable and open or delete logs to match it."""
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
    advertised_min: int | None = None
    """Lowest version told to clients where that is not the lowest answered (Produce)."""


def field(body: Any, name: str, default: Any = None) -> Any:
    """A field of a decoded message, or the default in versions that do not have it."""
    return getattr(body, name, default)
