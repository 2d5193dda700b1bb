"""The rules of the house are enforced: a planted violation of each is seen to fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("broker", "metric_registry", "streams", "topologies", "tidemill")
BIN = Path(sys.executable).parent


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the packages and of the configuration of the tools."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    return tmp_path


def run(house: Path, tool: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / tool), *words],
        cwd=house,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": str(house), "HOME": str(house)},
    )


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("streams/planted.py", "from topologies.partials import PartialRows\n"),
        ("topologies/planted.py", "import broker.records.batch\n"),
        ("metric_registry/planted.py", "import streams.batch\n"),
        ("broker/planted.py", "import tidemill.settings\n"),
        ("topologies/planted.py", "import tidemill.settings\n"),
    ],
)
def test_an_import_against_the_arrows_breaks_a_contract(house: Path, file: str, line: str):
    (house / file).write_text(f'"""Planted."""\n\n{line}')
    found = run(house, "lint-imports", "--no-cache")
    assert found.returncode != 0
    assert "BROKEN" in found.stdout


def test_without_a_planted_import_the_contracts_hold(house: Path):
    found = run(house, "lint-imports", "--no-cache")
    assert found.returncode == 0, found.stdout


def test_an_untyped_function_fails_the_type_check(house: Path):
    (house / "streams" / "planted.py").write_text('"""Planted."""\n\n\ndef f(x):\n    return x.y\n')
    found = run(house, "pyright", "streams/planted.py")
    assert found.returncode == 1
    assert "reportMissingParameterType" in found.stdout


def test_an_unused_import_fails_the_lint_and_a_bad_layout_the_format(house: Path):
    (house / "streams" / "planted.py").write_text('"""Planted."""\nimport os\nx = {  "a":1}\n')
    assert "F401" in run(house, "ruff", "check", "streams/planted.py").stdout
    assert run(house, "ruff", "format", "--check", "streams/planted.py").returncode == 1
