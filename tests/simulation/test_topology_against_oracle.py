"""Pre-aggregation and roll-up in one process publish what the oracle says, to the bit.

Random logs (late points, repeats, resets, gaps, idle marks, markers, clock faults, poison, two
histories beside the live topic, definitions that come later) go through the real processors, cut
into batches and restarted from snapshots at random. First publications, latest revisions and every
point of the final topic are compared with an oracle that shares no code, and certificates with the
log; the final topic is held against OpenTelemetry's data model.

TIDEMILL_STORIES and TIDEMILL_SEED choose the stories, TIDEMILL_RESTARTS multiplies restarts.
"""

import hashlib
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
from oracle.oracle import Result, compute

from metric_registry.compile import compile_plan
from tests.simulation.comparison import check, compare, conforms, ended, leave_out_histories
from tests.simulation.histogram_runs import run_of_histograms
from tests.simulation.stories import HISTORIES_END, settled, story
from tests.simulation.topology_world import Pipeline, again, resolved
from topologies.deployment import Deployment, changed
from topologies.epochs import ONE_EPOCH

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


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 6)))
def test_random_logs_while_definitions_are_replaced(seed: int):
    """Twice: definitions change, go, come, and come back; a window is of the version that is in
    force when it begins. Each change is a record in each partition before its time.
    """
    rng = random.Random(f"replaced/{seed}")
    told = scenario.loads(story(rng))
    stages = list(changing(told.definitions, rng))
    times = sorted(rng.sample(range(12 * 10), 2))
    deployed = [Deployment(planned(stages[0]))]
    log = told.log
    for stage, tenths in zip(stages[1:], times, strict=True):
        time = scenario.EPOCH + stages[0][0].finest * tenths // 10
        deployed.append(changed(deployed[-1], planned(stage), time, ONE_EPOCH))
        log = {place: with_plan(*place, log, time, deployed[-1]) for place in log}
    with again(__file__, f"random_logs_while_definitions_are_replaced[{seed}]", SEED=seed):
        want = Result({}, {}, {})
        for stage in stages:
            computed = compute(oracle_log.read(told.log), stage)
            version = {one.name: one.version for one in planned(stage).definitions}
            for found, wanted in ((computed.first, want.first), (computed.latest, want.latest)):
                for key, cell in found.items():
                    begins = windows.start_of(key.window_end, key.size)
                    if owned(deployed[-1], version[key.definition], begins):
                        wanted[key] = cell
        got = Pipeline(stages[0], log, rng, deployed[0]).run()
        if got.refused:
            leave_out_histories(want, got)
        compare(want, got, [one for stage in stages for one in stage], settled_log(told.log))
        conforms(got.finals)


def changing(definitions, rng: random.Random):
    """Three sets of definitions that share panes and a unit, so that all know base lines."""
    first = definitions[0]
    if first.over_points:
        first = replace(first, over_points=None, over_time="last", over_space="max")
    sizes = [first.sizes, (first.finest,), (first.finest, 4 * first.finest)]
    same = {"grace": first.grace, "corrections": first.corrections, "unit": first.unit}
    same["source_unit"] = first.source_unit
    now = [first, *(replace(d, sizes=rng.choice(sizes), **same) for d in definitions[1:])]
    before = now
    for _ in range(3):
        yield now
        back, now = before, [one for one in now if rng.random() < 0.8] or now[:1]
        before = now
        if rng.random() < 0.3:
            now = back
        now = [varied(one, sizes, rng) if rng.random() < 0.5 else one for one in now]
        if rng.random() < 0.4:
            now = [*now, replace(first, name=f"d{rng.randrange(7, 9)}", over_space="sum")]
        now = list({one.name: one for one in now}.values())


def varied(one, sizes, rng: random.Random):
    """Another version of a definition."""
    if one.over_points:
        return replace(one, sizes=rng.choice(sizes))
    space = rng.choice(["sum", "max", "count"])
    return replace(one, sizes=rng.choice(sizes), over_space=space)


def planned(definitions):
    """The plan, with versions that follow what definitions say."""

    def version(one) -> str:
        return hashlib.blake2b(repr(one).encode(), digest_size=8).hexdigest()

    return compile_plan([replace(resolved(one), version=version(one)) for one in definitions])


def owned(deployed: Deployment, version: str, begins: int) -> bool:
    return any(since <= begins < until for since, until in deployed.spans(version))


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
