"""Faulty definitions as text, for tests of the registry; the form is that of `test_faulty.py`."""

from __future__ import annotations

import re
from pathlib import Path

CASES = sorted((Path(__file__).parent / "unit" / "metric_registry" / "faulty").glob("*.txt"))
MARK = "----\n"


def parts(case: Path) -> tuple[str, str]:
    """A case's definitions, and what the check says of them."""
    text, _, said = case.read_bytes().decode().rpartition(MARK)
    return text, said


def files_of(text: str) -> tuple[dict[str, str], str]:
    """The files of a case by path, and the environment."""
    first, *others = re.split(r"^=== (.+)\r?\n", text, flags=re.MULTILINE)
    files = {"metrics.yaml": first} if first else {}
    environment = ""
    for name, content in zip(others[::2], others[1::2], strict=True):
        chosen = name.strip().removeprefix("--environment ")
        if chosen != name.strip():
            environment = chosen
        else:
            files[chosen] = content
    return files, environment
