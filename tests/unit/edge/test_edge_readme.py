"""The edge's README shows code that runs."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_worked_example_of_the_readme_runs() -> None:
    readme = Path(__file__).parents[3] / "topologies" / "edge" / "README.md"
    (example,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(readme), "exec"), {})
