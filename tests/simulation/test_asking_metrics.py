"""The product is asked at random moments of random stories; an oracle knows the answers.

Open windows must hold what the records before the answer's positions amount to: while partials are
on their way, while some sources have sealed and others have not, with late points, limits, several
loads beside the live topic, and after tasks have died. TIDEMILL_STORIES, TIDEMILL_SEED as ever.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import epochs, scenario

from tests.simulation.asked_world import Settling, World, name_of, said, value_of
from tests.simulation.histogram_runs import run_of_histograms
from tests.simulation.stories import story
from tests.simulation.test_topic_epochs import story as story_of_epochs
from tests.simulation.topology_world import again
from topologies.queries import questions

STORIES = int(os.environ.get("TIDEMILL_STORIES", "12"))
SEED = int(os.environ.get("TIDEMILL_SEED", "1"))
SCENARIOS = Path(__file__).resolve().parents[1] / "oracle" / "scenarios"


def ask_all(world: World, chance: random.Random, definition: Any, size: Any, domain: str) -> int:
    """Ask once, page by page, and compare; returns how many rows were right. Raises Settling."""
    given = {"granularity": name_of(size), "domain": domain, "windows": "all", "limit": "10000"}
    whole = world.ask(definition, given)
    is_open = [row for row in whole["rows"] if row["open"]]
    wanted = world.wanted(definition, size, domain, whole["position"])
    if (gone := whole["gone_until"]) is not None:  # a load came too late for what is older
        wanted = {key: cell for key, cell in wanted.items() if key[0] > gone}
    if whole["next"] is None:
        assert said(is_open) == wanted
        standing = world.standing(definition, size)
        closed = {
            (row["window_end"], tuple(sorted(row["labels"].items()))): (
                value_of(row), row["points"], row["late"], row["revision"],
            )
            for row in whole["rows"]
            if not row["open"]
        }  # fmt: skip
        missing = standing.keys() - closed.keys()
        if all(whole["position"][name] == at for name, at in world.published_at().items()):
            assert closed.items() <= standing.items()
            assert not [end for end, _ in missing if gone is None or end > gone]
    given = given | {"windows": "open"}
    return check_pages(world, chance, definition, given, wanted, whole["position"])


def check_pages(
    world: World,
    chance: random.Random,
    definition: Any,
    given: dict[str, str],
    wanted: Any,
    position: Any,
) -> int:
    """What is asked for in pages, and by labels, is what a single answer says."""
    labels: dict[str, str | None] = {}
    if wanted and chance.random() < 0.5:
        group = dict(chance.choice(list(wanted))[1])
        labels = {name: group.get(name) for name in definition.keep if chance.random() < 0.5}
    given = given | {"limit": str(chance.choice([1, 2, 5, 1000]))}
    given |= {name: value for name, value in labels.items() if value is not None}
    given["null"] = ",".join(name for name, value in labels.items() if value is None)
    rows: list[Any] = []
    page = world.ask(definition, given)
    if page["position"] != position:
        return 0  # something happened meanwhile
    before, world.still = world.still, True
    while page["next"] is not None:
        rows += page["rows"]
        given["next"] = page["next"]
        page = world.ask(definition, given)
    rows += page["rows"]
    world.still = before
    right = {
        (end, group): cell
        for (end, group), cell in wanted.items()
        if all(dict(group).get(name) == value for name, value in labels.items())
    }
    assert said(rows) == right
    assert rows == sorted(rows, key=lambda row: row["window_end"])
    return len(rows)


def run(text: str, chance: random.Random) -> tuple[int, int]:
    """Tell a story, asking in between: rows that were right, and answers."""
    told = scenario.loads(text)
    world = World(told.definitions, told.log, chance)
    domains = sorted({epochs.domain_of(topic) for topic, _ in told.log})
    rows = answers = 0
    more = True
    while more:
        more = world.go_on()
        if more and chance.random() < 0.6:
            continue
        if chance.random() < 0.5:
            world.deliver()
        definition = chance.choice(told.definitions)
        size = chance.choice(definition.sizes)
        domain = chance.choice([epochs.LIVE, epochs.LIVE, *domains])
        try:
            rows += ask_all(world, chance, definition, size, domain)
            answers += 1
        except Settling:
            continue
    return rows, answers


def check(test: str, seed: int, text: str) -> None:
    with again(__file__, f"{test}[{seed}]", SEED=seed, STORIES=1):
        _, answers = run(text, random.Random(seed))
        assert answers


@pytest.fixture(autouse=True)
def short_turns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn of a task is over soon, in some of the stories."""
    seed = request.node.callspec.params.get("seed", 0)
    if seed % 3:
        monkeypatch.setattr(questions, "GROUPS_A_TURN", seed % 3)


@pytest.mark.parametrize("seed", range(SEED, SEED + STORIES))
def test_open_windows_hold_the_records_before_the_positions(seed: int):
    check("open_windows_hold_the_records_before_the_positions", seed, story(random.Random(seed)))


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 3)))
def test_open_windows_of_histogram_points_hold_them(seed: int):
    name = "open_windows_of_histogram_points_hold_them"
    check(name, seed, story(random.Random(seed), histograms=True))


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 6)))
def test_open_windows_of_cumulative_histograms_hold_what_they_add(seed: int):
    name = "open_windows_of_cumulative_histograms_hold_what_they_add"
    check(name, seed, run_of_histograms(random.Random(seed)))


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 4)))
def test_open_windows_hold_the_records_of_their_epoch(seed: int):
    chance = random.Random(seed)
    told = story_of_epochs(chance, corrections=["30s", "1m", "1d"])
    check("open_windows_hold_the_records_of_their_epoch", seed, told.text())


@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, STORIES // 12)))
def test_after_every_record_every_open_window_holds_what_it_must(seed: int):
    name = f"after_every_record_every_open_window_holds_what_it_must[{seed}]"
    with again(__file__, name, SEED=seed, STORIES=1):
        text = re.sub(r"sizes=\S+", "sizes=5s,10s,20s,1m", story(random.Random(f"every/{seed}")))
        ask_always(text, random.Random(seed))


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.txt")), ids=lambda file: file.stem)
def test_open_windows_of_the_scenarios_hold_what_they_must(file: Path):
    ask_always(file.read_text(), random.Random(1))


def ask_always(text: str, chance: random.Random) -> None:
    """Tell a story record by record, and ask for everything behind each."""
    told = scenario.loads(text)
    world = World(told.definitions, told.log, chance)
    world.still = True
    while world.take_one():
        for definition in told.definitions:
            for size in definition.sizes:
                with contextlib.suppress(Settling):
                    ask_all(world, chance, definition, size, epochs.LIVE)
