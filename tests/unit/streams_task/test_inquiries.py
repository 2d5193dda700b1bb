"""When a task answers: while it runs, between two batches, and not so often that it starves."""

import pytest

from streams.codecs import Json
from streams.config import TaskSettings
from streams.queries.questions import QueryError, Question
from streams.schema import Schema, i64, string
from streams.task import events as ev
from streams.task.phase import Phase
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.testing import TopologyTestDriver


def driver(**settings):
    builder = StreamsBuilder("asked")
    rows = builder.stream("rows", Json(Schema(shop=string, n=i64)), partitions=1, key="shop")
    rows.group_by("shop").aggregate(total=agg.sum("n")).to("out")
    return TopologyTestDriver(builder.build(TaskSettings(**settings)))


def test_a_suspended_task_waits_for_its_rebalance_and_then_goes_on_where_it_stood():
    world = driver()
    (task,) = world.tasks
    world.pipe("rows", [{"shop": "a", "n": 1}])
    world.run()
    task.step(ev.Suspend())
    task.run()
    for _ in range(50):
        task.advance(20)
    assert task.task.phase is Phase.SUSPENDED
    with pytest.raises(QueryError) as refused:
        world.query("aggregate-shop")
    assert (refused.value.status, refused.value.code) == (503, "moving")
    world.pipe("rows", [{"shop": "a", "n": 2}])
    task.step(ev.Resume())
    world.run()
    assert (task.task.restarts, task.task.phase) == (0, Phase.RUNNING)
    assert world.query("aggregate-shop", shop="a")["rows"] == [{"shop": "a", "total": 3.0}]


def test_questions_without_end_do_not_keep_a_task_from_its_records():
    world = driver(batch_records=1, buffer_records=50)
    (task,) = world.tasks
    world.run()
    for n in range(20):
        world.pipe("rows", [{"shop": "a", "n": n}])
    task.fetch_some()
    seen = [world.query("aggregate-shop")["position"]["rows/0"] for _ in range(60)]
    assert seen == sorted(seen)
    assert seen[-1] == 20, seen


def test_questions_without_end_do_not_keep_a_partition_from_being_idle():
    world = driver(idle_after_ms=100)
    (task,) = world.tasks
    world.pipe("rows", [{"shop": "a", "n": 1}])
    world.run()
    met = {ev.Answer: 0, ev.CallIdle: 0}
    (at_work,) = task.task.step(ev.Asked(0, Question("aggregate-shop")), task.now_ms)
    for number in range(1, 200):
        task.now_ms += 10
        task.task.step(ev.Asked(number, Question("aggregate-shop")), task.now_ms)
        met[type(at_work)] += 1
        done = ev.Answered({}) if isinstance(at_work, ev.Answer) else ev.IdleCalled(wrote=False)
        (at_work,) = task.task.step(done, task.now_ms)
    assert met[ev.CallIdle] >= 10, met


def test_of_too_many_questions_at_once_some_are_refused_and_the_rest_answered():
    world = driver()
    (task,) = world.tasks
    world.run()
    world.pipe("rows", [{"shop": "a", "n": 1}])
    task.fetch_some()  # it is at work on a batch
    asked = [ev.Asked(number, Question("aggregate-shop")) for number in range(100)]
    refused = [effect for each in asked for effect in task.task.step(each, task.now_ms)]
    assert [type(effect) for effect in refused] == [ev.Refuse] * 36
    (answer,) = task.task.step(ev.Processed(1, None, urgent=False), task.now_ms)
    assert isinstance(answer, ev.Answer)
    assert (len(answer.asked), answer.position) == (64, 1)


def test_a_task_that_restores_says_how_far_it_is():
    world = driver()
    world.pipe("rows", [{"shop": "a", "n": 1}])
    world.run()
    world.restart()
    with pytest.raises(QueryError) as refused:
        world.query("aggregate-shop")
    assert refused.value.code == "restoring"
    assert refused.value.body()["progress"]["state"] in ("fencing", "restoring", "created")
    world.run()
    assert world.query("aggregate-shop")["committed"] == {"rows/0": 1}


def test_a_wrong_question_is_told_what_there_is():
    world = driver()
    world.run()
    for asked, status, said in (
        ({"store": "aggregate-shops"}, 404, "did you mean 'aggregate-shop'?"),
        ({"store": "aggregate-shop", "city": "x"}, 400, "key columns of aggregate-shop are shop"),
        ({"store": "aggregate-shop", "from": 3}, 400, "has no windows"),
        ({"store": "aggregate-shop", "limit": 0}, 400, "no number from 1 to 10000"),
        ({"store": "aggregate-shop", "next": "x"}, 400, "not what an answer said"),
        ({"store": "aggregate-shop", "min_position": "row/0:1"}, 400, "it depends on rows/0"),
        ({"store": "aggregate-shop", "min_position": "rows/0:1"}, 503, "processed rows/0 up to 0"),
    ):
        with pytest.raises(QueryError) as refused:
            world.query(**asked)
        assert refused.value.status == status
        assert said in str(refused.value)
