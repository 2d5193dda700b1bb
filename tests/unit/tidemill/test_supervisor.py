"""One crash takes nobody else down, and stopping ends everything in order and in time."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.supervisor import (
    STOP_AFTER_MS,
    BecameReady,
    Exited,
    Kill,
    Phase,
    Spawn,
    Started,
    StopAll,
    Supervisor,
    Tell,
    Terminate,
    Tick,
)


def stack() -> Supervisor:
    supervisor = Supervisor()
    supervisor.add("broker")
    supervisor.add("store")
    supervisor.add("worker", ("broker", "store"))
    return supervisor


def running() -> Supervisor:
    supervisor = stack()
    supervisor.step(Tick(), 0)
    for pid, name in enumerate(("broker", "store"), 1):
        supervisor.step(Started(name, pid), 0)
        supervisor.step(BecameReady(name), 0)
    supervisor.step(Started("worker", 3), 0)
    supervisor.step(BecameReady("worker"), 0)
    return supervisor


def test_a_process_waits_for_what_it_needs():
    supervisor = stack()
    assert supervisor.step(Tick(), 0) == [Spawn("broker"), Spawn("store")]
    supervisor.step(Started("broker", 1), 1)
    assert supervisor.step(BecameReady("broker"), 2) == []
    supervisor.step(Started("store", 2), 2)
    assert supervisor.step(BecameReady("store"), 3) == [Spawn("worker")]


def test_a_crash_restarts_that_process_alone_and_is_told():
    supervisor = running()
    effects = supervisor.step(Exited("broker", -9), 1_000)
    assert [type(effect) for effect in effects] == [Tell]
    assert "signal 9" in effects[0].text
    assert supervisor.step(Tick(), 1_499) == []
    assert supervisor.step(Tick(), 1_500) == [Spawn("broker")]
    assert supervisor.processes["worker"].phase is Phase.READY
    supervisor.step(Started("broker", 9), 1_600)
    assert supervisor.step(BecameReady("broker"), 1_700) == [Tell("broker is back")]


def test_a_process_that_keeps_crashing_is_tried_ever_more_slowly():
    supervisor, now, pauses = running(), 0, []
    for _ in range(8):
        supervisor.step(Exited("worker", 1), now)
        due = supervisor.processes["worker"].due_ms
        pauses.append(due - now)
        now = due
        assert Spawn("worker") in supervisor.step(Tick(), now)
        supervisor.step(Started("worker", 4), now)
    assert pauses == [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]


def test_stopping_ends_workers_before_what_they_need_and_kills_who_lingers():
    supervisor = running()
    assert supervisor.step(StopAll(), 0) == [Terminate("worker")]
    assert supervisor.step(Exited("worker", 0), 10) == [Terminate("broker"), Terminate("store")]
    supervisor.step(Exited("store", 0), 20)
    late = supervisor.step(Tick(), 10 + STOP_AFTER_MS)
    assert Kill("broker") in late
    supervisor.step(Exited("broker", -9), 5_000)
    assert supervisor.ended


def test_a_second_interrupt_kills_at_once():
    supervisor = running()
    supervisor.step(StopAll(), 0)
    assert supervisor.step(StopAll(), 1)[:3] == [Kill("broker"), Kill("store"), Kill("worker")]


@given(st.lists(st.tuples(st.sampled_from(["broker", "store", "worker"]), st.integers(0, 3))))
def test_every_history_of_crashes_can_be_stopped(history: list[tuple[str, int]]):
    supervisor, now, alive = stack(), 0, set()

    def act(effects):
        for effect in effects:
            if isinstance(effect, Spawn):
                alive.add(effect.name)
                act(supervisor.step(Started(effect.name, 1), now))
            elif isinstance(effect, Kill) and effect.name in alive:
                alive.discard(effect.name)
                act(supervisor.step(Exited(effect.name, -9), now))

    for name, what in history:
        now += 700
        if what == 0 and name in alive:
            alive.discard(name)
            act(supervisor.step(Exited(name, 1), now))
        elif what == 1 and name in alive:
            act(supervisor.step(BecameReady(name), now))
        else:
            act(supervisor.step(Tick(), now))
    act(supervisor.step(StopAll(), now))
    for _ in range(6):
        now += STOP_AFTER_MS
        act(supervisor.step(Tick(), now))
    assert supervisor.ended
    assert not alive
