"""Runs of cumulative histograms as agents send them: steady, now and then late, reset or rescaled.

In the language of the scenarios, as `stories.py`; those are wilder, and seldom have a run.
"""

from __future__ import annotations

import random

from tests.simulation.stories import OF_EXPLICIT, OF_EXPONENTIAL, SETTLED

SIZES = ["5s", "5s,20s", "10s,30s", "5s,10s,20s", "20s/10s,20s,10s", "5s,1m"]
NUMBERS = ["count", "sum", "avg"]


class _Run:
    """One stream: its buckets rise, until it begins anew."""

    def __init__(self, rng: random.Random, name: str, labels: str, instrument: str) -> None:
        self._rng, self._name, self._labels = rng, name, labels
        self._explicit = instrument == "histogram"
        self._start = rng.choice(["", "^0.5", "^0.5", "^-"])
        self._buckets = [0] * (rng.choice([4, 4, 6]) if self._explicit else rng.choice([1, 3, 5]))
        self._scale, self._offset, self._zeros = rng.choice([0, 1, 3]), rng.choice([-2, 0, 5]), 0
        self._threshold = ""
        self._sum = 0.0
        self._says_sum = rng.random() < 0.9

    def point(self, time: float) -> str:
        """The next sample."""
        rng = self._rng
        if rng.random() < 0.06:
            self._reset(time)
        for at in range(len(self._buckets)):
            self._buckets[at] += rng.choice([0, 0, 1, 2, 7])
        self._sum += rng.randrange(64) / 8
        counts = ";".join(map(str, self._buckets))
        if self._explicit:
            bounds = "0;1;5" if len(self._buckets) == 4 else "-1;0;1;2;5"
            shape = f"h,bounds={bounds},counts={counts}"
        else:
            self._zeros += rng.choice([0, 0, 1])
            if rng.random() < 0.1:
                self._rescale()
            if rng.random() < 0.03:
                self._threshold = ",threshold=1.5"
            counts = ";".join(map(str, self._buckets))
            shape = f"e,scale={self._scale},counts={counts},offset={self._offset}"
            shape += f",zeros={self._zeros}{self._threshold}"
        if self._says_sum and rng.random() < 0.98:
            shape += f",sum={self._sum}"
        if rng.random() < 0.5:
            shape += ",min=-3,max=9"
        return f"{self._name}{self._labels}@{time:g}={shape}{self._start}"

    def _reset(self, time: float) -> None:
        self._buckets = [0] * len(self._buckets)
        self._sum, self._zeros = 0.0, 0
        if self._start.startswith("^0") and self._rng.random() < 0.7:
            self._start = f"^{max(time - self._rng.choice([0.25, 0.25, 3]), 0.25):g}"

    def _rescale(self) -> None:
        """To half the buckets."""
        if self._scale <= -2:
            return
        found: dict[int, int] = {}
        for at, count in enumerate(self._buckets, self._offset):
            found[at >> 1] = found.get(at >> 1, 0) + count
        self._scale -= 1
        self._offset = min(found)
        self._buckets = [found.get(k, 0) for k in range(min(found), max(found) + 1)]


def run_of_histograms(rng: random.Random) -> str:
    """A log of a minute, of two resources, and definitions of what they send."""
    instrument = rng.choice(["histogram", "exponential_histogram"])
    shapes = OF_EXPLICIT if instrument == "histogram" else OF_EXPONENTIAL
    shapes = [one for one in shapes if "0,1,5" in one or rng.random() < 0.6] or shapes[:1]
    chosen = [rng.choice(shapes), *rng.sample([*NUMBERS, *shapes], rng.choice([0, 1, 2]))]
    lines = ["topic raw 2"]
    for n, how in enumerate(chosen):
        lines.append(
            f"define d{n} instrument={instrument} over_points={how} metric=m "
            f"keep={rng.choice(['', 'g', 'g,host'])} sizes={rng.choice(SIZES)} "
            f"grace={rng.choice(['0s', '2s'])} corrections={rng.choice(['15s', '1m', '1d'])} "
            f"temporality={rng.choice(['delta', 'cumulative'])} "
            f"late={rng.choice(['drop', 'carry']) if how == 'count' else 'drop'} "
            f"limit={rng.choice([1, 100_000, 100_000])}"
        )
    sent: list[tuple[float, str, str]] = []
    for place, host in (("raw/0", "a"), ("raw/1", "b")):
        for labels in rng.sample(["{g=x}", "{g=y}", "{g=x,s=1}"], rng.choice([1, 2, 3])):
            run = _Run(rng, "m", labels, instrument)
            for time in range(1, rng.choice([20, 40, 60]), rng.choice([1, 2, 3])):
                at = time + rng.choice([0, 0, 0.5])
                point = run.point(at)
                if rng.random() < 0.05:
                    continue  # lost on the way
                later = rng.choice([0.1] * 6 + [3, 12, 25]) if rng.random() < 0.5 else 0.1
                sent.append((at + later, f"{place} at {{}} [host={host}] ", point))
    sent.sort(key=lambda one: one[0])
    while sent:
        received, where, point = sent.pop(0)
        points = [point]
        while sent and sent[0][1] == where and rng.random() < 0.5:
            received = sent[0][0]
            points.append(sent.pop(0)[2])
        lines.append(where.format(f"{received:g}") + " ".join(points))
    if rng.random() < 0.3:
        lines += ["raw/0 idle 70", "raw/1 idle 70"]
    return "\n".join([*lines, "raw/0 idle 2000", "raw/1 idle 2000", *SETTLED])
