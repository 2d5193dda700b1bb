"""Definitions are put in force before a real broker: what is announced, refused, kept, put back.

The change itself, with workers that compute, is run by `tests/end_to_end/test_registry_apply.py`
and `tests/real/definitions.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import kafka_log

from metric_registry.compile import compile_plan
from streams.event_time.windows import SECOND, rfc3339
from tidemill.announcing import LEAD_NS, Known, Superseded, put_in_force
from tidemill.deployed_file import DEPLOYED
from tidemill.main import main
from tidemill.settings import Settings, load
from tidemill.wiring import load_plan
from topologies.decisions import TOPIC, Decision, applied
from topologies.deployment import Deployment

PARTITIONS = 3
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {name}
description: One
owner: {owner}
source: {{metric: requests, unit: "1"}}
space: {{keep: []}}
time: {{granularities: [10s], grace: 2s, corrections: 1h}}
aggregate: {{over_time: {how}, over_space: sum}}
"""


class Deployed:
    """A deployment without workers, whose log begins anew with each test."""

    def __init__(self, folder: Path, bootstrap: str, said: pytest.CaptureFixture[str]) -> None:
        self.data, self.files = folder / "data", folder / "definitions"
        self.bootstrap = bootstrap
        self._said = said
        self.files.mkdir()
        self.data.mkdir()
        plain = {"starter_definitions": False, "worker_port": 9, "data": str(self.data)}
        (self.data / "settings.json").write_text(json.dumps(plain))

    @property
    def settings(self) -> Settings:
        return load(self.data / "settings.json")

    def write(self, name: str, how: str = "sum", owner: str = "tests") -> None:
        text = DEFINITION.format(name=name, how=how, owner=owner)
        (self.files / f"{name}.yaml").write_text(text)

    def init(self) -> str:
        return self.run(
            "init", "--data", str(self.data), "--bootstrap", self.bootstrap,
            "--definitions", str(self.files), "--partitions", str(PARTITIONS),
        )  # fmt: skip

    def registry(self, *words: str, code: int = 0) -> str:
        return self.run(
            "registry", *words, "--settings", str(self.data / "settings.json"), code=code
        )

    def run(self, *words: str, code: int = 0) -> str:
        self._said.readouterr()
        assert main(words) == code, self._said.readouterr()
        told = self._said.readouterr()
        assert told.err.count("\n") == 1 or not code
        return told.err if code else told.out

    def history(self) -> list[dict[str, Any]]:
        return json.loads(self.registry("history", "-o", "json"))

    def told(self, topic: str = "telemetry.raw", partitions: int = PARTITIONS) -> list[set[int]]:
        """By partition, the times of the decisions that its records tell."""
        log = kafka_log.read(self.bootstrap, [topic])
        return [
            {
                Deployment.from_json(record.value).decided
                for record in log[topic, number]
                if record.headers.get("control") == b"plan"
            }
            for number in range(partitions)
        ]

    def decisions(self) -> list[Decision]:
        records = kafka_log.read(self.bootstrap, [TOPIC])[TOPIC, 0]
        return [Decision.from_json(record.value) for record in records if record.value]


@pytest.fixture
def deployed(broker_process: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Deployed:
    made = Deployed(tmp_path, broker_process, capsys)
    asyncio.run(_without_topics(broker_process))
    return made


async def _without_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if not name.startswith("__")]
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()


def test_a_change_is_announced_to_all_partitions_and_kept_with_those_before(deployed: Deployed):
    deployed.write("served")
    deployed.write("other")
    deployed.init()
    assert deployed.told() == [set()] * PARTITIONS  # what counts from the start needs no record
    assert "nothing changes" in deployed.registry("apply")
    deployed.write("served", "max")
    would = deployed.registry("apply", "--dry-run")
    assert "nothing is done; now it would be" in would
    assert len(deployed.history()) == 1
    said = json.loads(deployed.registry("apply", "--no-wait", "-o", "json"))
    (change,) = said["changes"]
    wanted = f"changes from version {change['old']} to {change['new']}: .* {change['from']} "
    assert re.search(wanted, said["sentences"][0])
    first, second = deployed.decisions()
    assert deployed.told() == [{second.deployed.decided}] * PARTITIONS
    since = second.deployed.since[change["new"]]
    assert 0 <= since - (second.deployed.decided + LEAD_NS) < SECOND
    assert rfc3339(since) == change["from"]  # it is told to the second, and is no other time
    assert since % SECOND == 0
    newest, oldest = deployed.history()
    assert newest["changes"] == "changed: served"
    assert (newest["how"], newest["since"]) == ("apply", change["from"])
    assert oldest["how"] == "start"
    assert first.deployed.plan != second.deployed.plan


def test_a_definition_goes_only_where_that_is_asked_for(deployed: Deployed):
    deployed.write("served")
    deployed.write("other")
    deployed.init()
    (deployed.files / "other.yaml").unlink()
    said = deployed.registry("apply", code=1)
    assert "other would go, since no file has them: let them go with --delete" in said
    assert "other goes: its last windows begin before" in deployed.registry(
        "apply", "--delete", "--no-wait"
    )


def test_a_rollback_goes_back_and_holds_over_a_start(deployed: Deployed):
    deployed.write("served")
    deployed.init()
    deployed.write("served", "max")
    deployed.registry("apply", "--no-wait")
    assert "served changes from version" in deployed.registry("rollback", "--no-wait")
    one, two, three = deployed.decisions()
    assert three.deployed.current == one.deployed.current != two.deployed.current
    assert deployed.told() == [{two.deployed.decided, three.deployed.decided}] * PARTITIONS
    assert "nothing was in force before the last change" in deployed.registry("rollback", code=1)

    started = deployed.init()
    assert re.search(r"the rollback of \S+ holds: files say otherwise of served, which", started)
    assert len(deployed.decisions()) == 3
    newest = deployed.history()[0]
    assert newest["how"].startswith("rollback to ")
    deployed.registry("apply", "--no-wait")
    assert deployed.decisions()[-1].deployed.current == two.deployed.current
    assert "holds" not in deployed.init()


def test_partitions_of_a_later_epoch_are_told_too(deployed: Deployed):
    deployed.write("served")
    deployed.init()
    file = ("--settings", str(deployed.data / "settings.json"))
    deployed.run("topic", "repartition", "--partitions", "2", *file)
    deployed.write("served", "max")
    deployed.registry("apply", "--no-wait")
    decided = deployed.decisions()[-1].deployed.decided
    assert deployed.told("telemetry.raw.e2", 2) == [{decided}] * 2
    assert deployed.told() == [{decided}] * PARTITIONS


def test_what_is_said_of_a_time_is_what_was_in_force_then(deployed: Deployed):
    deployed.write("served")
    deployed.init()
    times = [deployed.history()[0]["decided"]]
    for how in ("max", "last"):
        deployed.write("served", how)
        deployed.registry("apply", "--no-wait")
        times.append(deployed.history()[0]["decided"])
    if len(set(times)) == 3:
        deployed.registry("rollback", "--to", times[0], "--no-wait")
        decisions = deployed.decisions()
        assert decisions[-1].deployed.current == decisions[0].deployed.current
    assert "is no time" in deployed.registry("rollback", "--to", "noon", code=1)
    assert "nothing was, 2001" in deployed.registry("rollback", "--to", "2001-01-01", code=1)


def test_what_is_no_part_of_a_version_is_announced_too(deployed: Deployed):
    deployed.write("served")
    deployed.init()
    file = deployed.files / "served.yaml"
    file.write_text(file.read_text() + "publish: {upsert: true}\n")
    said = deployed.registry("apply", "--no-wait")
    assert re.search(
        r"served keeps its version \w+, and is published otherwise.*publish.upsert", said
    )
    assert deployed.told() == [{deployed.decisions()[1].deployed.decided}] * PARTITIONS


def test_what_an_earlier_program_wrote_becomes_the_first_decision(deployed: Deployed):
    deployed.write("served")
    file = deployed.data / DEPLOYED
    settings = deployed.settings
    deployed.init()
    (before,) = deployed.decisions()
    asyncio.run(_without_topics(deployed.bootstrap))
    old = Deployment(before.deployed.plan, {}, {}, 17)
    file.write_bytes(old.to_json())
    assert settings.folder == deployed.data
    deployed.init()
    assert [each.deployed for each in deployed.decisions()] == [old]
    assert not file.exists()

    asyncio.run(_without_topics(deployed.bootstrap))
    (one,) = load_plan(deployed.settings).definitions
    file.write_text(json.dumps({one.version: 5, "0" * 16: 9}))
    deployed.write("second")
    assert "new definition second" in deployed.init()
    first, second = deployed.decisions()
    assert first.deployed == Deployment(compile_plan([one]), {one.version: 5})
    assert second.deployed.since[one.version] == 5
    assert deployed.told() == [{second.deployed.decided}] * PARTITIONS
    file.write_text("{")
    assert "nothing changes" in deployed.registry("apply")  # the topic says it
    assert not file.exists()


def test_of_two_at_once_the_later_one_decides_on_what_the_first_left(deployed: Deployed):
    """The first is fenced before it tells anybody, and nothing of it is to be seen."""
    deployed.write("served")
    deployed.init()
    settings = deployed.settings
    deployed.write("served", "max")
    mine = load_plan(settings)
    deployed.write("served", "last")
    theirs = load_plan(settings)

    def between() -> None:
        asyncio.run(put_in_force(settings, lambda k: applied(k.decisions, theirs, k.when)))

    def choose(known: Known) -> Decision | None:
        other = threading.Thread(target=between)
        other.start()
        other.join()
        return applied(known.decisions, mine, known.when)

    with pytest.raises(Superseded, match="nothing of this one is in force"):
        asyncio.run(put_in_force(settings, choose))
    decisions = deployed.decisions()
    assert [each.deployed.current for each in decisions[1:]] == [theirs.definitions]
    assert deployed.told() == [{decisions[-1].deployed.decided}] * PARTITIONS


def test_a_commit_whose_answer_is_lost_is_found_out_about(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
):
    deployed.write("served")
    deployed.init()
    deployed.write("served", "max")
    commit = AIOKafkaProducer.commit_transaction
    lost = Counter[str]()

    async def committed(producer: AIOKafkaProducer) -> None:
        await commit(producer)
        lost["answers"] += 1
        raise TimeoutError

    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", committed)
    deployed.registry("apply", "--no-wait")
    assert lost["answers"] == 1
    assert len(deployed.decisions()) == 2


def test_without_a_log_or_with_mistakes_nothing_is_done(deployed: Deployed):
    deployed.write("served")
    deployed.init()
    (deployed.files / "served.yaml").write_text("kind: Metric\n")
    deployed._said.readouterr()
    words = ["registry", "apply", "--settings", str(deployed.data / "settings.json")]
    assert main(words) == 1
    assert "served.yaml:1:1: error TM" in deployed._said.readouterr().err
    deployed.write("served", "max")
    stated = json.loads((deployed.data / "settings.json").read_text())
    (deployed.data / "settings.json").write_text(json.dumps(stated | {"bootstrap": "127.0.0.1:9"}))
    for command in ("apply", "rollback", "history"):
        assert "is the stack running? tidemill up starts it" in deployed.registry(command, code=4)
    assert len(deployed.decisions()) == 1


def test_a_worker_refuses_to_start_without_an_aggregate_of_what_is_in_force(deployed: Deployed):
    apdex = Path(__file__).resolve().parents[2] / "examples" / "apdex.py"
    deployed.write("served")
    file = deployed.files / "served.yaml"
    text = file.read_text().replace("over_time: sum, over_space: sum", "over_points: {apdex: 2}")
    file.write_text(text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL")}

    def tidemill(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tidemill", *words],
            cwd=deployed.data, env=environment, capture_output=True, text=True, timeout=240,
            check=False,
        )  # fmt: skip

    words = ("--data", ".", "--bootstrap", deployed.bootstrap, "--definitions", str(deployed.files))
    done = tidemill("init", *words, "--partitions", "1", "--aggregates", str(apdex))
    assert done.returncode == 0, done.stderr
    settings = deployed.data / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"aggregates": []}))
    done = tidemill("worker", "--settings", "settings.json")
    assert done.returncode != 0
    assert "served needs 'apdex@1(2)'" in done.stderr
