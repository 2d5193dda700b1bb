"""Definitions that come with tidemill, by name: `tidemill:gpu` stands where a file may stand.

Those of `metric_registry/definitions` every deployment computes unless told otherwise; those of
`metric_registry/packs` are for who asks, since each definition in force has its view of the store
and its place in each worker's plan.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from metric_registry.load import is_test

SCHEME = "tidemill:"
_REGISTRY = Path(str(resources.files("metric_registry")))
STARTER = _REGISTRY / "definitions"
_FOLDERS = (STARTER, _REGISTRY / "packs")


class NoPack(ValueError):
    """A name that no pack has."""


def is_pack(path: str | Path) -> bool:
    """Whether a path names a pack and no file."""
    return str(path).startswith(SCHEME)


def packs() -> dict[str, Path]:
    """The file of each pack, by its name, in order of names."""
    files = [file for folder in _FOLDERS for file in folder.glob("[!_.]*.yaml")]
    return {file.stem: file for file in sorted(files, key=_name) if not is_test(file.name)}


def located(paths: Iterable[str | Path]) -> list[Path]:
    """Paths as they can be read: of packs the files that they are.

    Raises:
        NoPack: There is none of a name.
    """
    return [_located(str(path)) if is_pack(path) else Path(path) for path in paths]


def _located(path: str) -> Path:
    known, name = packs(), path.removeprefix(SCHEME)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean `{SCHEME}{near[0]}`? " if near else ""
    raise NoPack(f"there is no pack `{path}`: {meant}there are {', '.join(known)}")


def _name(file: Path) -> str:
    return file.stem
