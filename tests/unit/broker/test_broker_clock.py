"""The broker's time goes on, whatever the wall clock does."""

from broker.runtime.clock import Clock

SECOND = 1_000_000_000


class Times:
    def __init__(self) -> None:
        self.wall, self.steady = 1000 * SECOND, 5 * SECOND

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.steady)

    def pass_seconds(self, seconds: float) -> None:
        self.wall += int(seconds * SECOND)
        self.steady += int(seconds * SECOND)


def test_it_begins_with_the_wall_clock_and_goes_on_with_the_steady_one():
    times = Times()
    clock = times.clock()
    assert clock.now_ms() == 1_000_000
    times.pass_seconds(2.5)
    assert clock.now_ms() == 1_002_500


def test_a_jump_of_the_wall_clock_moves_nothing_at_once():
    for jump in (3600, -3600):
        times = Times()
        clock = times.clock()
        times.wall += jump * SECOND
        times.pass_seconds(1)
        assert clock.now_ms() == 1_001_000


def test_it_follows_the_wall_clock_in_small_steps_and_never_back():
    for jump in (4, -4):
        times = Times()
        clock = times.clock()
        times.wall += jump * SECOND
        last = clock.now_ms()
        for _ in range(5):
            times.pass_seconds(30)
            left = clock.follow()
            assert last <= clock.now_ms() <= last + 31_500
            last = clock.now_ms()
        assert left == 0
        assert last == times.wall // 1_000_000
