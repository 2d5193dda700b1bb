"""The page about the sink says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import topologies.sink


def test_the_worked_example_runs() -> None:
    page = (Path(topologies.sink.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
