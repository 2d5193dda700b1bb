"""A change of the number of partitions changes no number.

Random stories of the live domain on two or three topics, one after another, with different numbers
of partitions: late points before and after the change, cumulative streams over it, resets at it,
gaps, repeats, idle marks, restarts, and definitions that carry late amounts. First publications,
latest revisions and the final topic are what the oracle says; and what stands in the end is, to the
bit, what the same points give on one topic without any change.

TIDEMILL_EPOCHS and TIDEMILL_SEED choose the stories, TIDEMILL_RESTARTS multiplies restarts.
"""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import epochs, final, scenario
from oracle import log as oracle_log
from oracle.histograms import mark
from oracle.oracle import Result, compute

from tests.simulation.comparison import compare, compare_finals, compare_resets, conforms, ended
from tests.simulation.stories import OVER_TIME, TAME, VALUES
from tests.simulation.topology_world import Pipeline, Rows, again, certify

STORIES = int(os.environ.get("TIDEMILL_EPOCHS", "24"))
SEED = int(os.environ.get("TIDEMILL_SEED", "1"))
HOSTS = ("a", "b", "c", "d", "e")
LABELS = ("{g=a}", "{g=b}", "{g=a,s=1}", "")
GAP = epochs.STREAM_GAP // 1_000_000_000
CHANGES = ((1, 3), (2, 4), (4, 2), (2, 1, 3), (1, 2, 2))


@dataclass(slots=True)
class Story:
    """One log, told on one topic and on several: `plain` has no change of epochs in it.

    changes: when the later epochs begin, in seconds; counts: the partitions of each epoch.
    """

    counts: tuple[int, ...]
    changes: list[int]
    head: list[str]
    lines: list[str] = field(default_factory=list[str])
    plain: list[str] = field(default_factory=list[str])
    told: int = 0
    sent: list[tuple[float, str, str, Sequence[float | None]]] = field(default_factory=list)
    newest: float = 0

    def place(self, epoch: int, host: str) -> str:
        """Where a resource is routed to in an epoch (from 1; 0: on the one topic)."""
        topic = "raw" if epoch < 2 else f"raw.e{epoch}"
        return f"{topic}/{(HOSTS.index(host) * 7 + 3) % self.counts[max(epoch, 1) - 1]}"

    def announce(self) -> None:
        """The next change is told: before anything that is a base line behind it."""
        number = self.told + 2
        self.lines.append(
            f"epoch {number} partitions {self.counts[number - 1]} since {self.changes[self.told]}"
        )
        self.told += 1

    def announce_before(self, time: float) -> None:
        """Tell what must be known before a point of this time."""
        self.newest = max(self.newest, time)
        while self.told < len(self.changes) and time > self.changes[self.told] - GAP:
            self.announce()

    def send(self, received: float, host: str, body: str, times: Sequence[float | None]) -> None:
        """A record goes where its points count, and where they are base lines.

        times: of its points; None: when it is received.
        """
        moments = [received if time is None else time for time in times]
        self.announce_before(max(received, *moments))
        self.sent.append((received, host, body, times))
        targets = epochs.topics_for(
            [scenario.nanoseconds(str(time)) for time in moments],
            [scenario.nanoseconds(str(change)) for change in self.changes[: self.told]],
        )
        for number in targets:
            self.lines.append(f"{self.place(number, host)} at {received:g} {body}")
        self.plain.append(f"{self.place(0, host)} at {received:g} {body}")

    def mark(self, rng: random.Random, received: str) -> None:
        """An idle mark in some partition."""
        self.announce_before(float(received))
        number = rng.randrange(self.told + 1)
        partition = rng.randrange(self.counts[number])
        topic = "raw" if number == 0 else f"raw.e{number + 1}"
        self.lines.append(f"{topic}/{partition} idle {received}")

    def text(self) -> str:
        """The story with its changes."""
        while self.told < len(self.changes):
            self.announce()
        return "\n".join([*self.head, f"topic raw {self.counts[0]}", *self.lines])

    def unchanged(self) -> str:
        """The same points on one topic."""
        return "\n".join([*self.head, f"topic raw {self.counts[0]}", *self.plain])


def story(rng: random.Random, *, corrections: Sequence[str], forever: bool = False) -> Story:
    """A random story; forever: nothing is ever too late, and repeats are soon."""
    counts = rng.choice(CHANGES)
    first = rng.choice([60, 60, 120, 960, 1080])
    leap = first - 60 if first > 120 else rng.choice([0, 0, 1000])
    step = rng.choice([60, 60, 120])
    changes = [first + step * at for at in range(len(counts) - 1)]
    half = [t / 2 + (leap if t > 90 else 0) for t in range(1, 2 * (120 + 60 * len(changes)))]
    near = [change + d for change in changes for d in (-910, -900, -899.5, -1, 0, 0.5, 3, 12)]
    times = [t for t in [*half, *near] if t > 0]
    values = VALUES if rng.random() < 0.3 else TAME
    carry = "drop" if leap else "carry"
    made = Story(counts, changes, definitions(rng, carry, corrections))
    kinds = {
        (name, labels): rng.choice(["gauge", "delta", *["cumulative"] * 3])
        for name in "mn"
        for labels in LABELS
    }

    def point(around: float) -> tuple[str, float | None]:
        labels, name, value = rng.choice(LABELS), rng.choice("mmmn"), rng.choice(values)
        close = [t for t in times if abs(t - around) < 15] or times
        time = rng.choice(close if rng.random() < 0.7 else times)
        kind = kinds[name, labels]
        if kind == "cumulative":
            start = rng.choice(["-", "0", "1", str(changes[0] - 3), str(changes[0]), "61"])
            return f"{name}{labels}@{time:g}={value}^{start}", time
        if rng.random() < 0.05:
            return f"{name}{labels}@-{'+' if kind == 'delta' else ''}={value}", None
        return f"{name}{labels}@{time:g}{'+' if kind == 'delta' else ''}={value}", time

    size = rng.choice([10, 30, 60, 100])
    ordered = sorted(times)
    for at in range(size):
        now = ordered[len(ordered) * at // size]
        received = f"{now if rng.random() < 0.8 else max(now, rng.choice(times)):g}"
        word = rng.choice(["at"] * 8 + ["again", "mark"])
        if word == "mark":
            made.mark(rng, received)
        elif word == "again" and made.sent:
            newest = max(made.newest, float(received))
            soon = [one for one in made.sent if not forever or newest < one[0] + 500]
            if soon:
                made.send(float(received), *rng.choice(soon)[1:])
        else:
            found = [point(float(received)) for _ in range(rng.randrange(1, 6))]
            host = rng.choice(HOSTS)
            body = f"[host={host}] {' '.join(token for token, _ in found)}"
            made.send(float(received), host, body, [time for _, time in found])
    return made


def definitions(rng: random.Random, carry: str, corrections: Sequence[str]) -> list[str]:
    return [
        f"define d{i} over_time={rng.choice(OVER_TIME)} "
        f"over_space={rng.choice(['sum', 'sum', 'count', 'min', 'max', 'avg', 'last'])} metric=m "
        f"keep={rng.choice(['', 'g', 'g,host', 's'])} "
        f"sizes={rng.choice(['5s', '5s,20s', '10s', '10s,30s', '20s,1m', '5s,10s,20s'])} "
        f"grace={rng.choice(['0s', '2s', '15s'])} corrections={rng.choice(corrections)} "
        f"temporality={rng.choice(['delta', 'cumulative'])} late={rng.choice(['drop', carry])} "
        f"expire={rng.choice(['0', '1', '2', '5', '25s', '1m'])}"
        for i in range(rng.choice([1, 2, 3]))
    ]


def check(text: str, rng: random.Random, *, settles: bool, restless: bool = False) -> Rows:
    """The topology says of the story what the oracle says, and certificates are true and whole."""
    told = scenario.loads(text)
    partitions = oracle_log.read(told.log)
    want = compute(partitions, told.definitions)
    got = Pipeline(told.definitions, told.log, rng, restless=restless).run()
    assert not got.refused
    compare_finals(told.definitions, final.compute(partitions, told.definitions, want), got.finals)
    compare(want, got, told.definitions, settles)
    compare_resets(partitions, told.definitions, got)
    for certificate in got.certificates:
        certify(certificate, partitions)
        end = certificate["window_end"]
        owners = {f"{p.topic}/{p.number}" for p in partitions if epochs.owns(p, end)}
        assert set(certificate["sources"]) == owners, "a source of another epoch, or one too few"
    conforms(got.finals)
    return got


@pytest.mark.parametrize("seed", range(SEED, SEED + STORIES))
def test_random_changes_of_partitions_give_what_the_oracle_says(seed: int):
    name = f"random_changes_of_partitions_give_what_the_oracle_says[{seed}]"
    with again(__file__, name, SEED=seed, EPOCHS=1):
        rng = random.Random(f"epochs/{seed}")
        text = story(rng, corrections=["15s", "30s", "1m", "1d"]).text()
        if rng.random() < 0.3:  # windows that overlap: those over a change are nobody's
            text = text.replace("sizes=10s ", "sizes=10s,20s/10s ")
        settles = rng.random() < 0.8
        check(ended(text) if settles else text, rng, settles=settles)


def of_histograms(text: str, rng: random.Random) -> str:
    """The story with histograms in the place of sums, that rise with time as a rule."""
    told: dict[str, str] = {}

    def shaped(found: re.Match[str]) -> str:
        if found[0] not in told:
            rises = int(float(found["time"]) / 5) if found["start"] and rng.random() < 0.9 else 0
            counts = [rises + rng.choice([0, 0, 0, 2]) for _ in range(3)]
            shape = f"h,bounds=1;5,counts={';'.join(map(str, counts))}"
            summed = sum(counts) + len(told) / 1024 if any(counts) else 0.0
            shape += f",sum={summed}"  # of twins one has the most
            told[found[0]] = f"{found['name']}{shape}{found['start'] or ''}"
        return told[found[0]]

    point = r"(?P<name>\b[mn](\{[^}]*\})?@(?P<time>[\d.]+)(\+=|=(?=\S*\^)))[^\s^]+(?P<start>\^\S+)?"
    how = ["explicit_histogram:[1,5]", "explicit_histogram:[5]", "count", "sum", "avg"]
    text = re.sub(point, shaped, text)
    return re.sub(
        r"over_time=\S+ over_space=\S+",
        lambda _: f"instrument=histogram over_points={rng.choice(how)}",
        text,
    )


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 6)))
def test_changes_of_partitions_with_histograms_give_what_the_oracle_says(seed: int):
    name = f"changes_of_partitions_with_histograms_give_what_the_oracle_says[{seed}]"
    with again(__file__, name, SEED=seed, EPOCHS=3):
        rng = random.Random(f"histograms/{seed}")
        text = of_histograms(story(rng, corrections=["15s", "30s", "1m", "1d"]).text(), rng)
        check(ended(text), rng, settles=True)


def values_of(result: Result) -> dict:
    return {key: (mark(cell.value), cell.points) for key, cell in result.latest.items()}


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 3)))
def test_the_latest_numbers_do_not_tell_that_partitions_changed(seed: int):
    name = f"the_latest_numbers_do_not_tell_that_partitions_changed[{seed}]"
    with again(__file__, name, SEED=seed, EPOCHS=3):
        rng = random.Random(f"unchanged/{seed}")
        made = story(rng, corrections=["1d"], forever=True)
        changed = scenario.loads(ended(made.text()))
        unchanged = scenario.loads(ended(made.unchanged()))
        want = values_of(compute(oracle_log.read(unchanged.log), unchanged.definitions))
        assert values_of(compute(oracle_log.read(changed.log), changed.definitions)) == want
        one = Pipeline(unchanged.definitions, unchanged.log, rng).run()
        several = Pipeline(changed.definitions, changed.log, rng).run()
        assert several.latest == want
        assert several.raw == one.raw
