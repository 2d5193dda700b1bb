"""Random cumulative histogram streams: writers that restart, coarsen, widen, share an identity."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from temporality.reference import Sample, bucket_of, strength, upper_bound

BOUNDS = [(), (0.0,), (0.0, 5.0, 10.0), (-2.0, 1.0), tuple(float(x) for x in range(1, 11))]
VALUES = [0.0, 0.25, 1.0, 1.5, 3.0, 7.0, 9.5, 40.0, 0.1]
FAR = [2.0**-1000, 1e300]
NEAR = [2.0**-60, 1e9]  # as far as a fine scale reaches


class Writer:
    """One process and its histogram."""

    def __init__(self, chance: random.Random, stream: int, explicit: bool, time: int) -> None:
        self.chance = chance
        self.stream = stream
        self.bounds = chance.choice(BOUNDS) if explicit else None
        self.begun = chance.choice([0, time, max(0, time - 1), max(0, time - 7)])
        self.values: list[float] = []
        self.scale = chance.choice([-2, 0, 1, 3, 6])
        self.threshold = 0.0
        self.negative = chance.random() < 0.3
        self.says = chance.choice([("sum", "min", "max"), ("sum",), (), ("sum", "min", "max")])

    def record(self) -> None:
        value = self.chance.choice([*VALUES, *(NEAR if self.bounds is None else FAR)])
        self.values.append(-value if self.negative and self.chance.random() < 0.4 else value)

    def change(self) -> None:
        """What a writer may do to an exponential histogram without a restart."""
        what = self.chance.random()
        if what < 0.15:
            self.scale = max(-4, self.scale - self.chance.choice([1, 2]))
        elif what < 0.2:
            self.scale = min(7, self.scale + 1)
        elif what < 0.3:
            self.threshold = max(self.threshold, self.chance.choice([0.0, 0.25, 0.3, 1.0, 1.2]))

    def sample(self, time: int) -> Sample:
        values = self.values
        total = math.fsum(values) if values else 0.0
        said = {
            "sum": total,
            "min": min(values, default=None),
            "max": max(values, default=None),
        }
        said = {name: value if name in self.says else None for name, value in said.items()}
        if self.bounds is not None:
            counts = [0] * (len(self.bounds) + 1)
            for value in values:
                counts[sum(bound < value for bound in self.bounds)] += 1
            return Sample(
                self.stream, self.begun, time, len(values), **said,
                bounds=self.bounds, counts=tuple(counts),
            )  # fmt: skip
        threshold = self.threshold
        sides: list[dict[int, int]] = [{}, {}]
        zeros = 0
        for value in values:
            if value == 0:
                zeros += 1
                continue
            side, index = sides[value < 0], bucket_of(abs(value), self.scale)
            side[index] = side.get(index, 0) + 1
        if threshold:
            limit = bucket_of(threshold, self.scale)
            if limit in sides[0] or limit in sides[1]:
                threshold = upper_bound(limit, self.scale)
            for side in sides:
                for index in [k for k in side if k <= limit]:
                    zeros += side.pop(index)
        return Sample(
            self.stream, self.begun, time, len(values), **said, scale=self.scale, zeros=zeros,
            threshold=threshold, positive=tuple(sides[0].items()),
            negative=tuple(sides[1].items()),
        )  # fmt: skip


def story(seed: int, explicit: bool, *, calm: bool = False) -> list[Sample]:
    """Samples of a few streams, by time. calm: one writer a stream that never restarts."""
    chance = random.Random(seed)
    found: list[Sample] = []
    for stream in range(chance.choice([1, 2, 4])):
        writers = [Writer(chance, stream, explicit, 1)]
        if calm:
            writers[0].says = ("sum",)
        time = 1
        for _ in range(chance.randrange(1, 14)):
            time += chance.choice([0, 1, 1, 2, 3, 5, 30])
            if calm:
                time += 1
            writer = chance.choice(writers)
            if not calm and chance.random() < 0.12:
                writers[chance.randrange(len(writers))] = Writer(chance, stream, explicit, time)
            if not calm and chance.random() < 0.05:
                writers.append(Writer(chance, stream, explicit, time))
            for _ in range(chance.choice([0, 1, 1, 3])):
                writer.record()
            writer.change()
            found.append(damaged(chance, writer.sample(time), calm))
    unique = {(s.stream, s.bounds, s.time, strength(s)): s for s in found}
    return [
        replace(s, min=None) if s.min is not None and s.min != s.min else s for s in unique.values()
    ]


def damaged(chance: random.Random, s: Sample, calm: bool) -> Sample:
    """The sample as a careless writer may state it."""
    what = chance.random()
    if calm or what > 0.12:
        return s
    if what < 0.03:
        return replace(s, recorded=False, count=0, sum=None)
    if what < 0.05:
        return replace(s, start=s.time)
    if what < 0.07:
        return replace(s, sum=chance.choice([math.nan, math.inf, -math.inf, None, 1e308, -3.5]))
    if what < 0.1:
        return replace(s, start=chance.randrange(0, s.time + 2))
    return replace(s, sum=None if s.sum is None else s.sum - 0.5)
