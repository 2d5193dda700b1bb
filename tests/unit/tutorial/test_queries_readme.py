"""The READMEs of streams and streams/queries: the example runs, the links lead somewhere."""

import re
from pathlib import Path

import pytest

STREAMS = Path(__file__).resolve().parents[3] / "streams"


def test_the_example_of_the_queries_runs():
    readme = STREAMS / "queries" / "README.md"
    (block,) = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    exec(compile(block, str(readme), "exec"), {})


@pytest.mark.parametrize("folder", [STREAMS, STREAMS / "queries"])
def test_the_links_lead_somewhere(folder):
    text = (folder / "README.md").read_text()
    targets = [
        *re.findall(r"\]\(([^)#]+)", text),
        *re.findall(r"`((?:tests|streams)/[\w/.]+)`", text),
    ]
    for target in targets:
        assert (folder / target).exists() or (STREAMS.parent / target).exists(), target
    for name in re.findall(r"`(\w+\.py|\w+/)`", text):
        assert list(STREAMS.rglob(name.rstrip("/"))), name
