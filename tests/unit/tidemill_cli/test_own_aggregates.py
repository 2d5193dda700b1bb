"""Aggregates of users' own: their files are found, read once, and refused with their place."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metric_registry.check import check_files
from metric_registry.load import SourceFile
from metric_registry.rules import Settings as Allowed
from streams.aggregates.registry import own
from tidemill.main import main
from tidemill.own_aggregates import AggregatesError, load
from tidemill.settings import Settings
from tidemill.settings import load as load_settings
from tidemill.wiring import DefinitionsError, load_plan

ROOT = Path(__file__).resolve().parents[3]
APDEX = ROOT / "examples" / "apdex.py"
NUMBERS = itertools.count()
DEFINITION = """apiVersion: tidemill/v1
kind: Metric
name: shop.latency
description: How satisfied customers are
owner: shop
source: {metric: latency, unit: ms}
space: {keep: []}
time: {granularities: [10s]}
aggregate: {over_points: OVER}
"""
SUM = """
import numpy as np
from streams.aggregates import register
from streams.aggregates.checks import check_rows
from streams.aggregates.encoding import array, pack, unpack

class Odd:
    \"\"\"How many points have an odd last bit.\"\"\"

    name, version = NAME, 1

    def empty(self, n):
        return np.zeros(n, np.int64)

    def add(self, state, rows, points):
        check_rows(rows, len(state), len(points))
        np.add.at(state, rows, points.raws & 1)

    def merge(self, state, rows, other, theirs):
        check_rows(rows, len(state), len(theirs))
        check_rows(theirs, len(other), len(rows))
        np.add.at(state, rows, other[theirs])

    def finish(self, state):
        return state.astype(np.float64)

    def encode(self, state):
        return pack(self.name, self.version, len(state), state.astype("<i8").tobytes())

    def decode(self, data):
        n, (part,) = unpack(self.name, self.version, data, 1)
        return array(self.name, part, (n,))

register(Odd())
"""


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path) -> Iterator[None]:
    """A folder without a deployment."""
    with contextlib.chdir(tmp_path):
        yield


@pytest.fixture
def name() -> str:
    """Of an aggregate that nobody has registered in this process."""
    return f"odd_{os.getpid()}_{next(NUMBERS)}"


def found(over: str, added=None):
    return check_files(
        [SourceFile("shop.yaml", DEFINITION.replace("OVER", over).encode())],
        Allowed(own_aggregates=load([APDEX]) if added is None else added),
    )


def only(report):
    (finding,) = report.findings
    return finding


def version(over: str, added=None) -> str:
    report = found(over, added)
    assert report.findings == (), report.text()
    return report.definitions[0].version


def test_an_aggregate_of_ones_own_is_stated_as_any_other():
    (definition,) = found("{apdex: 250}").definitions
    assert definition.over_points == "apdex@1(250)"
    assert (definition.unit, definition.read_unit) == ("1", "ms")
    assert definition.instrument == "gauge"
    assert version("{apdex: 250}") != version("{apdex: 300}")


def test_a_definition_that_needs_a_parameter_gets_an_example():
    assert "`apdex` takes a parameter" in only(found("apdex")).message
    assert only(found("apdex")).help == "write `{apdex: 0.5}`"
    refused = only(found("{apdex: -1}"))
    assert refused.code == "TM212"
    assert "cannot be made of -1, the threshold is above zero" in refused.message
    assert "the setting `aggregates`" in only(found("{apdex: 1}", {})).help


def test_another_version_of_an_aggregate_is_another_version_of_the_definition(tmp_path, name):
    file = tmp_path / "odd.py"
    file.write_text(SUM.replace("NAME", repr(name)))
    first = load([file])
    assert not found(f"{{{name}: 3}}", first).definitions
    assert only(found(f"{{{name}: 3}}", first)).help == "leave the parameter out"
    second = tmp_path / "two.py"
    second.write_text(SUM.replace("NAME", repr(name)).replace("1\n", "2\n", 1))
    both = load([file, second])
    assert both[name].version == 2
    assert version(name, first) != version(name, both)
    (definition,) = found(name, both).definitions
    assert (definition.over_points, definition.unit) == (f"{name}@2", "ms")


def test_a_file_is_imported_once_a_process_however_it_is_named(tmp_path, name):
    file = tmp_path / "aggregates" / "odd.py"
    file.parent.mkdir()
    (file.parent / "_draft.py").write_text("1 / 0")
    file.write_text(SUM.replace("NAME", repr(name)) + "open('ran', 'a').write('x')\n")
    for path in (file, file.parent, Path("aggregates/../aggregates/odd.py")):
        assert name in load([path])
    assert Path("ran").read_text() == "x"


WRONG = {
    "no such file": (None, "there is no such file of aggregates: correct its path"),
    "not Python": ("import numpy\ndef f(:\n", ":2: is not Python: "),
    "not installed": ("import numpyy\n", ":1: imports 'numpyy', which is not installed beside"),
    "an error": ("x = 1\ny = x.z\n", ":2: cannot be imported: AttributeError: 'int' object has"),
    "an exit": ("import sys\n\nsys.exit(3)\n", ":3: cannot be imported: SystemExit: 3"),
    "nothing": ("import numpy\n", ":1: adds no aggregate: call `streams.aggregates.register`"),
    "a taken name": (SUM.replace("NAME", "'sum'"), ":34: the aggregate 'sum' comes with the"),
    "a reserved name": (SUM.replace("NAME", "'p12'"), "'p12' means something already"),
    "no name": (SUM.replace("NAME", "'Odd Bits'"), ":34: Odd is named 'Odd Bits'; a name has"),
    "no merge": (
        SUM.replace("NAME", "'odd_unmerged'").replace("def merge", "def mrege"),
        ":34: Odd is no aggregate, it has no merge",
    ),
    "a class": (
        SUM.replace("NAME", "'odd_class'").replace("register(Odd())", "register(Odd)"),
        ":34: Odd is a class: register an object of it, Odd()",
    ),
    "not order-free": (
        SUM.replace("NAME", "'odd_order'").replace("np.add.at(state, rows, points.raws & 1)",
                                                 "state[rows] = points.raws & 1"),
        ":7: 'odd_order': ",
    ),
    "no numbers": (
        SUM.replace("NAME", "'odd_text'").replace("state.astype(np.float64)", "state"),
        ":7: 'odd_text': `finish` gave array([0, 0, 0]) for three rows",
    ),
    "a failure in finish": (
        SUM.replace("NAME", "'odd_finish'").replace("return state.astype", "return state + u"),
        ":25: odd_finish@1 fails: NameError: name 'u' is not defined",
    ),
    "a family without an example": (
        SUM.replace("NAME", "'odd_family'").replace("register(Odd())",
                                                  "from streams.aggregates import register_family\n"
                                                  "register_family('odd_family', lambda _: Odd())"),
        "the family 'odd_family' gives no example of its parameter",
    ),
    "a bad example": (
        APDEX.read_text().replace('"apdex"', '"odd_apdex"').replace("example=0.5", "example=-1"),
        "odd_apdex@1(-1) fails: ValueError: the threshold is above zero",
    ),
    "no unit": (
        APDEX.read_text().replace('"apdex"', '"odd_unit"').replace('unit="1"', 'unit="m/"'),
        "the unit 'm/' of 'odd_unit' is none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_used_is_refused_on_one_line_with_its_place(tmp_path, what):
    text, said = WRONG[what]
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    message = ""
    try:
        load([file])
    except AggregatesError as error:
        message = str(error)
    assert message.startswith(f"{file}:")
    assert said in message
    assert "\n" not in message
    assert not any(one.startswith("odd_") and one[4].isalpha() for one in own())


def test_a_folder_without_files_is_missed(tmp_path):
    with pytest.raises(AggregatesError, match=r"there is no \*.py file in this folder"):
        load([tmp_path])


def test_settings_name_them_relative_to_themselves(tmp_path, name):
    (tmp_path / "deployed").mkdir()
    (tmp_path / "deployed" / "odd.py").write_text(SUM.replace("NAME", repr(name)))
    (tmp_path / "shop.yaml").write_text(DEFINITION.replace("OVER", name))
    file = tmp_path / "deployed" / "settings.json"
    file.write_text('{"aggregates": ["odd.py"], "definitions": ["shop.yaml"]}')
    settings = load_settings(file)
    assert name not in own()
    (definition,) = (d for d in load_plan(settings).definitions if d.name == "shop.latency")
    assert definition.over_points == f"{name}@1"
    with pytest.raises(DefinitionsError, match=r"nowhere\.py: there is no such file"):
        load_plan(Settings(aggregates=("nowhere.py",)))


def test_the_command_line_checks_an_aggregate_and_what_definitions_state(tmp_path, capsys):
    (tmp_path / "shop.yaml").write_text(DEFINITION.replace("OVER", "{apdex: 250}"))
    assert main(["registry", "check", "shop.yaml", "--aggregates", str(APDEX)]) == 0
    assert main(["registry", "explain", "shop.yaml", "--aggregates", str(APDEX)]) == 0
    assert "apdex@1(250) over points" in capsys.readouterr().out
    assert main(["registry", "aggregates", str(APDEX), "--trees", "5"]) == 0
    assert "apdex@1(0.5) keeps its 9 promises" in capsys.readouterr().out


def test_a_promise_broken_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "aggregates").mkdir()
    wrong = APDEX.read_text().replace("np.add.at(state, rows, other[theirs])", "pass")
    (tmp_path / "aggregates" / "apdex.py").write_text(wrong)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL")}
    done = subprocess.run(
        [sys.executable, "-m", "tidemill", "registry", "aggregates"],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "aggregates/apdex.py:27: 'apdex': a state merged into an empty one" in done.stderr
    assert done.stderr.count("\n") == 1
