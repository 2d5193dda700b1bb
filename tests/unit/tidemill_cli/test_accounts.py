"""What does not count is said in a sentence, of all partitions together."""

from __future__ import annotations

from typing import Any

from tidemill.accounts import noticed, refused


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
