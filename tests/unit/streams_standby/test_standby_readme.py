"""The worked example of streams/standby/README.md runs."""

import re
from pathlib import Path

STREAMS = Path(__file__).parents[3] / "streams"


def test_the_example_of_the_standbys_readme_runs_after_the_tasks():
    names: dict[str, object] = {}
    for folder in ("task", "standby"):
        readme = STREAMS / folder / "README.md"
        (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
        exec(compile(code, str(readme), "exec"), names)
