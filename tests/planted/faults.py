"""The list of planted faults, read from the files beside this one, and what counts as caught."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGES = ("metric_registry", "streams", "tidemill", "topologies")
"""What is copied and may be planted in; everything that decides a number lives there."""


class BrokenPlantError(Exception):
    """The list and the source disagree; the message says where."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`was` stands exactly once in `file` and is replaced by `becomes`."""

    file: str
    was: str
    becomes: str

    def apply(self, source: str) -> str:
        """The source with the fault in it. Raises BrokenPlantError."""
        found = source.count(self.was)
        if found != 1:
            raise BrokenPlantError(f"{self.file} holds this text {found} times:\n{self.was}")
        return source.replace(self.was, self.becomes)


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake. `caught_by` are pytest node ids, each of which has to fail on its own."""

    name: str
    would: str
    area: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    quick: bool

    @property
    def files(self) -> tuple[str, ...]:
        """Where the fault is planted."""
        return tuple(dict.fromkeys(edit.file for edit in self.edits))


def load(folder: Path = HERE) -> list[Fault]:
    """Every fault of every `*.toml`, in order of file and place. Raises BrokenPlantError."""
    faults: list[Fault] = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["fault"]:
            edits = tuple(Edit(**edit) for edit in entry.pop("edit"))
            entry["caught_by"] = tuple(entry["caught_by"])
            faults.append(Fault(**{"quick": False, "area": path.stem, "edits": edits, **entry}))
    names = [fault.name for fault in faults]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BrokenPlantError(f"names stand in the list twice: {', '.join(twice)}")
    return faults


def complaint(report: dict[str, Any], copy: Path, fault: Fault | None) -> str | None:
    """Why a run of one node id over a copy does not count; None: it does.

    With a fault, some case has to fail by an assertion of a test, and nothing in any other way.
    Without one, at least one case has to run and all have to pass. `report` is what
    `planted.outcomes` wrote.
    """
    outside = [f for f in report["loaded"] if not Path(f).is_relative_to(copy)]
    if outside:
        return f"modules came from elsewhere: {', '.join(outside)}"
    if report["broken"]:
        return f"broke instead of failing: {report['broken'][0]}"
    if fault is None:
        if report["failed"]:
            return f"fails without any fault: {report['failed'][0]}"
        return None if report["passed"] else "no such test"
    unused = [f for f in fault.files if str(copy / f) not in report["loaded"]]
    if unused:
        return f"the test never loads {', '.join(unused)}"
    return None if report["failed"] else "NOT CAUGHT"


def table(faults: list[Fault]) -> str:
    """The list as a page's table, by area."""
    lines: list[str] = []
    for area in dict.fromkeys(fault.area for fault in faults):
        lines += ["", f"### {area}", "", "| fault | a careless engineer would | caught by |"]
        lines.append("|---|---|---|")
        for fault in faults:
            if fault.area == area:
                tests = "<br>".join(f"`{_short(node)}`" for node in fault.caught_by)
                lines.append(f"| {fault.name} | {fault.would} | {tests} |")
    return "\n".join(lines).strip() + "\n"


def _short(node: str) -> str:
    file, _, test = node.partition("::")
    return f"{Path(file).name}::{test}"
