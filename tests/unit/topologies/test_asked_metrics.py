"""What may be asked of a metric, and what is said to what may not."""

from __future__ import annotations

import json
import random

import pytest

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.batch import BytesColumn
from streams.event_time.windows import LATEST
from streams.queries.questions import LAST_HASH, QueryError
from topologies.epochs import LIVE
from topologies.queries.labels import with_labels
from topologies.queries.parsing import found_metric, parse, shares
from topologies.queries.questions import MetricQuestion, asked, question_of

SECOND = 10**9
DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: rooms.temperature
description: Mean temperature of the rooms
owner: example
source: {metric: temperature, unit: Cel}
space: {keep: [limit, room.name]}
time: {granularities: [10s, 1m, 5m/1m, 1mo], grace: 2s, corrections: 1h}
aggregate: {over_time: avg, over_space: avg}
limits: {series: 1000, beyond: other}
"""
PLAN = compile_plan(check_files([SourceFile("rooms.yaml", DEFINITION)]).definitions)
(ROOMS,) = PLAN.definitions


def refused(**given: str) -> QueryError:
    with pytest.raises(QueryError) as error:
        parse(ROOMS, given)
    return error.value


def test_the_finest_open_windows_of_the_live_topic_are_asked_for_unless_the_question_says_more():
    plain = parse(ROOMS, {})
    assert plain.question == MetricQuestion(
        "rooms.temperature", 10 * SECOND, f"{10 * SECOND}/{2 * SECOND}/{3600 * SECOND}"
    )
    assert (plain.limit, plain.wait_ms, plain.bound, plain.question.domain) == (100, 2000, {}, LIVE)
    more = parse(
        ROOMS,
        {
            "granularity": "60s", "windows": "all", "domain": "telemetry.history.x", "from": "5",
            "to": "1970-01-01T00:01:00Z", "limit": "7", "next": "60000000000.ff",
            "label.limit": "x", "room.name": "a b", "null": "tenant",
            "min_position": "telemetry.raw/3:12", "wait_ms": "0",
        },
    )  # fmt: skip
    question = more.question
    assert (question.level, question.after, question.until) == (60 * SECOND, 5, 60 * SECOND)
    assert (question.is_open, question.is_closed, question.behind) == (
        True,
        True,
        (60 * SECOND, 255),
    )
    assert question.labels == {"limit": "x", "room.name": "a b", "tenant": None}
    assert (more.limit, more.bound) == (7, {"telemetry.raw/3": 12})
    assert question_of(asked(question)) == question


def test_windows_are_wanted_up_to_the_end_and_behind_the_page_before():
    question = MetricQuestion("m", 10, after=10, until=40, behind=(30, 7))
    assert [end for end in range(0, 60, 10) if question.wants(end)] == [30, 40]
    done = MetricQuestion("m", 10, behind=(30, LAST_HASH))
    assert [end for end in range(0, 60, 10) if done.wants(end)] == [40, 50]
    assert MetricQuestion("m", 10).wants(LATEST)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"granularity": "20s"}, "wrong-option", "10s, 1m, 5m/1m, 1mo"),
        ({"granularity": "often"}, "wrong-option", "often"),
        ({"windows": "some"}, "wrong-option", "open, closed, all"),
        ({"room": "a"}, "wrong-label", "tenant, limit, room.name"),
        ({"null": "rooms"}, "wrong-label", "tenant, limit, room.name"),
        ({"limit": "0"}, "wrong-option", "1 to 10000"),
        ({"from": "yesterday"}, "wrong-time", "RFC 3339"),
        ({"next": "soon"}, "wrong-option", "next"),
        ({"min_position": "12"}, "wrong-option", "orders/0:1234"),
    ],
)
def test_a_wrong_question_is_told_what_is_right(given: dict[str, str], code: str, said: str):
    error = refused(**given)
    assert (error.status, error.code, error.retry_ms) == (400, code, None)
    assert said in error.message


def test_an_unknown_metric_is_told_the_nearest_one():
    with pytest.raises(QueryError, match=r"did you mean 'rooms.temperature'") as error:
        found_metric(PLAN.definitions, "room.temperature")
    assert (error.value.status, error.value.more) == (404, {"metrics": ["rooms.temperature"]})
    assert found_metric(PLAN.definitions, "rooms.temperature") is ROOMS
    assert shares(PLAN, "rooms.temperature") == {ROOMS.version: 1000}


NAMES = ["a", "aa", "tenant", 'a"', "a\\", "{a", ",a", "ä", "a:b"]
VALUES = ["", "x", "xx", 'x"', 'x","a":"y', "\\", "\\\\", "{", "ä\n", "x}", '"']


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_found_whole_and_where_they_belong(seed: int):
    chance = random.Random(seed)
    every = [
        {name: chance.choice(VALUES) for name in NAMES if chance.random() < 0.4} for _ in range(200)
    ]
    column = BytesColumn.of(
        json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        for one in every
    )
    for _ in range(50):
        wanted = {
            name: chance.choice([*VALUES, None])
            for name in chance.sample(NAMES, chance.randint(0, 2))
        }
        found = with_labels(column, wanted).tolist()
        assert found == [all(one.get(n) == v for n, v in wanted.items()) for one in every]
