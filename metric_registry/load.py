"""Reads definition files: the only part of the registry that touches a disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from metric_registry.inherit import FOLDER_FILES
from metric_registry.values import is_table

SUFFIXES = (".yaml", ".yml")
TEST_SUFFIXES = (".test.yaml", ".test.yml")
"""Of files that hold tests of definitions, and no definitions."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of definitions; `failure` says why there are no bytes."""

    path: str
    data: bytes = b""
    failure: str = ""
    code: str = "TM001"
    """The code of the failure, in the catalogue."""
    folder: str | None = None
    """The real path of its folder; None: that of `path`."""
    wanted: bool = True
    """Whether it was asked for; else it holds defaults of a folder above, or was included."""
    alone: bool = False
    """Whether it was asked for by itself, not found in a folder that was searched."""

    @property
    def home(self) -> str:
        """The folder whose defaults are for it."""
        return os.path.dirname(self.path) if self.folder is None else self.folder


class Reader:
    """Reads each file once, with the defaults of the folders that it lies in.

    At most `largest` + 1 bytes of a file are read, so that a check can tell it is too large. What
    cannot be read becomes a SourceFile with a failure: this never raises. Of folders above `top`
    no defaults are read.
    """

    def __init__(self, largest: int = 4 << 20, top: str | Path | None = None) -> None:
        self._largest = largest
        self._top = None if top is None else os.path.realpath(top)
        self._read: set[str] = set()
        self._folders: set[str] = set()

    def read(self, paths: Iterable[str | Path]) -> list[SourceFile]:
        """The files that `paths` name, in order of their paths, each once.

        Directories are searched to the bottom for *.yaml and *.yml; what begins with a dot is
        passed over, and so are tests, also those that are named beside something else.
        """
        files: list[SourceFile] = []
        given = list(map(str, paths))
        for path in [path for path in given if not is_test(path)] or given:
            alone = not os.path.isdir(path)
            found = [path] if alone else _find(path)
            found = [one for one in found if not is_test(one)]
            tables = [one for one in found if is_table(one)]
            found = [one for one in found if not is_table(one)]
            if not found and self._is_new(path):
                message = f"there is no *.yaml or *.yml file in `{path}`"
                if is_test(path):
                    message = f"`{path}` holds tests, and no definitions"
                if tables:
                    message = f"`{path}` holds a lookup's table, and no definitions"
                files.append(SourceFile(path, failure=message, code="TM004"))
            new = [self.file(one) for one in found if self._is_new(one)]
            files += [replace(one, alone=alone) for one in new]
        for file in list(files):
            files += self._defaults(file)
        return sorted(files, key=lambda file: file.path)

    def include(self, path: str) -> list[SourceFile]:
        """A file that another one names, and its folders' defaults; nothing of it is read twice.

        But for a table, which defines nothing by itself: whoever names it gets it, by any path.
        """
        if not is_table(path) and not self._is_new(path):
            return []
        file = replace(self.file(path), wanted=False)
        if is_table(path):
            return [file]
        return [file, *self._defaults(file)]

    def _is_new(self, path: str) -> bool:
        identity = os.path.realpath(path)
        if identity in self._read:
            return False
        self._read.add(identity)
        return True

    def file(self, path: str) -> SourceFile:
        """A file by itself."""
        folder = os.path.realpath(os.path.dirname(path))
        try:
            with open(path, "rb") as file:
                return SourceFile(path, file.read(self._largest + 1), folder=folder)
        except OSError as error:
            message = f"cannot read `{path}`: {error.strerror or error}"
            return SourceFile(path, failure=message, folder=folder)

    def _defaults(self, file: SourceFile) -> list[SourceFile]:
        """The files of defaults from a file's folder upwards that were not read yet."""
        found: list[SourceFile] = []
        folder = file.home
        while file.folder is not None and folder not in self._folders:
            self._folders.add(folder)
            for name in FOLDER_FILES:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and self._is_new(path):
                    shown = path if os.path.isabs(file.path) else os.path.relpath(path)
                    found.append(replace(self.file(path), path=shown, wanted=False))
            if folder == self._top:
                break
            folder = os.path.dirname(folder)
        return found


def read(paths: Iterable[str | Path], largest: int = 4 << 20) -> list[SourceFile]:
    """The files that `paths` name and the defaults of their folders: see `Reader.read`."""
    return Reader(largest).read(paths)


def read_tests(paths: Iterable[str | Path], largest: int = 4 << 20) -> list[SourceFile]:
    """The files of tests that `paths` name, in order of their paths, each once.

    Those of a directory are all below it; that of a definition file `a.yaml` is `a.test.yaml`
    beside it, if it is there.
    """
    named: list[str] = []
    for path in map(str, paths):
        if os.path.isdir(path):
            named += [one for one in _find(path) if is_test(one)]
        elif is_test(path):
            named.append(path)
        else:
            beside = (os.path.splitext(path)[0] + suffix for suffix in TEST_SUFFIXES)
            named += [one for one in beside if os.path.isfile(one)]
    files: dict[str, SourceFile] = {}
    for path in named:
        files.setdefault(os.path.realpath(path), Reader(largest).file(path))
    return sorted(files.values(), key=lambda file: file.path)


def is_test(path: str) -> bool:
    """Whether a file, by its name, holds tests."""
    return path.endswith(TEST_SUFFIXES)


def write(file: SourceFile) -> None:
    """Puts a file's bytes in its place, all or none of them. Raises OSError."""
    path = os.path.realpath(file.path)
    temporary = f"{path}.new"
    with open(temporary, "wb") as new:
        new.write(file.data)
        new.flush()
        os.fsync(new.fileno())
    os.chmod(temporary, os.stat(path).st_mode & 0o777)
    os.replace(temporary, path)


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
