"""Thousands of histories of fighting producers; and bugs that must not survive them.

`TIDEMILL_HISTORIES` sets how many histories of the real coordinator are run.
"""

import os
from typing import Any

import pytest

from broker.coordination import Answer, Dismiss, Effect, Tell, WriteMarkers
from broker.groups.coordinator import GroupCoordinator
from broker.groups.events import CommitOffsets as PlainCommit
from broker.groups.events import CommitTransactionOffsets, TransactionEnded
from broker.groups.outbox import Outbox
from broker.transactions import events as on
from broker.transactions.coordinator import TransactionCoordinator
from broker.transactions.transaction import PREPARED, State
from tests.simulation.coordinator_world import ViolationError
from tests.simulation.transaction_world import simulate

HISTORIES = int(os.environ.get("TIDEMILL_HISTORIES", "150"))


def test_no_history_breaks_a_promise_of_transactions():
    totals: dict[str, int] = {}
    for seed in range(HISTORIES):
        try:
            counts = simulate(seed).counts
        except ViolationError as broken:
            pytest.fail(f"seed {seed}: {broken}")
        totals = {name: totals.get(name, 0) + count for name, count in counts.items()}
    assert all(count > HISTORIES / 4 for count in totals.values()), totals


class HastyOutbox(Outbox):
    def tell(self, effect: Effect) -> None:
        self.at_once(effect)


class AnswersBeforeItIsDurable(TransactionCoordinator):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._outbox = HastyOutbox()


class GivesTheSameEpochToEveryOwner(TransactionCoordinator):
    def _own(self, event: on.InitProducerId, now_ms: int) -> Any:
        known = self._transactions.get(event.transactional_id)
        if known is not None and known.state in (State.EMPTY, State.COMPLETE_COMMIT):
            fields = {"producer_id": known.producer_id, "producer_epoch": known.producer_epoch}
            return {"error_code": 0, **fields}
        return super()._own(event, now_ms)


class LeavesTheOldTransactionOpen(TransactionCoordinator):
    def _own(self, event: on.InitProducerId, now_ms: int) -> Any:
        known = self._transactions.get(event.transactional_id)
        if known is not None and known.state is State.ONGOING:
            new = known.owned_anew(None, event.timeout_ms, now_ms, wished=False)
            return self._owned(event.transactional_id, new)
        return super()._own(event, now_ms)


class DoesNotWaitForMarkers(TransactionCoordinator):
    def _carry_out(self, transactional_id: str, decided: Any, request_id: Any = None) -> None:
        super()._carry_out(transactional_id, decided, request_id)
        self._endings[transactional_id].partitions.clear()
        self._complete_if_all_heard((transactional_id, *decided.producer), decided.updated_ms)


class ForgetsDecisionsOverARestart(TransactionCoordinator):
    def _restored(self, now_ms: int) -> None:
        for name, known in self._transactions.items():
            if known.state in PREPARED:
                self._transactions[name] = known.completed(now_ms)
        super()._restored(now_ms)


class AbortsWhateverWasDecidedOverARestart(TransactionCoordinator):
    def _restored(self, now_ms: int) -> None:
        for name, known in self._transactions.items():
            if known.state is State.PREPARE_COMMIT:
                self._transactions[name] = known.prepared(now_ms, commit=False, fenced=False)
        super()._restored(now_ms)


class DoesNotCheckTheEpoch(TransactionCoordinator):
    def _check_owner(self, transactional_id: str, producer_id: int, epoch: int, **_: Any) -> Any:
        known = self._transactions.get(transactional_id)
        epoch = epoch if known is None else known.producer_epoch
        return super()._check_owner(transactional_id, producer_id, epoch, knows_fenced=True)


class DoesNotFenceWhomItTimesOut(TransactionCoordinator):
    def _decide(self, *args: Any, **named: Any) -> None:
        super()._decide(*args, **{**named, "fenced": False})


class MarksOnePartitionOnly(TransactionCoordinator):
    def step(self, event: Any, now_ms: int) -> list[Effect]:
        effects = super().step(event, now_ms)
        return [
            WriteMarkers(e.token, e.producer_id, e.producer_epoch, e.commit, e.partitions[:1])
            if isinstance(e, WriteMarkers)
            else e
            for e in effects
        ]


class LetsBatchesInAfterTheDecision(TransactionCoordinator):
    def step(self, event: Any, now_ms: int) -> list[Effect]:
        return [e for e in super().step(event, now_ms) if not isinstance(e, Dismiss)]


class ForgetsRefusedMarkers(TransactionCoordinator):
    def _markers_written(self, token: Any, failed: Any, now_ms: int) -> None:
        super()._markers_written(token, (), now_ms)


class CommitsOffsetsOfAbortedTransactions(TransactionCoordinator):
    def step(self, event: Any, now_ms: int) -> list[Effect]:
        return [_always_commit(e) for e in super().step(event, now_ms)]


def _always_commit(effect: Effect) -> Effect:
    if isinstance(effect, Tell) and isinstance(effect.event, TransactionEnded):
        told = TransactionEnded(effect.event.token, effect.event.producer_id, True)
        return Tell(effect.coordinator, told)
    return effect


class NeverTellsTheGroups(TransactionCoordinator):
    def _carry_out(self, transactional_id: str, decided: Any, request_id: Any = None) -> None:
        super()._carry_out(transactional_id, decided, request_id)
        self._endings[transactional_id].offsets = False
        self._outbox._told = [
            e
            for e in self._outbox._told
            if not (isinstance(e, Tell) and isinstance(e.event, TransactionEnded))
        ]
        self._complete_if_all_heard((transactional_id, *decided.producer), decided.updated_ms)


class ShowsPendingOffsets(GroupCoordinator):
    def step(self, event: Any, now_ms: int) -> list[Effect]:
        if isinstance(event, CommitTransactionOffsets):
            plain = PlainCommit(event.request_id, "g", -1, "", None, event.offsets)
            return super().step(plain, now_ms)
        return super().step(event, now_ms)


class SwapsTheAnswer(TransactionCoordinator):
    """Says that an end was taken when it was refused."""

    def step(self, event: Any, now_ms: int) -> list[Effect]:
        effects = super().step(event, now_ms)
        if isinstance(event, on.EndTransaction):
            effects = [
                Answer(e.request_id, {"error_code": 0}) if isinstance(e, Answer) else e
                for e in effects
            ]
        return effects


BUGS: list[type[Any]] = [
    AnswersBeforeItIsDurable,
    GivesTheSameEpochToEveryOwner,
    LeavesTheOldTransactionOpen,
    DoesNotWaitForMarkers,
    ForgetsDecisionsOverARestart,
    AbortsWhateverWasDecidedOverARestart,
    DoesNotCheckTheEpoch,
    DoesNotFenceWhomItTimesOut,
    MarksOnePartitionOnly,
    LetsBatchesInAfterTheDecision,
    ForgetsRefusedMarkers,
    CommitsOffsetsOfAbortedTransactions,
    NeverTellsTheGroups,
    ShowsPendingOffsets,
    SwapsTheAnswer,
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug: type[Any]):
    planted = {"groups" if issubclass(bug, GroupCoordinator) else "transactions": bug}
    for seed in range(400):
        try:
            simulate(seed, **planted)
        except ViolationError:
            return
    pytest.fail(f"{bug.__name__} survived 400 histories")
