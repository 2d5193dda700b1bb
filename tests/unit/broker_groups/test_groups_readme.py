"""The page about groups says what is so."""

import re
from pathlib import Path

import broker.groups


def test_the_worked_example_runs():
    page = (Path(broker.groups.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
