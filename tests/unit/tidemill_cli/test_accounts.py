"""What does not count is said in a sentence, of all partitions together."""

from __future__ import annotations

from typing import Any

from tidemill.accounts import crowded, noticed, refused


def task(position: int, *rows: tuple[str, str, str, int, int]) -> dict[str, Any]:
    names = ("definition", "reason", "detail", "streams", "points")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return {"position": position, "processor": {"refused": found}}


def test_partitions_add_up_and_the_task_that_is_further_on_speaks_for_its_partition():
    gauge = ("requests", "instrument", "gauge")
    here = {"raw/0": task(5, (*gauge, 1, 10)), "raw/1": task(5, (*gauge, 2, 1000))}
    there = {"raw/0": task(4, (*gauge, 1, 9))}
    workers = {"worker-0": {"preaggregate": here}, "worker-1": {"preaggregate": there}}
    assert refused(workers, "requests") == [
        "3 streams do not count, 1,010 points so far: gauge is not what `increase` counts: it "
        "counts monotonic sums"
    ]
    assert refused(workers)[0].startswith("requests: 3 streams")
    assert refused(workers, "another") == []


def test_a_unit_that_does_not_convert_is_named():
    workers = {"w": {"preaggregate": {"raw/0": task(5, ("latency", "unit", "By", 1, 1))}}}
    assert refused(workers) == [
        "latency: 1 stream does not count, 1 point so far: their unit `By` does not convert to the "
        "definition's"
    ]


def test_where_everything_counts_nothing_is_said():
    assert refused({"worker-0": {"preaggregate": {"raw/0": task(5)}}}) == []
    assert refused({"worker-0": {"rollup": {}}}) == []


def test_what_was_noticed_is_a_sentence_a_kind_with_its_latest_window():
    def account(total: int, end: int) -> dict[str, Any]:
        window = {"end": end * 10**9, "gap": 1}
        row = {"definition": "requests", "gap": total, "tie": 1, "windows": [window]}
        return {"position": 1, "processor": {"resets": [row]}}

    workers = {"worker-0": {"preaggregate": {"raw/0": account(1, 60), "raw/1": account(1999, 90)}}}
    assert noticed(workers, "requests") == [
        "2,000 samples came after more than 15 minutes of silence: the stream was unknown "
        "(the latest up to 1970-01-01 00:01:30)",
        "2 samples had another of the same stream and time that was greater: none counted",
    ]
    assert noticed(workers, "another") == []


def limit(state: str, tenant: str = "t", windows: int = 0, points: int = 0) -> dict[str, Any]:
    whose = {"definition": "requests", "tenant": tenant, "granularity": "10s", "limit": 1000}
    return {**whose, "state": state, "windows": windows, "points": points}


def test_a_limit_that_is_near_or_over_is_said_once_a_tenant_and_what_is_fine_is_not():
    rows = [limit("over", windows=2, points=1200), limit("near", "x"), limit("within", "y")]
    here = {"partials/0": {"position": 1, "processor": {"limits": rows}}}
    more = [limit("over", windows=1, points=34)]
    there = {"partials/1": {"position": 1, "processor": {"limits": more}}}
    workers = {"worker-0": {"rollup": here}, "worker-1": {"rollup": there}}
    over, near = crowded(workers, "requests")
    assert over.startswith("tenant t, windows of 10s: over the limit of 1,000 groups; ")
    assert "1,234 points in 2 windows" in over
    assert near == "tenant x, windows of 10s: near the limit of 1,000 groups (80 %)"
    assert [one.startswith("requests: tenant ") for one in crowded(workers)] == [True, True]
    assert crowded(workers, "another") == []
