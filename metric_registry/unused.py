"""Files that are included for nothing; asked when every definition was looked at."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metric_registry.fields import Problem
from metric_registry.inherit import FOLDER_FILES, Written
from metric_registry.syntax.nodes import Path


@dataclass(frozen=True, slots=True)
class Included:
    """That a document has another file read."""

    one: Written
    path: Path
    target: str
    """Its normal path."""

    @property
    def file(self) -> str:
        return os.path.normpath(self.one.file)


def includes(
    included: Sequence[Included], every: Iterable[Written], taken: Mapping[str, set[str]]
) -> Iterator[tuple[Written, Problem]]:
    """TM514: files without a definition, of whose defaults nobody who includes them takes any.

    Args:
        every: All documents that were read.
        taken: By the files of definitions, those of the named defaults that they take.
    """
    defining: set[str] = set()
    homes: dict[str, str] = {}
    for one in every:
        file = os.path.normpath(one.file)
        homes[file] = one.folder
        if one.kind != "Defaults":
            defining.add(file)
    behind: dict[str, set[str]] = {}
    for edge in included:
        behind.setdefault(edge.file, set()).add(edge.target)
    reached = {file: _reached(file, behind) for file in homes} if included else {}
    for edge in included:
        brought = reached.get(edge.target, set())
        if not brought or not edge.one.wanted or not brought <= homes.keys():
            continue  # it was not read, or not all behind it
        readers = {file for file in homes if _reads(edge, reached[file], homes[file])}
        takes = {file for reader in readers for file in taken.get(reader, ())}
        if brought.isdisjoint(defining) and brought.isdisjoint(takes):
            yield (
                edge.one,
                Problem(
                    code="TM514",
                    message=f"nothing of `{edge.target}` is taken: it holds defaults that are not "
                    "extended here",
                    path=edge.path,
                    help="remove it from `include`, or extend them",
                ),
            )


def _reads(edge: Included, reached: set[str], home: str) -> bool:
    """Whether a file has the including one read, or lies where its defaults hold."""
    if edge.file in reached:
        return True
    folder = edge.one.folder
    below = home == folder or home.startswith(folder.rstrip("/") + "/") or not folder
    return os.path.basename(edge.file) in FOLDER_FILES and below


def _reached(file: str, behind: Mapping[str, set[str]]) -> set[str]:
    found, waiting = {file}, [file]
    while waiting:
        new = behind.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found
