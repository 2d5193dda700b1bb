"""Random logs as text, in the language of the scenarios."""

from __future__ import annotations

import random

OVER_SPACE = ["sum", "sum", "count", "min", "max", "avg", "last"]
OVER_TIME = ["sum", "count", "min", "max", "avg", "last", "rate", *["increase"] * 3]
OVER_POINTS = ["sum", "count", "avg", "min", "max", "last", "first", "any", "all", "p50", "p99"]
SHAPED = ["exponential_histogram", "exponential_histogram:4", "explicit_histogram:[0,1.5,9]"]
OVER_POINTS += SHAPED
OVER_POINTS += ["variance", "stddev_sample", "distinct_count", "quantile:0.9", "stddev", "apdex:2"]

SIZES = ["5s", "5s,20s", "10s", "10s,30s", "20s,1m", "5s,10s,20s"]
SIZES += ["5s,20s/10s", "10s,30s/10s", "20s/10s,20s,10s", "30s/15s", "5s,10s/5s,25s/5s"]

VALUES = ["0.0", "-0.0", "1.5", "2.5", "0.1", "-3.25", "7i", "9007199254740993i", "1e100"]
VALUES += ["9007199254740992.0", "-1e100", "5e-324", "inf", "-inf", "nan", "none", "1.7e308"]
HISTORIES_END = ["history.x/0 end", "history.x/1 end", "history.y/0 end"]
SETTLED = ["raw/0 idle 3000", "raw/1 idle 3000"]
TAME = ["1i", "2i", "5i", "9i", "12i", "12.5", "0.1", "0.2"]

LABELS = ["{g=a}", "{g=b}", "{g=a,s=1}", "{s=1}", ""]
HOMES = {
    "": "raw/0",
    "[host=a] ": "raw/0",
    "[host=b,g=c] ": "raw/1",
    "[host=c] ": "history.x/0",
    "[host=d] ": "history.y/0",
}


OF_EXPLICIT = ["explicit_histogram:[1,5]", "explicit_histogram:[5]", "explicit_histogram:[0,1,5]"]
OF_EXPONENTIAL = ["exponential_histogram:4", "exponential_histogram", "p50", "quantile:0.99"]
OF_HISTOGRAMS = ["count", "sum", "avg", "min", "max"]
BOUNDS = ["1;5", "1;5", "0;1;5", "-1;0;1;2;5", "1", ""]
MOMENTS = ["0", "0.5", "2.5", "7", "0.1", "-2.5", "1e300", "5e-324", "nan", "inf"]


class _Points:
    """Points of some streams, each of one kind; drawn in the order of the attributes.

    histograms: most of them are histogram points.
    """

    def __init__(self, rng: random.Random, histograms: bool = False) -> None:
        self._rng = rng
        self._histograms = histograms
        self._cumulative: dict[tuple[str, str], tuple[str, int]] = {}
        self._unsummed: set[tuple[str, str, str, int]] = set()
        self._samples = 0
        leap = rng.choice([0, 0, 1000])  # then nothing for longer than streams are remembered
        self.times = [f"{t / 2 + leap * (t > 60):g}" for t in range(1, 120)]
        self._values = VALUES if rng.random() < 0.4 else TAME
        self._kinds = {
            (name, labels): (
                rng.choice(["gauge", "delta", *["cumulative"] * 3]),
                rng.choice(["", "", "", "~"]),
            )
            for name in "mn"
            for labels in LABELS
        }
        scales = [[""], [""], [""], ["ms", "s", "min"], ["Cel", "K", "[degF]"]]
        scale = self._scale = rng.choice(scales)
        self._units: dict[tuple[str, str], str] = {}
        if scale != [""]:
            self._units = {k: rng.choice([*scale, *scale, "", "By"]) for k in self._kinds}

    def point(self) -> str:
        """One more."""
        rng = self._rng
        labels = rng.choice(LABELS)
        name, value = rng.choice("mmmn"), rng.choice(self._values)
        time = rng.choice([*self.times, "-"] if rng.random() < 0.1 else self.times)
        if self._histograms and rng.random() < 0.4:
            return self._sample(name, labels, time)
        if self._histograms and rng.random() < 0.7:
            return f"{name}{labels}@{time}{self._histogram()}"
        kind, falls = self._kinds[name, labels]  # a stream keeps it; another kind: another stream
        if rng.random() < 0.03:
            bounds = rng.choice(["1", "1;5", "1;5"])
            counts = ";".join(str(rng.randrange(5)) for _ in range(1 + len(bounds.split(";"))))
            shape = rng.choice([f"h,bounds={bounds}", "e,scale=0"])
            return f"{name}{labels}@{time}{rng.choice(['+', ''])}={shape},counts={counts}"
        unit = self._units.get((name, labels), "")
        labels += unit and f":{unit}"
        if kind == "cumulative":
            since = rng.choice(["-", "0", "1", "12", "21"])
            return f"{name}{labels}@{time}{falls}={value}^{since}"
        return f"{name}{labels}@{time}{f'+{falls}' if kind == 'delta' else ''}={value}"

    def _histogram(self) -> str:
        """A histogram: rarely one that contradicts itself, is cumulative, or has no values."""
        rng = self._rng
        if rng.random() < 0.5:
            bounds = rng.choice(BOUNDS)
            counts = [rng.choice([0, 0, 1, 3, 9]) for _ in range(1 + len(bounds.split(";")))]
            shape = f"h,bounds={bounds},counts={_list(counts[bounds == '' :])}"
        else:
            counts = [rng.choice([0, 0, 1, 2]) for _ in range(rng.choice([0, 1, 3, 9]))]
            shape = f"e,scale={rng.choice([0, 0, 1, 3, 20, 22, -2])},counts={_list(counts)}"
            shape += f",offset={rng.randrange(-9, 9)}"
            if rng.random() < 0.3:
                negative = [rng.choice([0, 1, 2]) for _ in range(rng.choice([1, 3]))]
                shape += f",negative={_list(negative)},negative_offset={rng.randrange(-9, 9)}"
            if rng.random() < 0.3:
                shape += f",zeros={rng.choice([1, 4])}"
            if rng.random() < 0.2:
                shape += f",threshold={rng.choice(['1e-9', '0.5', '1.5'])}"
        shape += self._moments()
        if rng.random() < 0.05:
            shape += rng.choice([",count=7", ",none=1"])
        start = rng.choice(["", "", "^0", "^12"])
        return f"{'' if rng.random() < 0.05 else '+'}={shape}{start}"

    def _sample(self, name: str, labels: str, time: str) -> str:
        """A sample of a cumulative histogram, most of them of counts that rise with time.

        Of twins that count and add up the same, which one wins is a matter of all else: none here.
        """
        rng = self._rng
        kind, scale = self._cumulative.setdefault(
            (name, labels), (rng.choice("he"), rng.choice([0, 1, 3, 20]))
        )
        now = 0.0 if time == "-" else float(time) % 1000
        size = rng.choice([1, 2, 3])
        steps = [int(now / 7 * (k + 1)) + rng.choice([0, 0, 0, 1]) for k in range(size)]
        if rng.random() < 0.1:
            steps = [rng.randrange(3) for _ in steps]  # as after a reset
        if kind == "h":
            shape = f"h,bounds={_list(list(range(1, size)))},counts={_list(steps)}"
        else:
            shape = f"e,scale={scale - rng.choice([0, 0, 0, 1])},counts={_list(steps)}"
            shape += f",offset={rng.choice([-1, 0, 0, 0])}"
            shape += rng.choice(["", "", f",zeros={int(now / 20)}", ",threshold=0.5"])
        self._samples += 1
        shape += rng.choice([f",sum={sum(steps) + self._samples / 1024:g}"] * 7 + [""])
        if "sum" not in shape:
            key = (name, labels, time, sum(steps))
            if key in self._unsummed:
                shape += f",sum={sum(steps) + self._samples / 1024:g}"
            self._unsummed.add(key)
        start = rng.choice(["", "-", "0", "0", "0", "0", "12", "21", "40"])
        return f"{name}{labels}@{time}={shape}{start and '^' + start}"

    def _moments(self) -> str:
        rng, found = self._rng, ""
        for name in ("sum", "min", "max"):
            if rng.random() < 0.8:
                tame = rng.random() < 0.9
                found += f",{name}={rng.choice(MOMENTS[:5] if tame else MOMENTS)}"
        return found

    def units(self, over_time: str, over_space: str) -> str:
        """In which units a definition reads and publishes them."""
        if self._scale == [""]:
            return ""
        counts = "count" in (over_time, over_space)
        unit = "" if counts else self._rng.choice(["", *(f" unit={each}" for each in self._scale)])
        return f" source_unit={self._rng.choice(self._scale)}{unit}"


class _Log:
    """Records; each resource lives in one partition, as the edge routes it."""

    def __init__(self, rng: random.Random, points: _Points) -> None:
        self._rng = rng
        self._points = points
        self._counts = dict.fromkeys([*HOMES.values(), "history.x/1"], 0)

    def record(self, position: int, of: int) -> str:
        """One more, received at about this place in time."""
        rng, times = self._rng, self._points.times
        host = rng.choice(list(HOMES))
        place = HOMES[host]
        drift = float(rng.choice(times))
        received = f"{drift if rng.random() < 0.3 else float(times[118 * position // of]):g}"
        word = rng.choice(["at"] * 8 + ["again", "mark", "garbage"])
        number = self._counts[place]
        self._counts[place] += 1
        if word == "mark":
            control = "marker" if place.startswith("history") else "idle"
            return f"{place} {control} {received}"
        if word == "garbage":
            return f"{place} at {received} garbage"
        if word == "again" and number:
            return f"{place} at {received} again {rng.randrange(number)}"
        points = [self._points.point() for _ in range(rng.randrange(7))]
        return f"{place} at {received} {host}{' '.join(points)}"


def _list(counts: list[int]) -> str:
    return ";".join(map(str, counts))


def of_histograms(rng: random.Random) -> str:
    """How a definition aggregates histogram points."""
    which = rng.choice(["", "exponential_"])
    how = rng.choice([*(OF_EXPONENTIAL if which else OF_EXPLICIT), *OF_HISTOGRAMS])
    return f"instrument={which}histogram over_points={how}"


def story(rng: random.Random, histograms: bool = False) -> str:
    """A random log, and definitions; histograms: of histogram points, most of them."""
    points = _Points(rng, histograms)
    log = _Log(rng, points)
    lines = ["topic raw 2", "topic history.x 2", "topic history.y 1"]
    how = [(rng.choice(OVER_TIME), rng.choice(OVER_SPACE)) for _ in range(rng.choice([1, 2, 3]))]
    lines += [
        f"define d{i} {_how(rng, histograms, over_time, over_space)} metric=m "
        f"keep={rng.choice(['', 'g', 'g,host', 's'])} "
        f"sizes={rng.choice(SIZES)} "
        f"grace={rng.choice(['0s', '2s', '15s'])} "
        f"corrections={rng.choice(['15s', '30s', '1m', '1d'])} "
        f"temporality={rng.choice(['delta', 'cumulative'])} late={rng.choice(['drop', 'carry'])} "
        f"expire={rng.choice(['0', '1', '2', '5', '25s', '1m'])} "
        f"limit={rng.choice([1, 1, 2, 3, 100_000, 100_000])}{points.units(over_time, over_space)}"
        for i, (over_time, over_space) in enumerate(how)
    ]
    size = rng.choice([5, 15, 30, 60])
    lines += [log.record(i, size) for i in range(size)]
    ends = ["raw/0 idle 2000", "raw/1 idle 2000", *HISTORIES_END]
    rng.shuffle(ends)
    lines += ends[: rng.choice([4, 5, 5, 5])]
    lines += [log.record(i, 5) for i in range(rng.choice([0, 0, 5]))]
    if rng.random() < 0.8:  # let late points settle
        lines += SETTLED
    return "\n".join(lines)


def _how(rng: random.Random, histograms: bool, over_time: str, over_space: str) -> str:
    if histograms and rng.random() < 0.8:
        return of_histograms(rng)
    return aggregate(rng, over_time, over_space)


def aggregate(rng: random.Random, over_time: str, over_space: str) -> str:
    """How a definition aggregates: in these two steps as a rule, else over points."""
    if rng.random() < 0.3:
        return f"over_points={rng.choice(OVER_POINTS)}"
    return f"over_time={over_time} over_space={over_space}"


def settled(text: str) -> bool:
    """Whether idle marks at the end gave late points the time to become revisions."""
    ended = all(end in text for end in HISTORIES_END)
    return ended and text.endswith("\n".join(SETTLED))
