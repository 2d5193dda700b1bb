"""The transaction coordinator: every transactional id, as a core behind `broker.coordination`."""

from dataclasses import dataclass, replace
from typing import Any

from kio.schema.errors import ErrorCode

from broker.coordination import (
    Admit,
    Answer,
    Appended,
    AppendFailed,
    CancelTimer,
    Dismiss,
    Effect,
    MarkersWritten,
    Record,
    Restored,
    Services,
    SetTimer,
    Tell,
    TimerFired,
    WriteMarkers,
)
from broker.groups.answers import committed
from broker.groups.events import OffsetsDecided, TransactionEnded
from broker.groups.outbox import RETRY_TIMER, Outbox
from broker.transactions import answers
from broker.transactions import events as on
from broker.transactions.config import TransactionConfig
from broker.transactions.rows import decode_key, decode_value, record
from broker.transactions.transaction import PREPARED, State, Transaction

EXPIRY_TIMER = "expiry"


@dataclass(slots=True)
class Ending:
    """A decided transaction: what is still to be heard of, and who waits for it.

    Reports name it by the token (transactional id, producer id, epoch).
    """

    partitions: set[tuple[str, int]]
    offsets: bool
    request_id: int | None = None


class TransactionCoordinator:
    """Owners, partitions, outcomes. See README.md for inputs, effects, invariants."""

    topic = "__transaction_state"

    def __init__(self, config: TransactionConfig, services: Services) -> None:
        self._config = config
        self._services = services
        self._outbox = Outbox()
        self._transactions: dict[str, Transaction] = {}
        self._endings: dict[str, Ending] = {}

    def replay(self, record: Record) -> None:
        """Take one durable record, in the order they were appended."""
        transactional_id = decode_key(record.key)
        if record.value is None:
            self._transactions.pop(transactional_id, None)
        else:
            self._transactions[transactional_id] = decode_value(record.value)

    def step(self, event: Any, now_ms: int) -> list[Effect]:
        """Take one event of `broker.transactions.events` or `broker.coordination`."""
        match event:
            case Appended() | AppendFailed():
                return self._outbox.settle(event, now_ms)
            case TimerFired(name) if name == RETRY_TIMER:
                return self._outbox.settle(event, now_ms)
            case Restored():
                self._restored(now_ms)
            case TimerFired(("timeout", str(transactional_id))):
                self._timed_out(transactional_id, now_ms)
            case TimerFired(("markers", str(transactional_id))):
                self._write_markers(transactional_id)
            case TimerFired():
                self._expire_ids(now_ms)
            case MarkersWritten(token, failed):
                self._markers_written(token, failed, now_ms)
            case OffsetsDecided(token):
                self._offsets_decided(token, now_ms)
            case _:
                self._request(event, now_ms)
        return self._outbox.flush()

    def _request(self, event: on.Event, now_ms: int) -> None:
        match event:
            case on.InitProducerId():
                self._init_producer_id(event, now_ms)
            case on.AddPartitions():
                self._add_partitions(event, now_ms)
            case on.AddOffsets():
                self._add_offsets(event, now_ms)
            case on.CommitOffsets():
                self._commit_offsets(event)
            case on.EndTransaction():
                self._end(event, now_ms)

    # --- who owns a transactional id ---

    def _init_producer_id(self, event: on.InitProducerId, now_ms: int) -> None:
        fields = self._own(event, now_ms)
        if isinstance(fields, ErrorCode):
            fields = answers.init_refused(fields)
        self._outbox.tell(Answer(event.request_id, fields))

    def _own(self, event: on.InitProducerId, now_ms: int) -> ErrorCode | answers.Fields:
        if not event.transactional_id:
            return ErrorCode.invalid_request
        if not 0 < event.timeout_ms <= self._config.max_timeout_ms:
            return ErrorCode.invalid_transaction_timeout
        known = self._transactions.get(event.transactional_id)
        if known is None:
            producer_id = self._services.new_producer_id()
            first = Transaction(producer_id, 0, event.timeout_ms, now_ms)
            return self._owned(event.transactional_id, first)
        wanted = (event.producer_id, event.producer_epoch)
        wished = event.producer_id >= 0
        if wished and wanted not in (known.producer, known.previous):
            return answers.fenced(knows_fenced=event.knows_fenced)
        if known.state in PREPARED:
            return ErrorCode.concurrent_transactions
        if wished and wanted == known.previous:
            return answers.initialised(*known.producer)  # it asks again: the same answer
        if known.state is State.ONGOING:
            self._decide(event.transactional_id, known, now_ms, commit=False, fenced=True)
            return ErrorCode.concurrent_transactions
        fresh_id = self._services.new_producer_id() if known.out_of_epochs() else None
        new = known.owned_anew(fresh_id, event.timeout_ms, now_ms, wished=wished)
        return self._owned(event.transactional_id, new)

    def _owned(self, transactional_id: str, transaction: Transaction) -> answers.Fields:
        self._keep(transactional_id, transaction)
        return answers.initialised(*transaction.producer)

    def _check_owner(
        self, transactional_id: str, producer_id: int, epoch: int, *, knows_fenced: bool
    ) -> Transaction | ErrorCode:
        """The transaction a request speaks for, or why it may not."""
        if not transactional_id:
            return ErrorCode.invalid_request
        transaction = self._transactions.get(transactional_id)
        if transaction is None or transaction.producer_id != producer_id:
            return ErrorCode.invalid_producer_id_mapping
        if transaction.producer_epoch != epoch:
            return answers.fenced(knows_fenced=knows_fenced)
        return transaction

    # --- what a transaction touches ---

    def _add_partitions(self, event: on.AddPartitions, now_ms: int) -> None:
        exists = self._services.partition_exists
        unknown = {p for p in event.partitions if not exists(*p)}
        error = ErrorCode.operation_not_attempted if unknown else self._begin(event, now_ms)
        fields = answers.partitions_added(event.partitions, unknown, error)
        self._outbox.tell(Answer(event.request_id, fields))

    def _begin(self, event: on.AddPartitions, now_ms: int) -> ErrorCode:
        known = self._check_writer(event)
        if isinstance(known, ErrorCode):
            return known
        new = known.with_partitions(event.partitions, now_ms)
        if new.partitions != known.partitions or known.state is not State.ONGOING:
            self._keep(event.transactional_id, new)
            self._watch(event.transactional_id, new)
            self._admit(new)
        return ErrorCode.none

    def _add_offsets(self, event: on.AddOffsets, now_ms: int) -> None:
        known = self._check_writer(event)
        if isinstance(known, ErrorCode):
            error = known
        elif not event.group_id:
            error = ErrorCode.invalid_group_id
        else:
            error = ErrorCode.none
            new = known.with_group(event.group_id, now_ms)
            if new.groups != known.groups or known.state is not State.ONGOING:
                self._keep(event.transactional_id, new)
                self._watch(event.transactional_id, new)
        self._outbox.tell(Answer(event.request_id, {"error_code": error}))

    def _check_writer(self, event: on.AddPartitions | on.AddOffsets) -> Transaction | ErrorCode:
        known = self._check_owner(
            event.transactional_id,
            event.producer_id,
            event.producer_epoch,
            knows_fenced=event.knows_fenced,
        )
        if isinstance(known, Transaction) and known.state in PREPARED:
            return ErrorCode.concurrent_transactions
        return known

    def _commit_offsets(self, event: on.CommitOffsets) -> None:
        request = event.request
        known = self._check_owner(
            event.transactional_id, request.producer_id, event.producer_epoch, knows_fenced=False
        )
        if isinstance(known, Transaction):
            open_for = known.state is State.ONGOING and request.group_id in known.groups
            if open_for:
                self._outbox.tell(Tell("groups", request))
                return
            known = ErrorCode.invalid_txn_state
        errors = [known] * len(request.offsets)
        self._outbox.tell(Answer(request.request_id, committed(request.offsets, errors)))

    # --- how it ends ---

    def _end(self, event: on.EndTransaction, now_ms: int) -> None:
        known = self._check_owner(
            event.transactional_id,
            event.producer_id,
            event.producer_epoch,
            knows_fenced=event.knows_fenced,
        )
        error = known if isinstance(known, ErrorCode) else answers.end_refused(known, event.commit)
        if error is None and isinstance(known, Transaction):
            self._decide(
                event.transactional_id,
                known,
                now_ms,
                commit=event.commit,
                fenced=False,
                request_id=event.request_id,
            )
            return
        self._outbox.tell(Answer(event.request_id, {"error_code": error}))

    def _decide(
        self,
        transactional_id: str,
        known: Transaction,
        now_ms: int,
        *,
        commit: bool,
        fenced: bool,
        request_id: int | None = None,
    ) -> None:
        """From here on the outcome stands: it is appended before any marker is."""
        new = known.prepared(now_ms, commit=commit, fenced=fenced)
        self._keep(transactional_id, new)
        self._outbox.at_once(Dismiss(new.producer_id))
        self._outbox.at_once(CancelTimer(("timeout", transactional_id)))
        self._carry_out(transactional_id, new, request_id)

    def _carry_out(
        self, transactional_id: str, decided: Transaction, request_id: int | None = None
    ) -> None:
        ending = Ending(set(decided.partitions), bool(decided.groups), request_id)
        self._endings[transactional_id] = ending
        token = (transactional_id, *decided.producer)
        if ending.offsets:
            commit = decided.state is State.PREPARE_COMMIT
            told = TransactionEnded(token, decided.producer_id, commit)
            self._outbox.tell(Tell("groups", told))
        if ending.partitions:
            self._write_markers(transactional_id)

    def _ending(self, token: Any) -> tuple[Transaction, Ending] | None:
        """What a report is about; None if it is about an earlier transaction."""
        transactional_id, *producer = token
        decided = self._transactions.get(transactional_id)
        ending = self._endings.get(transactional_id)
        if decided is None or ending is None or decided.producer != tuple(producer):
            return None
        return decided, ending

    def _write_markers(self, transactional_id: str) -> None:
        decided = self._transactions.get(transactional_id)
        ending = self._endings.get(transactional_id)
        if decided is not None and ending is not None:
            token = (transactional_id, *decided.producer)
            commit = decided.state is State.PREPARE_COMMIT
            partitions = tuple(sorted(ending.partitions))
            self._outbox.tell(WriteMarkers(token, *decided.producer, commit, partitions))

    def _markers_written(
        self, token: Any, failed: tuple[tuple[str, int], ...], now_ms: int
    ) -> None:
        found = self._ending(token)
        if found is None:
            return
        found[1].partitions = set(failed)
        if failed:
            again_ms = now_ms + self._config.retry_ms
            self._outbox.at_once(SetTimer(("markers", token[0]), again_ms))
        self._complete_if_all_heard(token, now_ms)

    def _offsets_decided(self, token: Any, now_ms: int) -> None:
        found = self._ending(token)
        if found is not None:
            found[1].offsets = False
            self._complete_if_all_heard(token, now_ms)

    def _complete_if_all_heard(self, token: Any, now_ms: int) -> None:
        found = self._ending(token)
        if found is None or found[1].partitions or found[1].offsets:
            return
        decided, ending = found
        del self._endings[token[0]]
        if ending.request_id is not None:  # the outcome is durable since it was decided
            answer = Answer(ending.request_id, {"error_code": ErrorCode.none})
            self._outbox.tell_of_the_past(answer)
        self._keep(token[0], decided.completed(now_ms))

    # --- memory and the clock ---

    def _keep(self, transactional_id: str, transaction: Transaction) -> None:
        self._transactions[transactional_id] = transaction
        self._outbox.append(record(transactional_id, transaction))

    def _admit(self, transaction: Transaction) -> None:
        self._outbox.at_once(Admit(*transaction.producer, transaction.partitions))

    def _watch(self, transactional_id: str, transaction: Transaction) -> None:
        at_ms = transaction.started_ms + transaction.timeout_ms
        self._outbox.at_once(SetTimer(("timeout", transactional_id), at_ms))

    def _timed_out(self, transactional_id: str, now_ms: int) -> None:
        known = self._transactions.get(transactional_id)
        if known is None or known.state is not State.ONGOING:
            return
        if now_ms < known.started_ms + known.timeout_ms:
            self._watch(transactional_id, known)
            return
        self._decide(transactional_id, known, now_ms, commit=False, fenced=True)

    def _expire_ids(self, now_ms: int) -> None:
        oldest_ms = now_ms - self._config.id_expiration_ms
        idle = (State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT)
        for transactional_id, known in list(self._transactions.items()):
            if known.state in idle and known.updated_ms <= oldest_ms:
                del self._transactions[transactional_id]
                self._outbox.append(record(transactional_id, None))
        self._outbox.at_once(SetTimer(EXPIRY_TIMER, now_ms + self._config.expiry_interval_ms))

    def _restored(self, now_ms: int) -> None:
        """Carry out what was decided; go on watching and admitting what was open."""
        for transactional_id, known in list(self._transactions.items()):
            if known.state in PREPARED:
                self._carry_out(transactional_id, known)
            elif known.state is State.ONGOING:
                started_ms = min(known.started_ms, now_ms)  # the clock may have been set back
                known = replace(known, started_ms=started_ms)
                self._transactions[transactional_id] = known
                if known.partitions:
                    self._admit(known)
                self._watch(transactional_id, known)
        self._outbox.at_once(SetTimer(EXPIRY_TIMER, now_ms + self._config.expiry_interval_ms))
