"""The examples of the two READMEs run as they stand."""

import re
from pathlib import Path

import pytest

TOPOLOGIES = Path(__file__).resolve().parents[3] / "topologies"


@pytest.mark.parametrize("folder", ["encodings", "identity"])
def test_the_example_of_the_readme_runs(folder):
    text = (TOPOLOGIES / folder / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        exec(example, {})
