"""The list of planted faults stands: every text is in the source, and some are seen to be caught.

All of them: `make planted`.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planted import run
from planted.faults import HERE, PACKAGES, ROOT, BrokenPlantError, Edit, Fault, complaint, load
from planted.faults import table as table_of

FAULTS = load()


def test_there_are_many_faults_in_every_core_that_decides_a_number():
    assert len(FAULTS) >= 24
    planted = {path for fault in FAULTS for path in fault.files}
    for core in ("preaggregate", "rollup", "identity", "partials", "sink", "edge", "manager"):
        assert any(path.startswith(f"topologies/{core}") for path in planted), core
    for core in ("kernels", "event_time", "task"):
        assert any(path.startswith(f"streams/{core}") for path in planted), core


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_its_text_stands_in_the_source_and_what_replaces_it_is_python(fault: Fault):
    sources: dict[str, str] = {}
    for edit in fault.edits:
        assert edit.file.startswith(PACKAGES)
        before = sources.get(edit.file) or (ROOT / edit.file).read_text()
        sources[edit.file] = edit.apply(before)
        assert sources[edit.file] != before
    for file, source in sources.items():
        compile(source, file, "exec")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_tests_that_catch_it_exist(fault: Fault):
    assert fault.caught_by
    for node in fault.caught_by:
        file, _, test = node.partition("::")
        name = re.escape(test.partition("[")[0])
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), node


def test_the_page_shows_the_list():
    page = (HERE / "README.md").read_text()
    shown = page.partition(run.MARKS[0])[2].partition(run.MARKS[1])[0]
    assert shown.strip() == table_of(FAULTS).strip(), "tests/planted/run.py --write-page"


@pytest.mark.timeout(1200)  # 13 s of processor time, in processes of their own
def test_the_quick_ones_are_caught():
    names = [fault.name for fault in FAULTS if fault.quick]
    assert 4 <= len(names) <= 6
    command = [sys.executable, run.__file__, "--faults-only", "--jobs", "1", *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names)} of {len(names)} faults are caught" in done.stdout


def report(**changes: Any) -> dict[str, Any]:
    return {"passed": [], "failed": [], "broken": [], "loaded": ["/copy/streams/a.py"], **changes}


def test_only_a_failed_assertion_over_the_copy_counts_as_caught():
    fault = Fault("x", "", "", (Edit("streams/a.py", "a", "b"),), ("t",), False)
    copy = Path("/copy")
    assert complaint(report(failed=["t"]), copy, fault) is None
    assert complaint(report(passed=["t"]), copy, fault) == "NOT CAUGHT"
    assert "broke" in str(complaint(report(failed=["t"], broken=["t"]), copy, fault))
    elsewhere = ["/copy/streams/a.py", "/installed/streams/b.py"]
    assert "elsewhere" in str(complaint(report(failed=["t"], loaded=elsewhere), copy, fault))
    unused = report(failed=["t"], loaded=["/copy/streams/b.py"])
    assert "never loads" in str(complaint(unused, copy, fault))
    assert complaint(report(passed=["t"]), copy, None) is None
    assert "without" in str(complaint(report(failed=["t"]), copy, None))
    assert complaint(report(), copy, None) == "no such test"


def test_a_text_that_is_gone_or_stands_twice_is_a_broken_plant():
    edit = Edit("a.py", "x = 1\n", "x = 2\n")
    assert edit.apply("x = 1\ny = 1\n") == "x = 2\ny = 1\n"
    for source in ("", "x = 1\nx = 1\n"):
        with pytest.raises(BrokenPlantError, match=r"a\.py"):
            edit.apply(source)
