"""What of a process's tasks has state on its disk, told without opening it.

Beside a task's RocksDB lies a file `HELD`, written after each flush: up to where in the changelog
the state goes, and how large it is. It says where a task is restored soonest, and nothing depends
on it: a file that does not read counts as none. A file `PROCESS` names the folder of all tasks, so
that a worker that comes back is known again.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_HELD = "HELD"
_PROCESS = "PROCESS"


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """State in which the changelog is applied up to `offset`; about so many bytes."""

    offset: int
    bytes: int


def note_copy(folder: Path, copy: LocalCopy) -> None:
    """Say what a task's folder holds."""
    _replace(folder / _HELD, json.dumps({"offset": copy.offset, "bytes": copy.bytes}))


def copies(folder: Path) -> dict[tuple[str, int], LocalCopy]:
    """(topic, partition) -> its copy, of the tasks in a topology's folder."""
    found: dict[tuple[str, int], LocalCopy] = {}
    for file in folder.glob(f"*/*/{_HELD}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            fields = json.loads(file.read_bytes())
            at = file.parent.parent.name, int(file.parent.name)
            found[at] = LocalCopy(int(fields["offset"]), int(fields["bytes"]))
    return found


def process_identity(state_dir: Path | None) -> str:
    """The name of this state folder, made up once; of this process if there is none."""
    fresh = uuid.uuid4().hex
    if state_dir is None:
        return fresh
    file = state_dir / _PROCESS
    if not file.exists():
        _replace(file, fresh)
    return file.read_text() if file.exists() else fresh


def _replace(file: Path, text: str) -> None:
    """All or nothing; a disk that refuses is no reason to stop."""
    with suppress(OSError):
        temporary = file.with_suffix(".new")
        temporary.write_text(text)
        os.replace(temporary, file)
