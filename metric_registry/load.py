"""Reads definition files: the only part of the registry that touches a disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of definitions; `failure` says why there are no bytes."""

    path: str
    data: bytes = b""
    failure: str = ""
    code: str = "TM001"
    """The code of the failure, in the catalogue."""


def read(paths: Iterable[str | Path], largest: int = 4 << 20) -> list[SourceFile]:
    """The files that `paths` name, in order of their paths, each once.

    Directories are searched to the bottom for *.yaml and *.yml; what begins with a dot is passed
    over. At most `largest` + 1 bytes of a file are read, so that a check can tell it is too large.
    What cannot be read becomes a SourceFile with a failure: this never raises.
    """
    files: dict[str, SourceFile] = {}
    for path in map(str, paths):
        found = _find(path) if os.path.isdir(path) else [path]
        if not found:
            message = f"there is no *.yaml or *.yml file in `{path}`"
            files.setdefault(
                os.path.realpath(path), SourceFile(path, failure=message, code="TM004")
            )
        for one in found:
            identity = os.path.realpath(one)
            if identity not in files:
                files[identity] = _read(one, largest)
    return sorted(files.values(), key=lambda file: file.path)


def _find(directory: str) -> list[str]:
    found: list[str] = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(folder, name)
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".")
        ]
    return found


def _read(path: str, largest: int) -> SourceFile:
    try:
        with open(path, "rb") as file:
            return SourceFile(path, file.read(largest + 1))
    except OSError as error:
        return SourceFile(path, failure=f"cannot read `{path}`: {error.strerror or error}")
