"""`NUMBA_BOUNDSCHECK=1` finds an index that is out of bounds, wherever a kernel may have it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
KERNELS = """
import sys
import numpy as np
from streams.kernels.compile import bounds_checked, kernel
from streams.kernels.machine import byte_at, copy_bytes, i64, load_u64, same_bytes, store_u64

assert bounds_checked()

@kernel("void(i64[::1])")
def plain(out):
    for i in range(out.shape[0] + 1):
        out[i] = i

@kernel("void(i64[::1])", allocates=False)
def without_arrays(out):
    for i in range(out.shape[0] + 1):
        out[i] = i

@kernel("void(i64[::1], i64)", forceinline=True, allocates=False)
def put(out, i):
    out[i] = i

@kernel("void(i64[::1])", allocates=False)
def inlined(out):
    put(out, out.shape[0])

@kernel("i64(i64[::1])", allocates=False)
def read(out):
    return out[out.shape[0]]

@kernel("void(i64[:, ::1])", allocates=False)
def second_axis(out):
    out[0, out.shape[1]] = 1

@kernel("i64(i64[::1])", allocates=False)
def far_below(out):
    return out[-out.shape[0] - 1]

@kernel("i64(u8[::1])", allocates=False)
def byte(out):
    return byte_at(out, out.shape[0])

@kernel("u64(u8[::1])", allocates=False)
def word(out):
    return load_u64(out, i64(out.shape[0] - 7))

@kernel("void(u8[::1])", allocates=False)
def stored(out):
    store_u64(out, i64(-1), i64(1))

@kernel("void(u8[::1])", allocates=False)
def copied(out):
    copy_bytes(out, i64(1), out, i64(0), i64(out.shape[0]))

@kernel("bool_(u8[::1])", allocates=False)
def compared(out):
    return same_bytes(out, i64(1), out, i64(0), i64(out.shape[0]))

given = {"second_axis": np.zeros((2, 16), np.int64)}
for name in ("byte", "word", "stored", "copied", "compared"):
    given[name] = np.zeros(16, np.uint8)
for name in sys.argv[1:]:
    try:
        globals()[name](given.get(name, np.zeros(16, np.int64)))
    except IndexError:
        print("caught", name)
"""
PLANTED = (
    "plain", "without_arrays", "inlined", "read", "second_axis", "far_below", "byte", "word",
    "stored", "copied", "compared",
)  # fmt: skip


def run(folder, names):
    (folder / "planted.py").write_text(KERNELS)
    environment = {"NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "planted.py", *names], cwd=folder, env=os.environ | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_an_index_one_too_far_is_caught_and_so_it_is_in_kernels_from_the_cache(tmp_path):
    caught = [f"caught {name}" for name in PLANTED]
    assert run(tmp_path, PLANTED) == caught
    assert list((tmp_path / ".cache/tidemill/kernels/checked").glob("__main__.inlined*"))
    assert run(tmp_path, PLANTED) == caught
