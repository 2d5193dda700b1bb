"""Nothing leaves a coordinator before everything it decided earlier is durable."""

from broker.coordination import (
    Answer,
    Append,
    Appended,
    AppendFailed,
    Record,
    SetTimer,
    TimerFired,
)
from broker.groups.outbox import RETRY_TIMER, Outbox

TOLD = Answer(1, {})


def row(key: str, value: str) -> Record:
    return Record(key.encode(), value.encode())


def appended(effects: list) -> Append:
    (append,) = [e for e in effects if isinstance(e, Append)]
    return append


def test_a_read_is_answered_at_once_when_nothing_is_under_way():
    outbox = Outbox()
    outbox.tell(TOLD)
    assert outbox.flush() == [TOLD]


def test_an_answer_waits_for_the_records_of_its_step():
    outbox = Outbox()
    outbox.append(row("a", "1"), row("b", "1"))
    outbox.tell(TOLD)
    (append,) = outbox.flush()
    assert appended([append]).records == (row("a", "1"), row("b", "1"))
    assert outbox.settle(Appended(appended([append]).token), 0) == [TOLD]


def test_a_later_read_waits_for_what_it_might_have_seen():
    outbox = Outbox()
    outbox.append(row("a", "1"))
    append = appended(outbox.flush())
    outbox.tell(TOLD)
    assert outbox.flush() == []
    assert outbox.settle(Appended(append.token), 0) == [TOLD]


def test_answers_keep_their_order_when_appends_settle_out_of_order():
    outbox = Outbox()
    tokens = []
    for number in (1, 2):
        outbox.append(row("a", str(number)))
        outbox.tell(Answer(number, {}))
        tokens.append(appended(outbox.flush()).token)
    assert outbox.settle(Appended(tokens[1]), 0) == []
    assert outbox.settle(Appended(tokens[0]), 0) == [Answer(1, {}), Answer(2, {})]


def test_what_tells_of_earlier_steps_does_not_wait_for_this_one():
    outbox = Outbox()
    outbox.append(row("a", "1"))
    outbox.tell_of_the_past(TOLD)
    first, second = outbox.flush()
    assert first == TOLD
    assert isinstance(second, Append)


def test_the_last_value_of_a_key_in_a_step_counts():
    outbox = Outbox()
    outbox.append(row("a", "1"), row("a", "2"))
    assert appended(outbox.flush()).records == (row("a", "2"),)


def test_refused_records_are_appended_again_until_the_disk_gives_in():
    outbox = Outbox()
    outbox.append(row("a", "1"))
    outbox.tell(TOLD)
    append = appended(outbox.flush())
    for _ in range(3):
        (timer,) = outbox.settle(AppendFailed(append.token, 56), 5_000)
        assert timer == SetTimer(RETRY_TIMER, 6_000)
        append = appended(outbox.settle(TimerFired(RETRY_TIMER), 6_000))
        assert append.records == (row("a", "1"),)
    assert outbox.settle(Appended(append.token), 7_000) == [TOLD]


def test_a_repeated_record_never_replaces_a_newer_one():
    outbox = Outbox()
    outbox.append(row("a", "1"), row("b", "1"))
    refused = appended(outbox.flush())
    outbox.settle(AppendFailed(refused.token, 56), 0)
    outbox.append(row("a", "2"))
    accepted = appended(outbox.flush())
    assert outbox.settle(Appended(accepted.token), 0) == []
    again = appended(outbox.settle(TimerFired(RETRY_TIMER), 1_000))
    assert set(again.records) == {row("a", "2"), row("b", "1")}


def test_nobody_is_told_anything_while_the_disk_refuses():
    outbox = Outbox()
    outbox.append(row("a", "1"))
    refused = appended(outbox.flush())
    outbox.settle(AppendFailed(refused.token, 56), 0)
    outbox.tell(TOLD)
    assert outbox.flush() == []
    again = appended(outbox.settle(TimerFired(RETRY_TIMER), 1_000))
    assert outbox.settle(Appended(again.token), 1_001) == [TOLD]
