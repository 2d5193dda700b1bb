"""One transactional id: its producer, and its transaction as far as it got."""

from dataclasses import dataclass, replace
from enum import Enum

Partition = tuple[str, int]  # topic, partition

MAX_EPOCH = 32_767  # the epoch is an int16; the last one is kept for fencing


class State(Enum):
    """Where a transaction stands, by Kafka's names.

    | state | comes from | means |
    |---|---|---|
    | Empty | InitProducerId | no transaction yet |
    | Ongoing | AddPartitionsToTxn, AddOffsetsToTxn | partitions may be written |
    | PrepareCommit, PrepareAbort | EndTxn, a time-out, a new owner | decided; markers to come |
    | CompleteCommit, CompleteAbort | all markers written | over; the next may begin |
    """

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


PREPARED = (State.PREPARE_COMMIT, State.PREPARE_ABORT)


@dataclass(frozen=True, slots=True)
class Transaction:
    """The durable value under a transactional id. Times are wall milliseconds.

    `previous`: (producer id, epoch) that the current pair replaced at its owner's own wish: the
    owner may ask again if it never saw the answer (KIP-360).
    `groups`: consumer groups whose positions the transaction commits.
    """

    producer_id: int
    producer_epoch: int
    timeout_ms: int
    updated_ms: int
    state: State = State.EMPTY
    previous: tuple[int, int] | None = None
    partitions: tuple[Partition, ...] = ()
    groups: tuple[str, ...] = ()
    started_ms: int = 0

    @property
    def producer(self) -> tuple[int, int]:
        """(producer id, epoch)."""
        return self.producer_id, self.producer_epoch

    def owned_anew(
        self, fresh_id: int | None, timeout_ms: int, now_ms: int, *, wished: bool
    ) -> "Transaction":
        """The id in the hands of a new owner: next epoch, or `fresh_id` where epochs ran out.

        `wished`: the present owner itself asked for it.
        """
        return Transaction(
            self.producer_id if fresh_id is None else fresh_id,
            self.producer_epoch + 1 if fresh_id is None else 0,
            timeout_ms,
            now_ms,
            previous=self.producer if wished else None,
        )

    def out_of_epochs(self) -> bool:
        """Whether the next epoch would be the one kept for fencing."""
        return self.producer_epoch >= MAX_EPOCH - 1

    def with_partitions(
        self, partitions: tuple[tuple[str, int], ...], now_ms: int
    ) -> "Transaction":
        """Begun if it was not, and with these partitions."""
        known = dict.fromkeys(self.partitions + partitions)
        return replace(self._begun(now_ms), partitions=tuple(known))

    def with_group(self, group_id: str, now_ms: int) -> "Transaction":
        """Begun if it was not, and with this group's offsets."""
        known = dict.fromkeys((*self.groups, group_id))
        return replace(self._begun(now_ms), groups=tuple(known))

    def _begun(self, now_ms: int) -> "Transaction":
        if self.state is State.ONGOING:
            return replace(self, updated_ms=now_ms)
        return replace(
            self,
            state=State.ONGOING,
            previous=None,  # whoever asks under an older epoch from now on is somebody else
            partitions=(),
            groups=(),
            started_ms=now_ms,
            updated_ms=now_ms,
        )

    def prepared(self, now_ms: int, *, commit: bool, fenced: bool) -> "Transaction":
        """Decided; `fenced`: under the next epoch, so that the producer is shut out."""
        return replace(
            self,
            state=State.PREPARE_COMMIT if commit else State.PREPARE_ABORT,
            producer_epoch=self.producer_epoch + 1 if fenced else self.producer_epoch,
            updated_ms=now_ms,
        )

    def completed(self, now_ms: int) -> "Transaction":
        """All markers are written."""
        commit = self.state is State.PREPARE_COMMIT
        return replace(
            self,
            state=State.COMPLETE_COMMIT if commit else State.COMPLETE_ABORT,
            partitions=(),
            groups=(),
            updated_ms=now_ms,
        )
