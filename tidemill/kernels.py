"""Every module that has kernels, imported so that `warm` finds them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import streams
import topologies
from streams.kernels import compile as compiler

PACKAGES = (streams, topologies)


def compile_all(progress: Callable[[int, int, str], None]) -> int:
    """Compile, or load from the cache, every kernel of the project; returns how many there are.

    `progress(done, total, name)` is called before each, and once at the end with an empty name.
    """
    for name in modules():
        importlib.import_module(name)
    return compiler.warm(progress)


def modules() -> list[str]:
    """Modules that may define kernels: all of them but programs and test helpers."""
    found: list[str] = []
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            last = module.name.rsplit(".", 1)[1]
            if not module.ispkg and last not in ("__main__", "testing"):
                found.append(module.name)
    return found
