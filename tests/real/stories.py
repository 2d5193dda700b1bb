"""Random stories for the real processes: definitions, requests of agents, and histories.

A story has metrics, definitions and hosts of its own; its seed says everything but when things
happen. Times are seconds after the beginning of the run; `body` makes them real.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from demo.generate import points
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from oracle import scenario
from oracle.definitions import SECOND

BEFORE = 7200
"""Seconds before the beginning that a story can name."""
HARD = ["0.0", "-0.0", "0.1", "-3.25", "7i", "9007199254740993i", "9007199254740992.0", "1e100"]
HARD += ["-1e100", "5e-324", "inf", "-inf", "nan", "1.7e308", "none"]
TAME = ["1i", "2i", "5i", "9i", "12i", "12.5", "0.1", "0.2"]
OVER_TIME = ["sum", "count", "min", "max", "avg", "last", *["increase"] * 4]
OVER_SPACE = ["sum", "sum", "count", "min", "max", "avg", "last"]
OVER_POINTS: list[object] = ["p50", "p99", "stddev", "distinct_count", "first", "avg", "sum"]
OVER_POINTS += ["variance_sample", {"apdex": 2}, {"apdex": 0.1}]
"""apdex is of a user: `examples/apdex.py`."""
SHAPED = ["exponential_histogram", {"exponential_histogram": 8}, "explicit_histogram"]
LABELS = ["{g=a}", "{g=b}", "{g=a,s=1}", "{s=1}", ""]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that an agent sends `at` seconds after the beginning; `again`: some while later."""

    at: float
    text: str
    again: float | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """One story. `loaded` are requests of its history, in order, a marker as its time alone."""

    name: str
    definitions: list[dict[str, object]]
    sent: list[Sent]
    loaded: list[str | float]


def story(seed: int, seconds: float) -> Story:
    """The story of a seed, which lasts about so many seconds; one of four has a history too."""
    rng = random.Random(f"story/{seed}")
    name = f"s{seed}"
    with_history = rng.random() < 0.25
    made = [_definition(rng, f"{name}.d{i}", name, with_history) for i in range(rng.choice([1, 2]))]
    teller = _Teller(rng, name)
    hosts = [f"[host={name}-{h}{rng.choice(['', ',g=c'])}]" for h in "abc"[: rng.randint(1, 3)]]
    sent = list(_live(rng, teller, hosts, seconds))
    loaded = list(_history(rng, teller, f"[host={name}-old]", seconds)) if with_history else []
    return Story(name, made, sent, loaded)


def body(text: str, begin: int) -> bytes:
    """The OTLP request; begin: unix nanoseconds that second 0 stands for."""
    request = ExportMetricsServiceRequest.FromString(scenario.request(text))
    shift = begin - scenario.EPOCH - BEFORE * SECOND
    for _, point in points(request):
        if point.time_unix_nano:
            point.time_unix_nano += shift
        if point.start_time_unix_nano:
            point.start_time_unix_nano += shift
    return request.SerializeToString()


def _definition(
    rng: random.Random, name: str, metrics: str, with_history: bool
) -> dict[str, object]:
    over_time = rng.choice(OVER_TIME)
    corrections = "1d" if with_history else rng.choice(["20s", "1m", "1h", "1d"])
    sizes = rng.choice([["10s"], ["10s", "30s"], ["5s", "10s"], ["5s", "20s", "1m"], ["10s", "1h"]])
    over_space = rng.choice(OVER_SPACE)
    aggregate: dict[str, object] = {"over_time": over_time, "over_space": over_space}
    adds_up = over_space == "sum" and over_time in ("sum", "count", "increase")
    shaped = rng.random() < 0.15
    if shaped:
        aggregate = {"over_points": rng.choice(SHAPED)}
    elif rng.random() < 0.3:
        aggregate = {"over_points": rng.choice(OVER_POINTS)}
        adds_up = aggregate["over_points"] == "sum"
    publish: dict[str, object] = {"expire_after": rng.choice([0, 1, 3, "30s"])}
    if shaped:
        publish["temporality"] = rng.choice(["delta", "cumulative"])
    elif adds_up:
        publish["temporality"] = rng.choice(["delta", "cumulative"])
        publish["late"] = rng.choice(["drop", "carry"])
    return {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": name,
        "description": "A story's",
        "owner": "tests",
        "source": {"metric": f"{metrics}.{rng.choice('mmn')}", "unit": "1"},
        "space": {"keep": rng.choice([[], ["g"], ["g", "host"], ["s"]])},
        "time": {
            "granularities": sizes,
            "grace": rng.choice(["0s", "2s", "2s", "5s"]),
            "corrections": corrections,
        },
        "aggregate": aggregate,
        "publish": publish,
    }


class _Teller:
    """Makes points; a stream keeps its kind, since another kind is another stream."""

    def __init__(self, rng: random.Random, name: str) -> None:
        self._rng = rng
        self._name = name
        self._values = HARD if rng.random() < 0.3 else TAME
        kinds = ["gauge", "delta", *["cumulative"] * 3]
        self._kinds = {(m, labels): rng.choice(kinds) for m in "mn" for labels in LABELS}

    def point(self, time: float | None) -> str:
        """A point of some stream; without a time it counts as of its receipt."""
        rng = self._rng
        metric, labels, value = rng.choice("mmmn"), rng.choice(LABELS), rng.choice(self._values)
        moment = "-" if time is None else f"{max(0.5, BEFORE + time):.2f}"
        start = f"{self._name}.{metric}{labels}@{moment}"
        kind = self._kinds[metric, labels]
        if kind == "cumulative":
            begun = rng.choice(["-", str(BEFORE - 5), str(BEFORE + 12), str(BEFORE + 30)])
            return f"{start}={value}^{begun}"
        return f"{start}{'+' if kind == 'delta' else ''}={value}"


def _live(rng: random.Random, teller: _Teller, hosts: list[str], seconds: float) -> Iterator[Sent]:
    """Mostly as it happens; some late or ahead, a little or too much; some twice."""
    for _ in range(rng.randint(8, 30)):
        at = rng.uniform(0, seconds)
        late = rng.choice([0.0] * 6 + [rng.uniform(3, 20), rng.uniform(20, 90), -10.0, -200.0])
        tokens = [
            teller.point(None if rng.random() < 0.01 else _grid(at - late - rng.uniform(0, 3)))
            for _ in range(rng.randint(1, 7))
        ]
        again = rng.uniform(0.1, 15) if rng.random() < 0.15 else None
        yield Sent(at, f"{rng.choice(hosts)} {' '.join(tokens)}", again)


def _history(
    rng: random.Random, teller: _Teller, host: str, seconds: float
) -> Iterator[str | float]:
    """Old times and those of the live points; markers between, some of them too early."""
    low, high = rng.choice([(-3600.0, -3000.0), (-60.0, seconds), (-1800.0, seconds)])
    for _ in range(rng.randint(5, 20)):
        if rng.random() < 0.15:
            yield rng.uniform(low, high)
        tokens = [teller.point(_grid(rng.uniform(low, high))) for _ in range(rng.randint(1, 7))]
        yield f"{host} {' '.join(tokens)}"


def _grid(time: float) -> float:
    """Half seconds: so that some points lie on the edge of a window, and some at one time."""
    return round(time * 2) / 2
