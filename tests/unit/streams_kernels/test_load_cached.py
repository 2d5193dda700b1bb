"""What the cache holds can be loaded before it is needed; nothing is compiled for it."""

import json
import subprocess
import sys

PROGRAM = """
import json, pathlib, sys
from streams.kernels import buckets, compile
compile.configure(pathlib.Path(sys.argv[1]))
before = compile.load_cached()
some = next(each for each in compile._registry if each.py_func.__module__ == buckets.__name__)
some.compile()
stopped = compile.load_cached(lambda: False)
print(json.dumps([before, some.loaded, stopped, compile.load_cached()]))
"""


def test_what_is_cached_is_loaded_and_nothing_else_is_compiled(tmp_path):
    def run() -> list[int]:
        words = [sys.executable, "-c", PROGRAM, str(tmp_path / "cache")]
        return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)

    first, second = run(), run()
    assert first[:3] == [0, False, 0]
    assert first[3] >= 1  # with the kernels that it calls
    assert second == [first[3], True, 0, first[3]]
