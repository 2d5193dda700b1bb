"""Kernels and their cache."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streams.kernels import compile as compile_module
from streams.kernels.compile import Kernel, cache_directory, configure, kernel

ROOT = Path(__file__).resolve().parents[3]
SOURCE = """
from streams.kernels.compile import kernel

FACTOR = {factor}

@kernel("i64(i64)", forceinline=True)
def scaled(x):
    return x * FACTOR

@kernel("void(i64[::1])")
def scale(values):
    for i in range(values.shape[0]):
        values[i] = scaled(values[i])
"""


@pytest.fixture
def cache(tmp_path):
    directory = tmp_path / "cache"
    configure(directory)
    yield directory
    configure(None)


def scale(factor: int = 2) -> tuple[list[int], bool]:
    """Run the kernel as a new process would: (its answer, whether it came from the cache)."""
    made = {"__name__": "kernels_under_test"}
    exec(SOURCE.format(factor=factor), made)
    values = np.array([1, 2, 3])
    made["scale"](values)
    return values.tolist(), made["scale"].loaded


def test_a_kernel_is_compiled_once_and_then_loaded(cache):
    assert scale() == ([2, 4, 6], False)
    assert scale() == ([2, 4, 6], True)
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_constant_of_an_inlined_kernel_that_changes_makes_it_compile_again(cache):
    scale()
    assert scale(3) == ([3, 6, 9], False)
    assert scale(2) == ([2, 4, 6], True)


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 20_000])
def test_a_damaged_cache_entry_is_replaced(cache, damage):
    scale()
    for entry in cache_directory().iterdir():
        entry.write_bytes(damage)
    assert scale() == ([2, 4, 6], False)
    assert scale() == ([2, 4, 6], True)


def test_an_entry_whose_checksum_holds_but_that_is_no_code_is_replaced(cache):
    scale()
    for entry in cache_directory().iterdir():
        entry.write_bytes(compile_module._checksum(b"no pickle") + b"no pickle")
    assert scale() == ([2, 4, 6], False)


def test_a_cache_that_vanishes_is_made_again(cache):
    cache.rmdir()
    assert scale() == ([2, 4, 6], False)
    assert scale() == ([2, 4, 6], True)


def test_a_cache_that_others_may_write_is_refused(tmp_path):
    directory = tmp_path / "cache"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod 700"):
        configure(directory)


def test_kernels_are_warmed_without_a_writable_home_and_with_indexes_checked(tmp_path):
    nowhere = tmp_path / "a file"
    nowhere.write_text("")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    program = SOURCE.format(factor=2) + (
        "import numpy as np\n"
        "from streams.kernels.compile import warm\n"
        "warm(lambda *step: print(*step))\n"
        "values = np.array([1, 2])\nscale(values)\nprint(values.tolist())\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        env=os.environ
        | {
            "HOME": str(nowhere),
            "TMPDIR": str(temporary),
            "NUMBA_BOUNDSCHECK": "1",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "0 2 __main__.scaled",
        "1 2 __main__.scale",
        "2 2 ",
        "[2, 4]",
    ], done.stderr
    made = temporary / f"tidemill-kernels-{os.getuid()}" / "checked"
    assert len(list(made.iterdir())) == 2


@kernel("f64(f64[::1])")
def total(values):
    """The sum."""
    found = 0.0
    for value in values:
        found += value
    return found


def test_a_kernel_takes_only_what_its_signature_says():
    assert total(np.array([0.5, 1.0])) == 1.5
    with pytest.raises(TypeError):
        total(np.array([1, 2]))
    with pytest.raises(TypeError):
        total(np.zeros((2, 2)))


def test_a_type_not_given_in_bits_is_explained():
    @kernel("void(f8[::1])")
    def wrong(values): ...

    assert isinstance(wrong, Kernel)
    with pytest.raises(ValueError, match="types are given in bits"):
        wrong.compile()
