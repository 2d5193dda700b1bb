"""Which defaults a definition takes, and in which order: of its folders, then those it extends.

Order of weight, lightest first: defaults of the folders from the outermost inwards, each named one
in the order of `extends` behind what it extends itself, the definition; then, in the same order,
what each of them says of the environment. So what an environment says holds whoever else says it.
"""

from __future__ import annotations

import difflib
import os.path
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from metric_registry.fields import Problem
from metric_registry.layers import Merged, Sheet, Way, merged
from metric_registry.syntax.nodes import Mapping, Node, Path, Scalar, Sequence, get

FOLDER_FILES = ("_defaults.yaml", "_defaults.yml")
"""Files of defaults for the folder that they stand in, and below."""


@dataclass(frozen=True, slots=True)
class Written:
    """A document as it stands in a file."""

    root: Mapping
    file: str
    folder: str
    clean: bool = True
    """Whether its fields have no errors."""
    wanted: bool = True
    """Whether its file was asked for, not found on the way."""
    alone: bool = False
    """Whether its file was asked for by itself, and what lies beside it was not looked for."""

    @property
    def kind(self) -> str:
        return text_at(self.root, "kind")

    @property
    def name(self) -> str:
        return text_at(self.root, "name")

    @property
    def where(self) -> str:
        return f"{self.file}:{self.root.line}"

    @property
    def extends(self) -> list[tuple[str, Path]]:
        """Names, and the path of each."""
        return names_at(self.root, "extends")

    @property
    def environments(self) -> dict[str, Mapping]:
        """What it says of each environment, where that is a mapping."""
        node = get(self.root, ("environments",))
        entries = node.entries if isinstance(node, Mapping) else {}
        return {name: value for name, (_, value) in entries.items() if isinstance(value, Mapping)}


def text_at(root: Mapping, name: str) -> str:
    """The text of a field, empty where there is none."""
    node = root.entries[name][1] if name in root.entries else None
    return node.text if isinstance(node, Scalar) else ""


def names_at(root: Mapping, name: str) -> list[tuple[str, Path]]:
    """The texts of a field that has one or a list of them, each with its path."""
    node: Node | None = root.entries[name][1] if name in root.entries else None
    if isinstance(node, Scalar):
        return [(node.text, (name,))]
    if isinstance(node, Sequence):
        return [
            (item.text, (name, index))
            for index, item in enumerate(node.items)
            if isinstance(item, Scalar)
        ]
    return []


class Inheritance:
    """All defaults that were read; says what each definition takes of them."""

    def __init__(self, defaults: Iterable[Written], metrics: Iterable[Written] = ()) -> None:
        self._named: dict[str, Written] = {}
        self._of_folder: dict[str, Written] = {}
        self._metrics = {one.name: one for one in metrics}
        self._again: list[tuple[Written, Written]] = []
        self._used: set[int] = set()
        self.files_taken: dict[str, set[str]] = {}
        """By the normal paths of definitions, those of the named defaults that they take."""
        self._chains: dict[str, list[tuple[Written, str]]] = {}
        self._broken: set[int] = set()
        for one in sorted(defaults, key=lambda each: (each.file, each.root.line)):
            table, key = (self._named, one.name) if one.name else (self._of_folder, one.folder)
            first = table.setdefault(key, one)
            if first is not one:
                self._again.append((one, first))

        for one, _ in self.wrong():
            self._broken.add(id(one))
        self._broken.update(id(first) for _, first in self._again)

    def wrong(self) -> Iterator[tuple[Written, Problem]]:
        """TM505, TM507, TM508, TM509: what is wrong with defaults beside their fields."""
        for one in [*self._named.values(), *self._of_folder.values()]:
            for problem in self.problems(one):
                yield one, problem
        yield from self._placed()

    @property
    def environments(self) -> set[str]:
        """Those that some defaults name."""
        every = [*self._named.values(), *self._of_folder.values()]
        return {name for one in every for name in one.environments}

    def taken(
        self, one: Written, environment: str, last: Written | None = None
    ) -> tuple[Merged, bool]:
        """A definition with all that it takes, and whether all of that is without mistakes.

        last: The uppermost document whose word on the environment counts; None: all do.
        """
        chain = self._chain(one)
        self._used.update(id(layer) for layer, _ in chain)
        layers = [*chain, (one, "")]
        sheets = [Sheet(each.root, _way(each, text)) for each, text in layers]
        if environment:
            for each, text in layers:
                if environment in each.environments:
                    said = f"the environment `{environment}`" + (text and f" of {text}")
                    way = Way(each.file, said, own=each is one)
                    sheets.append(Sheet(each.environments[environment], way))
                if each is last:
                    break
        return merged(sheets, one.root), all(
            layer.clean and id(layer) not in self._broken for layer, _ in chain
        )

    def environments_of(self, one: Written) -> set[str]:
        """The environments in which something is otherwise for a definition."""
        every = [layer for layer, _ in self._chain(one)]
        return {name for each in [*every, one] for name in each.environments}

    def speakers(self, one: Written, environment: str) -> list[Written]:
        """Who says something of an environment for a definition, the lightest first."""
        every = [layer for layer, _ in self._chain(one)]
        return [each for each in [*every, one] if environment in each.environments]

    def note(self, one: Written) -> None:
        """Notes which files a definition takes named defaults from."""
        if one.extends or self._named:
            found = {os.path.normpath(layer.file) for layer, _ in self._chain(one) if layer.name}
            self.files_taken.setdefault(os.path.normpath(one.file), set()).update(found)

    def _chain(self, one: Written) -> list[tuple[Written, str]]:
        """The defaults that a definition takes, the lightest first, and by which way each came."""
        found: dict[int, tuple[Written, str]] = {}
        for layer, text in self._folders(one.folder):
            found.setdefault(id(layer), (layer, text))
        for name, _ in one.extends:
            for layer, text in self._expanded(name, f"`extends: {name}`", ()):
                found.setdefault(id(layer), (layer, text))
        return list(found.values())

    def _folders(self, folder: str) -> list[tuple[Written, str]]:
        if not self._of_folder:
            return []
        if folder not in self._chains:
            above: list[tuple[Written, str]] = []
            parent = os.path.dirname(folder)
            if parent != folder:
                above = self._folders(parent)
            mine = self._of_folder.get(folder)
            if mine is not None:
                text = f"the defaults of `{os.path.dirname(mine.file) or '.'}/`"
                above = [*above]
                for name, _ in mine.extends:
                    above += self._expanded(name, f"{text}, which extend `{name}`", ())
                above.append((mine, text))
            self._chains[folder] = above
        return self._chains[folder]

    def _expanded(
        self, name: str, text: str, behind: tuple[str, ...]
    ) -> Iterator[tuple[Written, str]]:
        """Named defaults behind those that they extend; a circle ends where it closes."""
        layer = self._named.get(name)
        if layer is None or name in behind:
            return
        for inner, _ in layer.extends:
            yield from self._expanded(inner, f"{text}, which extends `{inner}`", (*behind, name))
        yield layer, text

    def problems(self, one: Written) -> Iterator[Problem]:
        """TM507, TM508: what a document extends is there, and is not itself."""
        for name, path in one.extends:
            if not name:
                continue
            if name not in self._named:
                yield self._missing(name, path)
            elif one.name and one.kind == "Defaults" and one.name in self._reached(name):
                yield Problem(
                    code="TM508",
                    message=f"`{one.name}` extends itself"
                    + (f", by way of `{name}`" if name != one.name else ""),
                    path=path,
                    help="remove it from `extends`",
                )

    def _missing(self, name: str, path: Path) -> Problem:
        if name in self._metrics:
            message = f"`{name}` is a metric, and only defaults can be extended"
            advice = "put what both have in common into a document of `kind: Defaults`"
            return Problem(code="TM507", message=message, path=path, help=advice)
        near = difflib.get_close_matches(name, self._named, n=1)
        known = ", ".join(f"`{each}`" for each in sorted(self._named)) or "none"
        return Problem(
            code="TM507",
            message=f"there are no defaults named `{name}`",
            path=path,
            help=(f"did you mean `{near[0]}`? " if near else "")
            + f"there are {known}; other files are read by `include`",
            replacement=near[0] if near else None,
        )

    def _reached(self, name: str) -> set[str]:
        reached: set[str] = set()
        open_: list[str] = [name]
        while open_:
            each = open_.pop()
            if each in reached or each not in self._named:
                continue
            reached.add(each)
            open_ += [inner for inner, _ in self._named[each].extends]
        return reached

    def _placed(self) -> Iterator[tuple[Written, Problem]]:
        """TM505, TM509: defaults that are there twice, or are for nobody."""
        for one, first in self._again:
            what = f"the defaults `{one.name}`" if one.name else "the defaults of the folder"
            yield (
                one,
                Problem(
                    code="TM505",
                    message=f"{what} are defined already, in {first.where}",
                    path=("name",) if one.name else ("kind",),
                    help="rename one of the two, or remove it",
                ),
            )
        for one in self._of_folder.values():
            if os.path.basename(one.file) not in FOLDER_FILES:
                yield (
                    one,
                    Problem(
                        code="TM509",
                        message="defaults without a name are for a folder, and stand in its "
                        f"`{FOLDER_FILES[0]}`",
                        path=("kind",),
                        help=f"give them a name, or move them into `{FOLDER_FILES[0]}`",
                    ),
                )

    def unused(self) -> Iterator[tuple[Written, Problem]]:
        """TM511: defaults that no definition takes; asked when every definition was."""
        for folder, one in sorted(self._of_folder.items()):
            standing = os.path.basename(one.file) in FOLDER_FILES
            if one.wanted and not one.alone and standing and id(one) not in self._used:
                shown = os.path.dirname(one.file) or folder or "."
                yield (
                    one,
                    Problem(
                        code="TM511",
                        message=f"there is no definition in `{shown}/` or below that would take "
                        "these defaults",
                        path=("kind",),
                        help="remove them, or move them to where definitions are",
                    ),
                )
        for name, one in sorted(self._named.items()):
            if one.wanted and id(one) not in self._used:
                yield (
                    one,
                    Problem(
                        code="TM511",
                        message=f"no definition takes the defaults `{name}`",
                        path=("name",),
                        help="remove them, or extend them",
                    ),
                )


def _way(one: Written, text: str) -> Way | None:
    return Way(one.file, text) if text else None
