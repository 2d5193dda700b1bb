"""What the manager says of units: planned, ready, done, and what must not happen."""

from streams.event_time.windows import EARLIEST
from topologies.epochs import Epoch
from topologies.manager.units import Closed, Manager, Report, SourceSealed

DOMAIN, PANE = "telemetry.raw", "p"


def seal(partition: int, until: int, offset: int = 1) -> SourceSealed:
    return SourceSealed(
        DOMAIN, f"{DOMAIN}/{partition}", Epoch(2), PANE, until, offset, False, until
    )


def closed(reducer: int, after: int, until: int) -> Closed:
    return Closed(DOMAIN, f"telemetry.partials/{reducer}", PANE, after, until, 1, 1)


def said(manager: Manager, report: Report) -> list[str]:
    """What of a report is a violation, in a word."""
    words = ("backwards", "again", "with a gap")
    return [word for each in manager.step(report) for word in words if word in each.text]


def test_nothing_is_ready_before_every_source_was_heard_of():
    manager = Manager()
    assert manager.step(seal(0, 20)) == []
    span = manager.spans[DOMAIN, PANE]
    assert (span.planned, span.ready) == (20, EARLIEST)
    manager.step(seal(1, 10))
    assert (span.planned, span.ready) == (20, 10)


def test_done_is_what_every_reducer_has_closed():
    manager = Manager()
    manager.step(seal(0, 20))
    manager.step(seal(1, 20))
    span = manager.spans[DOMAIN, PANE]
    assert span.done == EARLIEST
    manager.step(closed(0, EARLIEST, 20))
    manager.step(closed(1, EARLIEST, 10))
    assert span.done == 10
    assert span.unconfirmed == []


def test_a_reducer_that_closes_ahead_of_the_sources_is_named():
    manager = Manager()
    manager.step(seal(0, 20))
    manager.step(seal(1, 10))
    manager.step(closed(0, EARLIEST, 20))
    assert manager.spans[DOMAIN, PANE].unconfirmed == ["telemetry.partials/0"]


def test_sealing_backwards_and_closing_again_or_with_a_gap_are_violations():
    manager = Manager()
    manager.step(seal(0, 20))
    assert said(manager, seal(0, 10)) == ["backwards"]
    assert manager.spans[DOMAIN, PANE].sealed[f"{DOMAIN}/0"] == 20
    manager.step(closed(0, EARLIEST, 10))
    assert said(manager, closed(0, EARLIEST, 10)) == ["again"]
    assert said(manager, closed(0, 20, 30)) == ["with a gap"]
    assert manager.violations == 3
