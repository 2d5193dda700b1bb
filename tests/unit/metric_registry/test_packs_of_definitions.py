"""The packs that come with tidemill: good alone and together, and told in their README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from metric_registry.check import check
from tidemill.commands.deployment import definition_files, paths_of
from tidemill.commands.errors import CommandError
from tidemill.main import main
from tidemill.packs import STARTER, NoPack, located, packs
from tidemill.settings import Settings
from tidemill.wiring import DefinitionsError, definition_paths, load_plan

FOLDER = STARTER.parent / "packs"
ASKED_FOR = ["gpu", "http_rpc", "jvm", "kafka_broker", "kafka_client", "kubernetes"]
ASKED_FOR += ["node_exporter"]
README = (FOLDER / "README.md").read_text()


def test_the_whole_library_together_has_no_finding() -> None:
    report = check([STARTER, FOLDER])
    assert report.findings == (), report.text()
    assert len(report.definitions) == 33 + 127
    assert len(report.derived) == 5


@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_pack_by_itself_has_no_finding_and_its_tests_pass(name: str) -> None:
    report = check([FOLDER / f"{name}.yaml"])
    assert report.findings == (), report.text()
    assert 8 <= len(report.definitions) <= 25
    assert main(["registry", "test", f"tidemill:{name}"]) == 0


def test_no_name_is_one_that_a_source_has() -> None:
    definitions = check([STARTER, FOLDER]).definitions
    read = {source for one in definitions for source in one.sources}
    assert read.isdisjoint(one.name for one in definitions)


def test_the_readme_tells_of_every_definition_what_it_means_and_reads() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", README, re.MULTILINE))
    stated = [
        document
        for name in ASKED_FOR
        for document in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())
        if document["kind"] in ("Metric", "Derived")
    ]
    for document in stated:
        said = rows.pop(document["name"])
        assert document["description"] in said
        if document["kind"] == "Derived":
            (given,) = document["derive"].values()
            assert all(f"`{given[name]}`" in said for name in ("of", "by") if name in given)
            continue
        source = document["source"]
        for each in source.get("any_of", [source]):
            assert f"`{each['metric']}`" in said, document["name"]
    assert set(rows) == set(ASKED_FOR)


def test_names_of_packs_stand_where_files_may() -> None:
    assert sorted(packs()) == sorted([*ASKED_FOR, "cloudwatch", "host"])
    assert located(["tidemill:gpu", "a.yaml"]) == [FOLDER / "gpu.yaml", Path("a.yaml")]
    assert definition_files([Path("tidemill:gpu")]) == ("tidemill:gpu",)
    assert paths_of([Path("tidemill:host")], Settings()) == [STARTER / "host.yaml"]


def test_a_deployment_computes_the_packs_that_it_names_beside_the_starter_set() -> None:
    plain, with_gpu = load_plan(Settings()), load_plan(Settings(definitions=("tidemill:gpu",)))
    more = {one.name for one in with_gpu.definitions} - {one.name for one in plain.definitions}
    assert more == {one.name for one in check([FOLDER / "gpu.yaml"]).definitions}
    assert not any(one.name.startswith(("gpu.", "kube.")) for one in plain.definitions)
    again = Settings(definitions=("tidemill:host", "tidemill:gpu"))
    assert load_plan(again).hash == with_gpu.hash  # no definition is there twice


def test_a_pack_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(NoPack, match=r"did you mean `tidemill:gpu`\? there are cloudwatch, gpu"):
        located(["tidemill:gpus"])
    with pytest.raises(CommandError, match="no pack `tidemill:x`"):
        paths_of([Path("tidemill:x")], Settings())
    with pytest.raises(DefinitionsError, match="no pack `tidemill:x`"):
        definition_paths(Settings(definitions=("tidemill:x",)))
