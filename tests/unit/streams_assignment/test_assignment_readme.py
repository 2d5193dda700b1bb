"""The worked example of streams/assignment/README.md runs."""

import re
from pathlib import Path

README = Path(__file__).parents[3] / "streams" / "assignment" / "README.md"


def test_the_example_of_the_assignments_readme_runs_as_written():
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
