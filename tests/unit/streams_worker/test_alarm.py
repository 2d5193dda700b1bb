"""A task is told the time when it is due: by the timer that was set last, and by no other."""

import asyncio
import time
from collections.abc import Callable

from streams.worker.alarm import AGAIN_MS, Alarm


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def rung(setting: Callable[[Alarm], None], seconds: float = 0.1) -> list[int]:
    """When an alarm that was set so rang, ms from the beginning."""
    began, times = now_ms(), list[int]()
    alarm = Alarm(lambda: times.append(now_ms() - began))
    setting(alarm)
    assert not times, "it rang before it was set"
    await asyncio.sleep(seconds)
    return times


def test_it_rings_once_and_not_before_its_time():
    times = asyncio.run(rung(lambda alarm: alarm.set(now_ms() + 30, now_ms())))
    assert len(times) == 1
    assert times[0] >= 29  # a loop's clock may run a millisecond before


def test_the_last_setting_holds():
    def earlier(alarm: Alarm) -> None:
        alarm.set(now_ms() + 60_000, now_ms())
        alarm.set(now_ms() + 10, now_ms())

    def later(alarm: Alarm) -> None:
        alarm.set(now_ms() + 10, now_ms())
        alarm.set(now_ms() + 60_000, now_ms())

    def never(alarm: Alarm) -> None:
        alarm.set(now_ms() + 10, now_ms())
        alarm.set(None, now_ms())

    assert len(asyncio.run(rung(earlier))) == 1
    assert asyncio.run(rung(later)) == []
    assert asyncio.run(rung(never)) == []


def test_what_is_set_again_and_again_to_the_same_time_rings_at_that_time():
    async def ring() -> list[int]:
        due, times = now_ms() + 50, list[int]()
        alarm = Alarm(lambda: times.append(now_ms()))
        while now_ms() < due + 30:
            alarm.set(due if not times else None, now_ms())
            await asyncio.sleep(0.005)
        return [each - due for each in times]

    times = asyncio.run(ring())
    assert len(times) == 1
    assert times[0] >= -1


def test_a_time_that_is_past_and_stays_so_is_no_busy_loop():
    async def ring() -> int:
        times = list[int]()

        def again() -> None:
            times.append(now_ms())
            alarm.set(0, now_ms())

        alarm = Alarm(again)
        alarm.set(0, now_ms())
        await asyncio.sleep(10 * AGAIN_MS / 1000)
        alarm.set(None, now_ms())
        return len(times)

    assert 1 <= asyncio.run(ring()) <= 10
