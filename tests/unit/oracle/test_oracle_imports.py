"""The oracle shares no code with what it checks."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
PRODUCT = ("broker", "metric_registry", "streams", "tidemill", "topologies")


def test_no_module_of_the_oracle_imports_the_product():
    """In a process of its own: this one may have imported anything."""
    names = [f"oracle.{file.stem}" for file in sorted((TESTS / "oracle").glob("*.py"))]
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        f"import {', '.join(names)}\n"
        f"print(sorted({{name.split('.')[0] for name in sys.modules}} & set({PRODUCT})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
