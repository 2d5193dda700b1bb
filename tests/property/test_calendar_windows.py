"""Calendar windows begin and end when the standard library says that local days do.

The zones are those of the tzdata package, read by `zoneinfo`; the functions under test get rules as
text. TIDEMILL_ZONES: how many zones are drawn; 0 for all.
"""

import os
import random
from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from metric_registry import zones
from streams.event_time import levels
from streams.event_time.windows import EARLIEST, LATEST, SECOND
from streams.event_time.zones import ZoneRules, ZoneRulesError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400 * SECOND
ODD = [
    "Africa/Monrovia",  # 44 minutes and 30 seconds behind UTC until 1972
    "America/Havana",  # midnight is left out in spring
    "America/Nuuk",  # changes on Saturday evening, before midnight
    "America/Sao_Paulo",  # midnight was left out, and in autumn came twice
    "America/Scoresbysund",
    "America/St_Johns",  # changed a minute past midnight
    "Antarctica/Troll",  # two hours
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # half an hour
    "Europe/Berlin",
    "Europe/Dublin",  # winter is what is saved
    "Pacific/Apia",  # 30 December 2011 was left out
    "Pacific/Chatham",
    "Pacific/Kwajalein",
]
COUNT = int(os.environ.get("TIDEMILL_ZONES", "6"))


def drawn() -> list[str]:
    every = sorted(zones.names() - set(ODD))
    return [*ODD, *(random.Random(7).sample(every, COUNT) if COUNT else every)]


def zone_of(name: str) -> ZoneInfo:
    path = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, name)


def begins(zone: ZoneInfo, day: date) -> int:
    """Unix ns of the first instant of a local day: looked for a quarter of an hour at a time."""
    around = datetime(day.year, day.month, day.day, tzinfo=zone)
    time = int((around.astimezone(UTC) - EPOCH).total_seconds()) - 26 * 3600

    def reached(seconds: int) -> bool:
        return (EPOCH + timedelta(seconds=seconds)).astimezone(zone).date() >= day

    while not reached(time):
        time += 900
    low, high = time - 900, time
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high * SECOND


def quickly(zone: ZoneInfo, day: date) -> int:
    """The same; where midnight is there, it is the first one."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    there = midnight.astimezone(UTC)
    if there.astimezone(zone).replace(tzinfo=None) != midnight.replace(tzinfo=None):
        return begins(zone, day)
    return int((there - EPOCH).total_seconds()) * SECOND


def days_of(year: int) -> list[date]:
    first = date(year, 1, 1)
    return [first + timedelta(n) for n in range((date(year + 1, 1, 1) - first).days)]


@pytest.mark.parametrize("name", drawn())
def test_windows_end_where_local_days_weeks_and_months_begin(name: str):
    rng = random.Random(name)
    zone, rules = zone_of(name), zones.find(name).rules
    years = {1970, 1972, 2011, 2024, *(rng.randrange(1971, 2261) for _ in range(3))}
    units = {
        "1d": lambda day: True,
        "1w": lambda day: day.isoweekday() == 1,
        "1mo": lambda day: day.day == 1,
    }
    for unit, starts in units.items():
        level = levels.calendar(unit, rules)
        for year in years:
            days = [day for day in days_of(year) if starts(day)]
            ends = sorted({quickly(zone, day) for day in days})
            times = np.array([e + rng.choice([-SECOND, -1, 0, 1, SECOND]) for e in ends[1:-1]])
            expected = [ends[bisect_left(ends, time)] for time in times.tolist()]
            found = levels.window_end(times, level)
            assert found.tolist() == expected
            before = [ends[bisect_left(ends, end) - 1] for end in expected]
            assert levels.window_start(found, level).tolist() == before
            for time, end, start in zip(times.tolist(), expected, before, strict=True):
                assert levels.window_end(time, level) == end
                assert levels.window_start(end, level) == start
                assert levels.last_complete(time, level) == (end if time == end else start)


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("Europe/Berlin", date(2024, 3, 31), 23),
        ("Europe/Berlin", date(2024, 10, 27), 25),
        ("Europe/Berlin", date(2024, 2, 29), 24),
        ("Australia/Lord_Howe", date(2024, 10, 6), 23.5),
        ("Australia/Lord_Howe", date(2024, 4, 7), 24.5),
        ("America/Havana", date(2024, 3, 10), 23),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("America/Sao_Paulo", date(2018, 2, 17), 25),
        ("Pacific/Apia", date(2011, 12, 29), 24),
        ("Pacific/Apia", date(2011, 12, 31), 24),
        ("Antarctica/Troll", date(2024, 3, 31), 22),
        ("America/Nuuk", date(2024, 3, 30), 23),
        ("UTC", date(2024, 6, 1), 24),
    ],
)
def test_a_day_has_as_many_hours_as_the_clock_on_the_wall_counts(name, day, hours):
    level = levels.calendar("1d", zones.find(name).rules)
    start = begins(zone_of(name), day)
    assert levels.end_after(start, level) - start == int(hours * 3600) * SECOND


def test_a_day_that_the_calendar_leaves_out_has_no_window():
    level = levels.calendar("1d", zones.find("Pacific/Apia").rules)
    zone = zone_of("Pacific/Apia")
    before, after = begins(zone, date(2011, 12, 29)), begins(zone, date(2011, 12, 31))
    assert begins(zone, date(2011, 12, 30)) == after
    assert levels.end_after(before, level) == after
    assert levels.windows_between(np.array([before]), after, level).tolist() == [1]


def test_where_midnight_comes_twice_the_day_begins_with_the_first():
    zone = zone_of("America/St_Johns")
    day = date(2010, 11, 7)  # at 00:01 the clocks went back to 23:01
    start = begins(zone, day)
    assert (EPOCH + timedelta(seconds=start // SECOND)).astimezone(zone).fold == 0
    level = levels.calendar("1d", zones.find("America/St_Johns").rules)
    assert levels.window_end(start, level) == start
    assert levels.end_after(start, level) - start == 25 * 3600 * SECOND


@pytest.mark.parametrize("name", drawn())
def test_every_day_begins_on_a_multiple_of_what_the_zone_says(name: str):
    days = ZoneRules.parse(zones.find(name).rules).days
    whole = zones.find(name).whole
    assert not (days % whole).any()
    assert 86_400 % whole == 0


def test_what_nests_is_decided_by_where_windows_end():
    berlin, kolkata = zones.find("Europe/Berlin").rules, zones.find("Asia/Kolkata").rules
    day, week, month = (levels.calendar(unit, berlin) for unit in ("1d", "1w", "1mo"))
    minute, hour = 60 * SECOND, 3600 * SECOND
    assert levels.nests(hour, day)
    assert levels.nests(day, week)
    assert levels.nests(day, month)
    assert not levels.nests(week, month)
    assert not levels.nests(DAY, day)
    assert not levels.nests(2 * hour, day)
    half = levels.calendar("1d", kolkata)
    assert levels.nests(30 * minute, half)
    assert levels.nests(15 * minute, half)
    assert not levels.nests(hour, half)
    assert not levels.nests(day, levels.calendar("1mo", kolkata))
    assert levels.nests(DAY, levels.calendar("1mo", zones.find("UTC").rules))
    moving = levels.hopping(5 * minute, minute)
    assert levels.nests(20 * SECOND, moving)
    assert not levels.nests(5 * minute, moving)
    assert not levels.nests(moving, hour)


def test_a_hopping_window_holds_what_lies_within_its_size_before_its_end():
    rng = random.Random(3)
    for _ in range(2000):
        hop = rng.randrange(1, 100)
        size = hop * rng.randrange(2, 10)
        level = levels.hopping(size * SECOND, hop * SECOND)
        time = rng.randrange(10**6) * SECOND + rng.choice([0, 0, 1, SECOND - 1])
        within = range(time // (hop * SECOND) - 2, time // (hop * SECOND) + size // hop + 2)
        ends = [n * hop * SECOND for n in within]
        expected = [end for end in ends if end - size * SECOND < time <= end]
        assert list(levels.ends_of(time, level)) == expected
        assert all(levels.window_start(end, level) == end - size * SECOND for end in expected)
        assert levels.step_of(level) == hop * SECOND
        assert not levels.is_plain(level)


def test_a_plain_level_is_its_size_in_nanoseconds():
    times = np.array([1, 10, 11]) * SECOND
    level = 10 * SECOND
    assert levels.window_end(times, level).tolist() == [10 * SECOND, 10 * SECOND, 20 * SECOND]
    assert levels.end_after(10 * SECOND, level, 3) == 40 * SECOND
    assert list(levels.ends_of(11 * SECOND, level)) == [20 * SECOND]
    for each in (level, levels.hopping(60 * SECOND, level)):
        assert levels.last_complete(LATEST, each) == LATEST
        assert levels.last_complete(EARLIEST, each) == EARLIEST


def test_levels_are_named_as_a_definition_writes_them():
    rules = zones.find("Europe/Berlin").rules
    month = levels.calendar("1mo", rules)
    assert (levels.name_of(month), levels.zone_of(month)) == ("1mo", "Europe/Berlin")
    assert levels.name_of(levels.hopping(300 * SECOND, 60 * SECOND)) == "5m/1m"
    assert levels.name_of(90 * SECOND) == "90s"
    sizes = [levels.hopping(300 * SECOND, 60 * SECOND), month, DAY, 10 * SECOND]
    assert sorted(sizes, key=levels.order) == [10 * SECOND, DAY, month, sizes[0]]


def test_one_code_is_one_set_of_boundaries_wherever_it_is_made():
    rules = zones.find("Europe/Berlin").rules
    assert levels.calendar("1d", rules) == levels.calendar("1d", rules)
    assert levels.calendar("1d", rules) != levels.calendar("1w", rules)
    other = rules.replace("M10.5.0/3", "M10.4.0/3")
    assert levels.calendar("1d", other) != levels.calendar("1d", rules)
    assert levels.calendar("1d", "Mars/Base|0|UTC0") == 4611780704504648850


@pytest.mark.parametrize("text", ["", "x", "a|b|c", "a|0|X", "a|0 3600@|", "a|0|A-1B,J60,J300"])
def test_what_is_no_zone_is_refused(text: str):
    with pytest.raises(ZoneRulesError):
        levels.calendar("1d", text)


def test_a_code_that_nobody_has_told_is_refused():
    with pytest.raises(ZoneRulesError, match="nobody has told"):
        levels.window_end(1, (1 << 62) + 12345)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("asia/kolkata", "Asia/Kolkata"),
        ("nowhere at all", ""),
    ],
)
def test_a_zone_that_is_not_there_is_answered_with_the_nearest(written: str, meant: str):
    assert zones.nearest(written) == meant
