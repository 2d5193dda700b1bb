"""The Processor API: records as they are, by processors of one's own, in a plan like any other."""

import json

import pytest

from streams.errors import Fatal
from streams.schema import TopologyError
from streams.task.processor import InputRecord, OutputRecord
from streams.topology.builder import StreamsBuilder
from streams.topology.manifest import differences, manifest
from streams.topology.testing import TopologyTestDriver
from streams.topology.topics import Topic
from tidemill.main import main

SUMS = Topic("sums", 2, {"cleanup.policy": "compact"}, internal=True)
ALARMS = Topic("alarms", 1)


class Sums:
    """A running sum; tells it behind each record, at the partition that its topic says."""

    def __init__(self, topic, partition, to="sums"):
        self.topic, self.partition, self.to = topic, partition, to
        self.total, self.position, self.told = 0, None, []

    def restore(self, blocks):
        for key, value in blocks:
            assert key == b"total"
            self.total, self.position = json.loads(value)

    def replay_from(self):
        return self.position

    def process(self, records):
        for record in records:
            self.total += int(record.value)
            told = OutputRecord(self.to, self.partition % 2, None, b"%d" % self.total)
            self.told.append(told)
            self.position = record.offset + 1
        return len(records)

    def needs(self):
        return None

    def supply(self, records, done):
        raise AssertionError

    def outputs(self):
        told, self.told = self.told, []
        return told

    def urgent(self):
        return False

    def before_commit(self, position):
        return []

    def idle(self, now_ms):
        return []

    def snapshot(self, position):
        return {b"total": json.dumps([self.total, position]).encode()}

    def stats(self):
        return {"total": self.total}


def summed(version=1, meaning="one integer", also=None, to="sums", name="sums"):
    builder = StreamsBuilder("app", version=version)
    builder.records(Topic("numbers", 2), also=also, any_number=also).process(
        lambda topic, partition: Sums(topic, partition, to),
        name=name, writes=[SUMS], stores={"total": meaning},
    )  # fmt: skip
    builder.records(SUMS).process(
        lambda topic, partition: Sums(topic, 0, "alarms"), name="alarms", writes=[ALARMS]
    )
    return builder.build()


def values(driver, topic, partition=0):
    return [int(record.value) for record in driver.log.read(topic, partition)]


@pytest.mark.parametrize("seed", range(5))
def test_processors_run_one_behind_the_other_exactly_once_over_restarts(seed):
    driver = TopologyTestDriver(summed(), seed=seed)
    for number in range(12):
        driver.pipe_record("numbers", b"%d" % number, partition=number % 2)
        if number % 5 == 3:
            driver.run()
            driver.restart(lose_disk=number % 2 == 0)
    driver.run()
    assert values(driver, "sums", 1) == [1, 4, 9, 16, 25, 36]
    assert max(values(driver, "alarms")) == 1 + 4 + 9 + 16 + 25 + 36
    assert {str(task.id) for task in driver.tasks} == {
        "sums-numbers-0", "sums-numbers-1", "alarms-sums-0", "alarms-sums-1",
    }  # fmt: skip


def test_topics_that_match_are_read_with_as_many_partitions_as_they_have():
    driver = TopologyTestDriver(summed(also=r"numbers\.e\d+"), {"numbers.e2": 3, "numbersxe3": 1})
    driver.pipe_record("numbers.e2", b"7", partition=2)
    driver.run()
    assert values(driver, "sums") == [7]
    assert [str(task.id) for task in driver.tasks][:5] == [
        "sums-numbers-0", "sums-numbers-1", "sums-numbers.e2-0", "sums-numbers.e2-1",
        "sums-numbers.e2-2",
    ]  # fmt: skip
    topology = summed(also=r"numbers\.e\d+").topologies()[0]
    assert topology.partitions_of("numbers.e2") is None
    assert topology.partitions_of("numbers") == 2
    assert not topology.reads("numbersxe3")


def test_a_topic_that_is_not_declared_stops_the_worker_with_nothing_written():
    driver = TopologyTestDriver(summed(to="elsewhere"), {"elsewhere": 2})
    driver.pipe_record("numbers", b"7")
    with pytest.raises(AssertionError, match="sums writes to elsewhere, and its topology does not"):
        driver.run()
    assert driver.log.read("elsewhere") == []


def test_what_is_declared_is_what_is_made_and_what_is_told():
    plan = summed()
    assert {t.name: (t.partitions, t.internal) for t in plan.topics()} == {
        "app-dead-letter": (1, False), "numbers": (2, False), "sums": (2, True),
        "alarms": (1, False),
    }  # fmt: skip
    assert plan.output_topics() == ["alarms"]
    assert "Sink: sums (topic: sums, 2 partitions, internal)" in plan.describe()
    assert plan.graph("text").splitlines()[2:6] == [
        "sums (2 tasks)", "  (numbers)", "  └─ sums [store]", "     └─ (sums)",
    ]  # fmt: skip


def outcomes(old, new):
    found = differences(json.loads(json.dumps(manifest(old))), manifest(new))
    return {f"{each.what} {each.name}": each.outcome for each in found}


def test_a_store_of_another_meaning_is_refused_by_the_tool_and_by_a_worker():
    old, new = summed(), summed(2, "two integers")
    assert set(outcomes(old, summed(2)).values()) == {"continues"}
    assert outcomes(old, new)["store sums/total"] == "refused"
    driver = TopologyTestDriver(old)
    driver.pipe_record("numbers", b"7")
    driver.run()
    driver.upgrade(new)
    with pytest.raises(AssertionError, match="it keeps 'one integer' and would have to keep 'two"):
        driver.run()


def test_what_ends_names_what_it_leaves():
    builder = StreamsBuilder("app", version=2)
    builder.records(SUMS).process(
        lambda topic, partition: Sums(topic, 0, "alarms"), name="alarms", writes=[ALARMS]
    )
    found = differences(manifest(summed()), manifest(builder.build()))
    ending = next(each for each in found if each.name == "sums/total")
    assert ending.outcome == "ends"
    assert "<app>-sums-changelog, sums" in ending.reason


def test_state_of_before_there_were_declarations_goes_on_and_an_older_version_stops():
    plan = summed(3)
    topology = plan.topologies()[0]
    processor = topology.factory("numbers", 0)
    processor.restore([(b"total", b"[5, 1]")])
    processor.process([InputRecord(1, 0, None, b"2")])
    assert [record.value for record in processor.outputs()] == [b"7"]
    blocks = processor.snapshot(2)
    assert set(blocks) == {b"!", b"total"}
    assert set(processor.snapshot(2)) == {b"total"}  # what is declared is written once
    same = summed(2).topologies()[0].factory("numbers", 0)
    same.restore(sorted(blocks.items()))
    older = summed(2, "a decimal").topologies()[0].factory("numbers", 0)
    with pytest.raises(Fatal, match="version 3 has taken over and this is version 2"):
        older.restore(sorted(blocks.items()))


def test_the_builder_refuses_names_that_tasks_cannot_have_and_topics_twice():
    records = StreamsBuilder("app").records("numbers")
    with pytest.raises(TopologyError, match="use lower case"):
        records.process(Sums, name="Sums")
    with pytest.raises(TopologyError, match="a topic is twice in sums, sums"):
        records.process(Sums, name="sums", writes=[SUMS, SUMS])


def test_the_commands_show_the_product_unless_told_otherwise(capsys, tmp_path):
    assert main(["topology", "graph"]) == 0
    drawn = capsys.readouterr().out
    for topic in ("telemetry.raw", "telemetry.partials", "telemetry.rollups", "telemetry.tasks"):
        assert f"({topic})" in drawn
    assert main(["topology", "manifest"]) == 0
    saved = tmp_path / "saved.json"
    saved.write_text(capsys.readouterr().out)
    assert main(["topology", "diff", str(saved), "-o", "json"]) == 0
    assert {row["outcome"] for row in json.loads(capsys.readouterr().out)} == {"continues"}
    assert main(["topology", "stores", "-o", "json"]) == 0
    kept = {row["store"] for row in json.loads(capsys.readouterr().out)}
    assert kept >= {"preaggregate/series", "rollup/windows", "manager/units"}
