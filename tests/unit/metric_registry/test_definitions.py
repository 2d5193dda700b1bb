"""The starter definitions, the JSON Schema, and the speed of a check."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from metric_registry.cases.models import schema as schema_of_tests
from metric_registry.check import check, check_files
from metric_registry.compile import compile_plan
from metric_registry.derived.models import DerivedDefinition
from metric_registry.derived.schema import schema
from metric_registry.fields import validate
from metric_registry.load import SourceFile
from metric_registry.models import Defaults, MetricDefinition
from metric_registry.syntax import parse
from metric_registry.syntax.nodes import to_data

HERE = Path(__file__).parent
DEFINITIONS = HERE.parents[2] / "metric_registry" / "definitions"
PACKS = DEFINITIONS.parent / "packs"
EVERY = [*sorted(DEFINITIONS.glob("*.yaml")), *sorted(PACKS.glob("*.yaml"))]
FILES = [path for path in EVERY if ".test." not in path.name]
README = (DEFINITIONS / "README.md").read_text()
WHOLE_EXAMPLE = (DEFINITIONS.parent / "README.md").read_text()
YAML_OF_README = re.findall(r"```yaml\n(.*?)```", WHOLE_EXAMPLE, re.DOTALL)
VALIDATOR = jsonschema.Draft202012Validator(schema())


def documents(path: Path) -> list[object]:
    return list(yaml.safe_load_all(path.read_text()))


def test_the_starter_definitions_have_no_finding() -> None:
    report = check([DEFINITIONS])
    assert report.findings == (), report.text()
    assert len(report.definitions) == 33


def test_the_starter_definitions_use_every_aggregate() -> None:
    definitions = check([DEFINITIONS]).definitions
    steps = {"sum", "count", "min", "max", "avg", "last"}
    assert {one.over_space for one in definitions} == steps
    assert {one.over_time for one in definitions} == steps | {"increase"}


def test_each_source_of_the_starter_definitions_is_named_in_their_readme() -> None:
    for definition in check([DEFINITIONS]).definitions:
        for metric in definition.sources:
            assert f"`{metric}`" in README, metric


def test_every_file_of_the_readme_is_read_by_a_definition() -> None:
    named = set(re.findall(r"`(aws\.[a-z0-9_.]+)`", README))
    read = compile_plan(check([DEFINITIONS / "cloudwatch.yaml"]).definitions).metrics
    assert named == read


@pytest.mark.parametrize(
    "path", [path for path in EVERY if ".test." in path.name], ids=lambda path: path.name
)
def test_an_editor_with_the_schema_of_tests_accepts_those_of_the_starter_definitions(
    path: Path,
) -> None:
    for document in parse(path.read_text()):
        assert document.root is not None
        jsonschema.Draft202012Validator(schema_of_tests()).validate(to_data(document.root))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_editor_with_the_schema_accepts_the_starter_definitions(path: Path) -> None:
    for document in documents(path):
        VALIDATOR.validate(document)


FLAGGED = {"TM101", "TM102", "TM103", "TM104", "TM105", "TM106", "TM107", "TM108", "TM110"}
FLAGGED |= {"TM202", "TM302", "TM404", "TM405"}
NOT_BY_A_SCHEMA = {
    "TM106-control-character",
    "TM107-too-long",
    "TM102-section",  # defaults may say what is missing here
    "TM102-unit",
    "TM202-neither",
    "TM102-in-all-defaults",
}


@pytest.mark.parametrize(
    "case",
    [case for case in sorted((HERE / "faulty").glob("*.txt")) if case.stem[:5] in FLAGGED],
    ids=lambda case: case.stem,
)
def test_an_editor_with_the_schema_flags_what_a_schema_can_tell(case: Path) -> None:
    text = case.read_text().rpartition("----\n")[0]
    documents = [
        one for part in re.split("^=== .*\n", text, flags=re.MULTILINE) for one in parse(part)
    ]
    roots = [document.root for document in documents if document.root is not None]
    assert len(roots) == len(documents)
    flagged = not all(VALIDATOR.is_valid(to_data(root)) for root in roots)
    assert flagged == (case.stem not in NOT_BY_A_SCHEMA)


def test_the_schema_describes_every_field() -> None:
    generated = schema()
    for section in generated["$defs"].values():
        assert section["additionalProperties"] is False
        for name, field in section["properties"].items():
            assert "description" in field or "$ref" in field, name
    for model in (MetricDefinition, Defaults):
        assert set(generated["$defs"][model.__name__]["properties"]) == {
            info.alias or name for name, info in model.model_fields.items()
        }


def test_the_readmes_example_is_a_good_definition() -> None:
    example = YAML_OF_README[0]
    report = check_files([SourceFile("example.yaml", example.encode())])
    assert report.findings == (), report.text()
    VALIDATOR.validate(yaml.safe_load(example))


def test_the_readmes_derived_definitions_have_the_form_of_some() -> None:
    (derived,) = [text for text in YAML_OF_README if "kind: Derived" in text]
    for document in yaml.safe_load_all(derived):
        VALIDATOR.validate(document)
        assert isinstance(validate(document, DerivedDefinition), DerivedDefinition)


def test_the_readmes_defaults_serve_its_example() -> None:
    example, source, lookup, _, _, defaults, *_ = YAML_OF_README
    with_attributes = re.sub(r"source:.*\n(  .*\n)+", lambda _: source, example)
    with_attributes = with_attributes.replace("region]", "region, pair, tier, customer]")
    table = SourceFile("clusters.csv", b"cluster_id,name,tier\nc1,acme,gold\n")
    files = [SourceFile("a.yaml", f"{with_attributes}---\n{lookup}".encode()), table]
    report = check_files(files)
    assert report.findings == (), report.text()
    (found,) = report.definitions
    made = ["cluster_id", "customer", "pair", "region", "tier"]
    assert [each.name for each in found.attributes] == made
    VALIDATOR.validate(yaml.safe_load(lookup))
    VALIDATOR.validate(yaml.safe_load(with_attributes))
    example = re.sub(r"^(time|aggregate|owner): .*\n", "", example, flags=re.MULTILINE)
    files = [
        SourceFile("team/_defaults.yaml", defaults.encode()),
        SourceFile("team/kafka.yaml", f"{example}extends: counters\n".encode()),
    ]
    report = check_files(files)
    assert report.findings == (), report.text()
    (found,) = report.definitions
    (whole,) = check_files([SourceFile("a.yaml", YAML_OF_README[0].encode())]).definitions
    assert found == whole
    for document in yaml.safe_load_all(defaults):
        VALIDATOR.validate(document)


def test_a_thousand_definitions_are_checked_and_compiled() -> None:
    example = YAML_OF_README[0]
    files = [
        SourceFile(
            f"{n:04}.yaml",
            example.replace("kafka.fetch.requests", f"kafka.fetch.requests.{n}")
            .replace("type: Fetch", f"type: Fetch{n}")
            .encode(),
        )
        for n in range(1000)
    ]
    report = check_files(files)
    plan = compile_plan(report.definitions)
    assert report.findings == ()
    assert len(plan.definitions) == 1000


def test_csv_is_not_taken_for_definitions() -> None:
    rows = "\n".join(",".join(row) for row in csv.reader(["timestamp,value", "2014,0.1"]))
    report = check_files([SourceFile("a.yaml", rows.encode())])
    assert [finding.code for finding in report.findings] == ["TM008"]
