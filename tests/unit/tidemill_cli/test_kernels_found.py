"""`tidemill warm` compiles every kernel: no module that has one is forgotten."""

from pathlib import Path

from tidemill.kernels import modules

ROOT = Path(__file__).parents[3]


def test_every_module_with_a_kernel_is_found():
    with_kernels = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for package in ("broker", "metric_registry", "streams", "tidemill", "topologies")
        for file in (ROOT / package).rglob("*.py")
        if "\n@kernel(" in file.read_text() and file.name not in ("testing.py", "compile.py")
    }
    assert with_kernels
    assert with_kernels <= set(modules())
