"""`tidemill registry live-check`: places, exit codes, JSON, and the product's own account."""

from __future__ import annotations

import json
import random
import struct
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from live_traffic import Point, entries, given, good

from metric_registry.compile import compile_plan
from tidemill.main import main
from tidemill.preview import Given
from tidemill.trial import Trial
from topologies.observe.facts import facts_of
from topologies.observe.watching import Watch

DEFAULTS = """\
apiVersion: tidemill/v1
kind: Defaults
owner: me
space: {keep: [route, zone]}
"""
DEFINITION = """\
apiVersion: tidemill/v1
kind: Metric
name: served
description: Requests served
source:
  metric: requests
  where: {route: [/a, /bb]}
  unit: s
time:
  granularities: [10s, 1m]
  grace: 5s
aggregate: {over_time: increase}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "_defaults.yaml").write_text(DEFAULTS)
    (tmp_path / "served.yaml").write_text(DEFINITION)
    return tmp_path


def traffic(folder: Path, points: Iterable[Point]) -> Path:
    requests = [one.request for one in given(points)]
    sized = b"".join(struct.pack(">I", len(each)) + each for each in requests)
    (folder / "traffic.bin").write_bytes(sized)
    return folder / "traffic.bin"


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = main(["registry", "live-check", *map(str, args)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_findings_point_at_the_line_that_says_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = traffic(folder, good())
    code, out, _ = run(capsys, folder / "served.yaml", "--from", file)
    assert code == 0, "there are warnings only"
    assert f"{folder}/served.yaml:7:11: warning TM705: `served` asks for `route` `/bb`" in out
    assert "  7 |   where: {route: [/a, /bb]}\n" in out
    assert "  help: did you mean `/b`?" in out
    assert "_defaults.yaml:4:23: warning TM709: `served` keeps `zone`" in out
    assert "note: `served` takes it by the defaults of" in out
    assert out.endswith(": 0 errors, 2 warnings, 0 for information.\n")


@pytest.mark.parametrize(
    ("old", "new", "strict", "expected"),
    [
        ("", "", [], 0),
        ("", "", ["--strict"], 3),
        ("metric: requests", "metric: request", [], 0),
        ("metric: requests", "metric: request", ["--strict"], 3),
        ("[/a, /bb]", "[/x]", [], 1),
        ("[/a, /bb]", "[/a, /b]", ["--strict"], 3),
    ],
)
def test_exit_codes_are_those_of_a_check(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    strict: list[str],
    expected: int,
) -> None:
    (folder / "served.yaml").write_text(DEFINITION.replace(old, new) if old else DEFINITION)
    file = traffic(folder, good())
    assert run(capsys, folder / "served.yaml", "--from", file, *strict)[0] == expected


def test_json_has_the_same_and_how_much_was_looked_at(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = traffic(folder, good())
    code, out, _ = run(capsys, folder / "served.yaml", "--from", file, "-o", "json")
    told = json.loads(out)
    assert code == 0
    assert (told["errors"], told["warnings"]) == (0, 2)
    assert [each["code"] for each in told["findings"]] == ["TM709", "TM705"]
    looked = told["looked_at"]
    assert (looked["requests"], looked["points"], looked["streams"]) == (240, 240, 4)
    assert told["definitions"][0]["points"] == 120


def test_without_traffic_it_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty.txt").write_text("")
    code, out, err = run(capsys, folder / "served.yaml", "--from", folder / "empty.txt")
    assert (code, out) == (2, "")
    assert "there is no traffic to hold them against" in err


@pytest.mark.parametrize(
    ("args", "expected", "said"),
    [
        (["--name", "other"], 2, "no definition is named other"),
        (["--since", "soon"], 2, "--since"),
        (["--bootstrap-servers", "127.0.0.1:9"], 4, "tidemill up"),
        (["--from", "nowhere.bin"], 2, "is the path right?"),
    ],
)
def test_mistakes_are_told_with_the_way_out(
    folder: Path, capsys: pytest.CaptureFixture[str], args: list[str], expected: int, said: str
) -> None:
    code, out, err = run(capsys, folder / "served.yaml", *args)
    assert (code, out, said in err) == (expected, "", True), err


def test_a_definition_with_a_mistake_is_not_held_against_anything(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "served.yaml").write_text(DEFINITION.replace("increase", "increas"))
    code, _, err = run(capsys, folder / "served.yaml", "--from", traffic(folder, good()))
    assert (code, "TM104" in err) == (2, True)


# ------------------------------------------------------------ against the product's own account


def unruly(rng: random.Random) -> list[Point]:
    """Points of many kinds, late, repeated, ahead, negative, restarting, silent for long."""
    points: list[Point] = []
    for host in ("h1", "h2", "h3"):
        value, begin, time = 0.0, 0.0, 1.0
        kind = rng.choice(["cumulative", "cumulative", "delta", "gauge", "updown"])
        unit = rng.choice(["s", "s", "ms", "By", ""])
        while time < 3_000:
            time += rng.choice([1, 2, 5, 7, 30]) if rng.random() > 0.004 else 1_000
            value += rng.randrange(10)
            if rng.random() < 0.05:
                value -= rng.randrange(20)
            if rng.random() < 0.03:
                begin = time - rng.choice([1, 3, 40])
                value = 1.0
            one = Point(
                at=time, value=value, host=host, kind=kind, unit=unit, begin=begin,
                partition=f"telemetry.raw/{int(host[1]) % 2}",
            )  # fmt: skip
            if rng.random() < 0.1:
                one = replace(one, came=time + rng.choice([3, 12, 40, 90]))
            if rng.random() < 0.01:
                one = replace(one, at=time + 500, came=time)
            points.append(one)
    return points


def together(requests: list[Given], rng: random.Random) -> list[Given]:
    """Some agents wait, and send what they have in one request."""
    found: list[Given] = []
    for one in requests:
        last = found[-1] if found else None
        if last is not None and last.partition == one.partition and rng.random() < 0.6:
            found[-1] = one._replace(request=last.request + one.request)
        else:
            found.append(one)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_it_counts_what_the_products_ledger_counts(seed: int) -> None:
    """Late, lost, rejected, refused: the topology itself ran over the same requests."""
    rng = random.Random(seed)
    over_time = rng.choice(["increase", "sum", "max"])
    aggregate = {"over_time": over_time, "over_space": "sum"}
    (entry,) = entries(aggregate=aggregate)
    requests = together(given(unruly(rng)), rng)
    watch = Watch()
    names = sorted({one.partition for one in requests})
    trial = Trial([entry.resolved], len(names))
    for one in requests:
        watch.feed(one.partition, one.request, one.tenant, one.received)
        trial.give(names.index(one.partition), one.request, one.tenant, one.received)
    trial.run()
    ledgers = trial.ledgers()
    plan = compile_plan([entry.resolved])
    looked, (facts,) = facts_of(watch, plan, received=True, freshness=[None])

    def total(name: str) -> int:
        return sum(each[name] for each in ledgers)

    assert looked.points == total("points")
    assert looked.repeats == total("repeats")
    rejected = total("rejected") + total("negative")
    assert len(watch.outside().slot) == rejected
    assert facts.late.late - facts.late.beyond == total("late")
    assert facts.late.beyond == total("beyond")
    refused: Counter[tuple[str, str]] = Counter()
    points: Counter[tuple[str, str]] = Counter()
    for ledger in ledgers:
        for each in ledger["refused"]:
            refused[each["reason"], each["detail"]] += each["streams"]
            points[each["reason"], each["detail"]] += each["points"]
    assert {(one.reason, one.detail): one.streams for one in facts.refused} == refused
    assert {(one.reason, one.detail): one.points for one in facts.refused} == points


@pytest.mark.parametrize("seed", range(12))
def test_samples_follow_one_another_as_the_products_ledger_says(seed: int) -> None:
    """In order, so that no sample is late: the ledger counts when panes seal."""
    rng = random.Random(seed)
    (entry,) = entries()
    points = [
        replace(one, came=None, kind="cumulative", unit="s", partition="all")
        for one in unruly(rng)
        if one.came is None or one.came >= one.at
    ]
    requests = given(points)
    watch, trial = Watch(), Trial([entry.resolved], 1)
    for one in requests:
        watch.feed("all", one.request, one.tenant, one.received)
        trial.give(0, one.request, one.tenant, one.received)
    trial.close(max(one.received for one in requests))
    trial.run()
    (ledger,) = trial.ledgers()
    (account,) = ledger["resets"] or [{}]
    plan = compile_plan([entry.resolved])
    _, (facts,) = facts_of(watch, plan, received=True, freshness=[None])
    ours = Counter({how: share.count for how, share in facts.sequence.items()})
    forgotten = account.get("unknown-start", 0)
    """Among them are those whose base line had been let go of meanwhile."""
    assert account.get("gap", 0) <= ours["gap"] <= account.get("gap", 0) + forgotten
    assert ours["overlap"] == account.get("overlap", 0)
    assert ours["tie"] == account.get("tie", 0)
    resets = account.get("decreased", 0) + account.get("start-changed", 0)
    assert ours["decreased"] + ours["restart"] == resets


def test_the_unruly_are_unruly() -> None:
    """What the two tests above compare is there to be compared."""
    seen: Counter[str] = Counter()
    for seed in range(12):
        rng = random.Random(seed)
        over_time = rng.choice(["increase", "sum", "max"])
        (entry,) = entries(aggregate={"over_time": over_time, "over_space": "sum"})
        watch = Watch()
        for one in given(unruly(rng)):
            watch.feed(one.partition, one.request, one.tenant, one.received)
        plan = compile_plan([entry.resolved])
        _, (facts,) = facts_of(watch, plan, received=True, freshness=[None])
        seen.update({how: share.count for how, share in facts.sequence.items()})
        seen["late"] += facts.late.late
        seen["beyond"] += facts.late.beyond
        seen["ahead"] += facts.ahead.count
        seen["negative"] += facts.negative.count
        seen["refused"] += len(facts.refused)
    wanted: dict[str, Any] = dict.fromkeys(
        ("gap", "overlap", "decreased", "restart", "late", "beyond", "ahead", "negative", "refused")
    )
    assert all(seen[name] for name in wanted), seen
