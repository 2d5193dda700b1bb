"""What contradicts a definition is found, and what is next to it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from live_traffic import Point, changed, entries, given, good, mark

from metric_registry.catalogue import CATALOGUE
from metric_registry.live.report import LiveReport
from tidemill.live_check import live_check

Make = Callable[[], list[Point]]


def found(sections: dict[str, Any], points: list[Point]) -> LiveReport:
    notes: list[str] = []
    told = live_check(entries(**sections), given(points), notes)
    assert not notes
    return told


def codes(sections: dict[str, Any], points: list[Point]) -> list[str]:
    return [finding.code for finding in found(sections, points).findings]


def first(point: Point) -> bool:
    return (point.host, point.route) == ("h1", "/a")


def source(**fields: Any) -> dict[str, Any]:
    return {"source": {"metric": "requests", "unit": "s", **fields}}


def both(**fields: Any) -> dict[str, Any]:
    named = [{"metric": "requests"}, {"metric": "requests.total"}]
    return {"source": {"any_of": named, "unit": "s", **fields}}


def renamed(*chosen: str) -> list[Point]:
    return changed(good(), lambda one: one.host in chosen, metric="requests.total")


def doubled(until: float = 1e9) -> list[Point]:
    """Another name for what the first host sends, from then on."""
    again = [replace(one, metric="requests.total") for one in good() if one.host == "h1"]
    kept = [one for one in good() if one.host != "h1" or one.at <= until]
    return kept + [one for one in again if until == 1e9 or one.at > until]


def late(seconds: float, every: int = 10) -> list[Point]:
    """Of one stream every tenth second comes so late, until the watermark is past it."""
    return [
        replace(one, came=one.at + seconds)
        if first(one) and one.at % every == 0 and one.at < 80
        else one
        for one in good()
    ]


def falling(begin_again: bool) -> list[Point]:
    return [
        replace(one, value=one.value - 60, begin=60.0 if begin_again else 0.0)
        if first(one) and one.at > 60
        else one
        for one in good()
    ]


def seldom(every: int) -> list[Point]:
    return [one for one in good() if one.at % every == 0]


GAUGE = {"aggregate": {"over_time": "avg", "over_space": "sum"}}
ROUTES = {"route": {"from": "url", "default": "other"}}
LEVEL = {"service_level": {"freshness": "8s"}}
COMPLETE = {"service_level": {"completeness": "99%"}}
WIDE = {"time": {"granularities": ["10s", "1m"], "grace": "5s", "corrections": "1m"}}

CASES: dict[str, tuple[str, dict[str, Any], Make, dict[str, Any], Make]] = {
    "a metric that nobody sends": (
        "TM701", source(metric="request"), good, source(), good,
    ),
    "a pattern that fits nothing": (
        "TM701",
        {"source": {"match": "http.*", "unit": "s"}}, good,
        {"source": {"match": "req*", "unit": "s"}}, good,
    ),
    "one of two names is not there": (
        "TM702", both(), good, both(), lambda: renamed("h1"),
    ),
    "two names at once": (
        "TM703", both(), doubled, both(), lambda: renamed("h1"),
    ),
    "two names at once, and not one after the other": (
        "TM703", both(), doubled, both(), lambda: doubled(60),
    ),
    "two names into one group, and not into two": (
        "TM703", both(), doubled,
        both(), lambda: [replace(one, route="/c") if one.metric.endswith("total") else one
                         for one in doubled()],
    ),
    "a condition that nobody meets": (
        "TM704", source(where={"route": "/x"}), good, source(where={"route": "/a"}), good,
    ),
    "conditions that nobody meets together": (
        "TM704",
        source(where={"route": "/a", "host.name": "h2"}),
        lambda: [one for one in good() if (one.route == "/a") == (one.host == "h1")],
        source(where={"route": "/a", "host.name": "h2"}),
        good,
    ),
    "a listed value that nobody has": (
        "TM705", source(where={"route": ["/a", "/x"]}), good,
        source(where={"route": ["/a", "/b"]}), good,
    ),
    "a gauge in place of a counter": (
        "TM706", {}, lambda: changed(good(), first, kind="gauge"), {}, good,
    ),
    "histograms in place of numbers": (
        "TM706", {}, lambda: changed(good(), first, kind="histogram"), {}, good,
    ),
    "a summary": (
        "TM706", {}, lambda: changed(good(), lambda _: True, kind="summary"), {}, good,
    ),
    "a unit of something else": (
        "TM707", {}, lambda: changed(good(), first, unit="By"),
        {}, lambda: changed(good(), first, unit=""),
    ),
    "another unit of the same": (
        "TM708", {}, lambda: changed(good(), first, unit="ms"),
        {}, lambda: changed(good(), first, unit=""),
    ),
    "an attribute that nobody has": (
        "TM709", {"space": {"keep": ["rout"]}}, good, {"space": {"keep": ["route"]}}, good,
    ),
    "an attribute that some lack": (
        "TM710", {}, lambda: changed(good(), first, route=None), {}, good,
    ),
    "a default for all": (
        "TM711", source(attributes=ROUTES), good,
        source(attributes=ROUTES), lambda: changed(good(), first, extra=(("url", "/u"),)),
    ),
    "groups near their limit": (
        "TM712", {"limits": {"series": 2}}, good, {"limits": {"series": 3}}, good,
    ),
    "groups beyond their limit": (
        "TM713", {"limits": {"series": 1}}, good, {"limits": {"series": 3}}, good,
    ),
    "groups that come and go": (
        "TM713", {"limits": {"series": 2}},
        lambda: [replace(one, route=f"/{one.at // 20}{one.route}") for one in good()],
        {"limits": {"series": 5}, "time": {"granularities": ["10s"], "grace": "5s"}},
        lambda: [replace(one, route=f"/{one.at // 20}{one.route}") for one in good()],
    ),
    "points after the grace": (
        "TM714", {}, lambda: late(12), {}, lambda: late(2),
    ),
    "points after corrections": (
        "TM715", {}, lambda: late(40), WIDE, lambda: late(40),
    ),
    "points from the future": (
        "TM716", {}, lambda: changed(good(), lambda one: first(one) and one.at > 118, at=300.0,
                                     came=119.0),
        {}, lambda: changed(good(), lambda one: first(one) and one.at > 118, at=121.0, came=119.0),
    ),
    "samples rarer than windows": (
        "TM717", {}, lambda: seldom(20), {}, lambda: seldom(10),
    ),
    "deltas say what there is": (
        "TM717", {}, lambda: seldom(20), {}, lambda: changed(seldom(20), lambda _: True,
                                                             kind="delta"),
    ),
    "a total that falls": (
        "TM718", {}, lambda: falling(False), {}, lambda: falling(True),
    ),
    "two senders": (
        "TM718", {}, lambda: good() + [replace(one, value=one.value + 1) for one in good()
                                       if first(one)],
        {}, lambda: good() + [replace(one, value=one.value + 1, host="h3") for one in good()
                              if first(one)],
    ),
    "starts that overlap": (
        "TM718", {}, lambda: [replace(one, begin=one.at - 3) if first(one) else one
                              for one in good()],
        {}, good,
    ),
    "a counter that began again": (
        "TM719", {}, lambda: falling(True), {}, good,
    ),
    "a count below zero": (
        "TM720", {}, lambda: changed(good(), lambda one: first(one) and one.at == 60, value=-1.0),
        {}, good,
    ),
    "windows that wait for their seal": (
        "TM721", LEVEL,
        lambda: [replace(one, came=one.at + 7) for one in good()],
        LEVEL, good,
    ),
    "a first publication that lacks points": (
        "TM722", COMPLETE, lambda: late(12), COMPLETE, good,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_contradicts_a_definition_is_found(case: str) -> None:
    code, sections, points, _, _ = CASES[case]
    report = found(sections, points())
    assert code in [finding.code for finding in report.findings], report.text()
    for finding in report.findings:
        assert "`served`" in finding.message
        assert finding.help
        assert (finding.file, finding.line) == ("served.yaml", 1)


@pytest.mark.parametrize("case", CASES)
def test_what_is_next_to_it_is_not(case: str) -> None:
    code, _, _, sections, points = CASES[case]
    report = found(sections, points())
    assert code not in [finding.code for finding in report.findings], report.text()


def test_every_code_has_a_case() -> None:
    ours = {code for code in CATALOGUE if code.startswith("TM7")}
    assert {case[0] for case in CASES.values()} == ours


def test_good_traffic_has_no_finding() -> None:
    report = found({**LEVEL, **source(where={"route": ["/a", "/b"]})}, good())
    assert report.findings == (), report.text()
    assert report.text() == (
        "1 definition held against 240 points of 4 streams in 240 requests, from "
        "2027-01-15T08:00:02Z to 2027-01-15T08:02:00Z: nothing contradicts them."
    )


@pytest.mark.parametrize(
    ("sections", "points", "said"),
    [
        (source(metric="request"), good, "did you mean `requests`?"),
        (source(where={"route": ["/a", "/bb"]}), good, "did you mean `/b`?"),
        (source(metric="responses"), good, "help: `tidemill registry infer` says what is sent"),
        (source(where={"route": "xyz"}), good, "seen: `/a`, `/b`"),
        (source(where={"zone": "xyz"}), good, "no stream has an attribute `zone`"),
        ({}, lambda: late(12), "a grace of `5s` would have covered 99 % of the points"),
    ],
)
def test_the_way_out_is_told(sections: dict[str, Any], points: Make, said: str) -> None:
    if "grace" in said:
        said = f"a grace of `{_grace(points(), 0.99)}s` would have covered 99 % of the points"
    assert said in found(sections, points()).text()


def _grace(points: list[Point], share: float) -> int:
    """By hand: the fewest whole seconds under which this share is in time."""
    newest, behind = float("-inf"), []
    for one in sorted(points, key=lambda point: point.received):
        behind.append(newest - -(-one.at // 10) * 10)
        newest = max(newest, one.at)
    for grace in range(100):
        if sum(each < grace for each in behind) >= share * len(behind):
            return grace
    raise AssertionError


def test_a_finding_has_counts_and_an_example() -> None:
    (told,) = found({}, changed(good(), first, route=None)).findings
    assert told.message == (
        "`served` keeps `route`, which 1 of 4 streams lack: such as requests{} of {host.name=h1}"
    )


def test_idle_marks_make_late_as_they_do_in_the_product() -> None:
    """A silent partition was declared complete before its agent went on."""
    points = [one for one in good() if one.at <= 60]
    before = [one for one in given(points) if one.received < given([Point(at=31)])[0].received]
    after = given(points)[len(before) :]
    notes: list[str] = []
    quiet = live_check(entries(), [*before, *after], notes)
    marked = live_check(entries(), [*before, mark(50), *after], notes)
    assert "TM714" not in [finding.code for finding in quiet.findings]
    assert "TM714" in [finding.code for finding in marked.findings]


def test_partitions_are_late_each_by_itself() -> None:
    """One host is half a minute behind the other one, in a partition of its own."""
    behind = [replace(one, came=one.at + 30.5) if one.host == "h2" else one for one in good()]
    apart = [
        replace(one, partition="telemetry.raw/1") if one.host == "h2" else one for one in behind
    ]
    assert "TM715" in codes({}, behind)
    assert not {"TM714", "TM715"} & set(codes({}, apart))


def test_a_window_waits_for_the_last_partition() -> None:
    parts = {"h1": "telemetry.raw/0", "h2": "telemetry.raw/1"}
    points = [replace(one, partition=parts[str(one.host)]) for one in good()]
    slow = [replace(one, came=one.at + 7) if one.host == "h2" else one for one in points]
    assert "TM721" not in codes(LEVEL, points)
    assert "TM721" in codes(LEVEL, slow)


def test_files_say_nothing_of_when_requests_came() -> None:
    stale = [one._replace(received=0) for one in given(good())]
    report = live_check(entries(**LEVEL), stale, [])
    assert not report.looked.received
    assert report.findings == ()


def test_what_cannot_be_read_is_told() -> None:
    notes: list[str] = []
    broken = given(good())
    broken[3] = broken[3]._replace(request=b"\xff\xff")
    report = live_check(entries(), broken, notes)
    assert len(notes) == 1
    assert report.looked.points == 239


def test_a_request_that_was_sent_again_counts_once() -> None:
    report = live_check(entries(), [*given(good()), *given(good()[-1:])], [])
    assert (report.looked.points, report.looked.repeats) == (240, 1)
    assert report.findings == ()
