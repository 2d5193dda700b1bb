"""The example in the README of streams/topology runs."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[3] / "streams" / "topology" / "README.md"


def test_the_example_of_the_readme_runs(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(block, str(README), "exec"), {})
    assert "Sink: to-latency (topic: latency" in capsys.readouterr().out
