"""Pre-aggregation and roll-up in one process publish what the oracle says, to the bit.

Random logs (late points, repeats, resets, gaps, idle marks, markers, clock faults, poison, two
histories beside the live topic, definitions that come later) go through the real processors, cut
into batches and restarted from snapshots at random. First publications, latest revisions and every
point of the final topic are compared with an oracle that shares no code, and certificates with the
log; the final topic is held against OpenTelemetry's data model.

TIDEMILL_STORIES and TIDEMILL_SEED choose the stories, TIDEMILL_RESTARTS multiplies restarts.
"""

import os
import random
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import log as oracle_log
from oracle import scenario, windows
from oracle.histograms import mark
from oracle.log import Record
from oracle.oracle import compute

from metric_registry.compile import compile_plan
from tests.simulation.comparison import check, compare, conforms, ended, leave_out_histories
from tests.simulation.histogram_runs import run_of_histograms
from tests.simulation.stories import HISTORIES_END, settled, story
from tests.simulation.topology_world import Pipeline, again, resolved
from topologies.preaggregate.intake import Deployment

SECOND = 1_000_000_000
END = scenario.nanoseconds("3000")
STORIES = int(os.environ.get("TIDEMILL_STORIES", "120"))
SEED = int(os.environ.get("TIDEMILL_SEED", "1"))


@pytest.mark.parametrize("seed", range(SEED, SEED + STORIES))
def test_random_logs_give_what_the_oracle_says(seed: int):
    with again(__file__, f"random_logs_give_what_the_oracle_says[{seed}]", SEED=seed, STORIES=1):
        text = story(random.Random(seed))
        check(text, random.Random(seed), settles=settled(text))


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 6)))
def test_random_logs_of_histogram_points_give_what_the_oracle_says(seed: int):
    name = f"random_logs_of_histogram_points_give_what_the_oracle_says[{seed}]"
    with again(__file__, name, SEED=seed, STORIES=1):
        text = story(random.Random(seed), histograms=True)
        check(text, random.Random(seed), settles=settled(text))


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 10)))
def test_runs_of_cumulative_histograms_give_what_the_oracle_says(seed: int):
    name = f"runs_of_cumulative_histograms_give_what_the_oracle_says[{seed}]"
    with again(__file__, name, SEED=seed, STORIES=1):
        text = run_of_histograms(random.Random(seed))
        check(text, random.Random(seed), settles=True)


BERLIN = ["10s,1d", "1h,1d,1mo", "5s,1d,1w", "1d", "5s,20s/10s,1d", "10s/5s,1d,1mo"]
NIGHT = 11_833_170  # half a minute before 31 March 2024 begins in Berlin, which has 23 hours


def moved(text: str, rng: random.Random) -> str:
    """A story about that night, in Berlin; when it ends, days have passed."""
    text = re.sub(r"(?<=[@^])[\d.]+", lambda found: f"{float(found[0]) + NIGHT:.9g}", text)
    text = re.sub(
        r"(?<= )(at|idle|marker) ([\d.]+)",
        lambda found: (
            f"{found[1]} {float(found[2]) * (80 if '000' in found[2] else 1) + NIGHT:.9g}"
        ),
        text,
    )
    sizes = rng.choice(BERLIN)
    return re.sub(r"sizes=\S+", lambda _: f"sizes={sizes} zone=Europe/Berlin", text)


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 20)))
def test_random_logs_over_a_change_of_the_clock_give_what_the_oracle_says(seed: int):
    rng = random.Random(seed)
    text = moved(story(rng), rng)
    ended = all(end in text for end in HISTORIES_END) and text.count(f"{3000 * 80 + NIGHT}") == 2
    check(text, random.Random(seed), settles=ended)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_messages_leave_a_partition_whatever_the_batches_and_restarts(seed: int):
    """Not the numbers alone: also when corrections go out, and in which message a row travels."""
    told = scenario.loads(story(random.Random(seed)))

    def sent(source: tuple[str, int], rng: random.Random, restless: bool = False):
        pipeline = Pipeline(told.definitions, told.log, rng, restless=restless)
        pipeline.keep_from = seed % 2 * 10 * SECOND
        return pipeline.preaggregate(*source)

    for source in told.log:
        one_by_one = sent(source, random.Random(seed), restless=True)
        for way in range(2):
            assert sent(source, random.Random(way)) == one_by_one


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 10)))
def test_random_logs_while_definitions_join(seed: int):
    """All but the first definition join, by a record in each partition, before their time comes.

    They share the first one's panes and unit: a base line is known where its metric was counted
    before, which over points alone is not done with samples of cumulative streams.
    """
    rng = random.Random(f"change/{seed}")
    told = scenario.loads(story(rng))
    first, *later = told.definitions
    if first.over_points:
        first = replace(first, over_points=None, over_time="last", over_space="max")
    sizes = [first.sizes, (first.finest,), (first.finest, 4 * first.finest)]
    told.definitions = [first] + [
        replace(
            one,
            sizes=rng.choice(sizes),
            grace=first.grace,
            corrections=first.corrections,
            source_unit=first.source_unit,
            unit=first.unit,
        )
        for one in [*later, replace(first, name="d9", over_space="sum", keep=("host",))]
    ]
    since = scenario.EPOCH + first.finest * rng.randrange(12)
    want = compute(oracle_log.read(told.log), told.definitions)
    everything = compile_plan([resolved(d) for d in told.definitions])
    before = compile_plan([d for d in everything.definitions if d.name == first.name])
    joined = Deployment(
        everything, {d.version: since for d in everything.definitions if d.name != first.name}
    )
    log = {place: with_plan(*place, told.log, since, joined) for place in told.log}
    with again(__file__, f"random_logs_while_definitions_join[{seed}]", SEED=seed, STORIES=10):
        got = Pipeline(told.definitions, log, rng, Deployment(before)).run()
        for found in (want.first, want.latest):
            for key in [key for key in found if windows.start_of(key.window_end, key.size) < since]:
                if key.definition != first.name:
                    del found[key]
        if got.refused:
            leave_out_histories(want, got)
        compare(want, got, told.definitions, settled_log(told.log))


def with_plan(topic, number, log, since: int, joined: Deployment) -> list[Record]:
    """A partition's records, with the change before the first point that is newer than `since`."""
    records = log[topic, number]
    (read,) = oracle_log.read({(topic, number): records})
    newer = [point.record for point in read.points if point.time > since]
    at = min(newer, default=len(records))
    moved = [Record(r.offset + 1, r.headers, r.value) for r in records[at:]]
    return [*records[:at], Record(at, {"control": b"plan"}, joined.to_json()), *moved]


def settled_log(log) -> bool:
    """Whether every partition ends with all that seals and settles."""
    return all(oracle_log.read({place: log[place]})[0].watermark[-1:] >= [END] for place in log)


CHANGE = """
topic raw 2
define old over_time=increase over_space=sum metric=m keep=g sizes=5s,10s grace=2s corrections=1d
define new over_time=max over_space=sum metric=m keep=host sizes=5s,20s grace=2s corrections=1d
define other over_time=sum over_space=sum metric=n keep=g sizes=10s grace=0s corrections=1d
define spread over_points=stddev metric=n keep=g sizes=5s,30s grace=2s corrections=1d
define away over_points=p90 metric=n keep=host sizes=5s,20s grace=2s corrections=1d
"""


@pytest.mark.parametrize("seed", range(20))
def test_definitions_that_come_later_count_exactly_from_their_time(seed: int):
    """Three of five join at 20 s, by a record in each partition; the others never notice."""
    rng = random.Random(seed)
    lines = [CHANGE.strip()]
    for half in (range(1, 40), range(40, 120)):
        for tenth in half:
            place, host = rng.choice([("raw/0", "a"), ("raw/1", "b")])
            labels = rng.choice(["{g=x}", "{g=y}"])
            points = f"m{labels}@{tenth / 2}={tenth}i^1 n{labels}@{tenth / 2}={tenth * 3 % 7}"
            lines.append(f"{place} at {tenth / 2} [host={host}] {points}")
    lines += ["raw/0 idle 80", "raw/1 idle 80"]
    told = scenario.loads("\n".join(lines))
    want = compute(oracle_log.read(told.log), told.definitions)
    everything = compile_plan([resolved(d) for d in told.definitions])
    since = scenario.EPOCH + 20 * SECOND
    first = compile_plan([d for d in everything.definitions if d.name in ("old", "spread")])
    later = [d for d in everything.definitions if d not in first.definitions]
    deployed = Deployment(everything, {d.version: since for d in later})
    log = {}
    for key, records in told.log.items():
        at = next(i for i, r in enumerate(records) if int(r.headers["received"]) >= since - SECOND)
        log[key] = [
            *records[:at],
            oracle_log.Record(records[at].offset, {"control": b"plan"}, deployed.to_json()),
            *(oracle_log.Record(r.offset + 1, r.headers, r.value) for r in records[at:]),
        ]
    got = Pipeline(told.definitions, log, rng, Deployment(first)).run()
    expected = {
        key: mark(cell.value)
        for key, cell in want.latest.items()
        if key.definition in ("old", "spread")
        or windows.start_of(key.window_end, key.size) >= since
    }
    assert {key: value for key, (value, _) in got.latest.items()} == expected
    assert {key.definition for key in expected} == {d.name for d in told.definitions}
    conforms(got.finals)


WRITTEN = scenario.written()


@pytest.mark.parametrize("name", WRITTEN)
def test_every_written_scenario_holds_for_the_topology(name: str):
    text = WRITTEN[name]
    for seed in range(2):
        check(text, random.Random(seed), settles=False)
        check(ended(text), random.Random(seed), settles=True)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_restart_after_every_record_changes_no_number(name: str):
    check(ended(WRITTEN[name]), random.Random(1), settles=True, restless=True)
