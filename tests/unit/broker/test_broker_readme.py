"""The README's example runs."""

import re
from pathlib import Path

import broker


def test_the_example_of_the_readme_is_true():
    text = (Path(broker.__file__).parent / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})
