"""Files as they are in a revision of a git repository, by the `git` command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

_LINK = "120000"


class NoRevision(Exception):
    """What is asked for is not there; the message says why, and what to do."""


def extract(
    revision: str, paths: Iterable[Path], into: Path, suffixes: Sequence[str]
) -> list[Path]:
    """Writes the files of a revision whose names end so, and says where `paths` are among them.

    All of a repository's, since files of definitions name each other, into a folder of `into`, one
    a repository. A path need not be in the work tree any more.

    Raises:
        NoRevision: There is no git, no repository, no such revision, or no such path in it.
    """
    homes: dict[Path, Path] = {}
    found: list[Path] = []
    for path in paths:
        whole = Path(os.path.realpath(path))
        top = _top(whole)
        commit = _commit(top, revision)
        relative = PurePosixPath(whole.relative_to(top).as_posix())
        if relative.parts and _git(top, "cat-file", "-e", f"{commit}:{relative}").returncode:
            raise NoRevision(
                f"git:{revision}: `{relative}` is not in that revision of {top}: see "
                f"`git log -- {relative}` for one that has it"
            )
        if top not in homes:
            homes[top] = into / str(len(homes))
            _write(homes[top], list(_files(top, commit, suffixes)), top)
        found.append(homes[top] / relative)
    return found


def _top(path: Path) -> Path:
    """The work tree that a path is in, also one that is gone."""
    folder = next(each for each in (path, *path.parents) if each.is_dir())
    found = _git(folder, "rev-parse", "--show-toplevel")
    if found.returncode:
        raise NoRevision(
            f"{path} is in no git repository: name a folder of one, or compare files "
            f"({found.stderr.decode(errors='replace').strip().splitlines()[0]})"
        )
    return Path(os.path.realpath(os.fsdecode(found.stdout).rstrip("\n")))


def _commit(top: Path, revision: str) -> str:
    wanted = f"{revision}^{{commit}}"
    found = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted)
    if not revision or found.returncode:
        raise NoRevision(
            f"git:{revision}: {top} has no such revision: write a commit, tag or branch that "
            "`git log` knows, such as git:HEAD~1 (a shallow clone lacks older ones)"
        )
    return found.stdout.decode().split()[-1]


def _files(top: Path, commit: str, suffixes: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(mode, object, path) of each."""
    listed = _git(top, "ls-tree", "-r", "-z", "--full-tree", commit)
    for entry in filter(None, os.fsdecode(listed.stdout).split("\0")):
        described, _, name = entry.partition("\t")
        mode, kind, number = described.split()
        inside = ".." not in PurePosixPath(name).parts and not name.startswith("/")
        if kind == "blob" and name.endswith(tuple(suffixes)) and inside:
            yield mode, number, name


def _write(home: Path, files: list[tuple[str, str, str]], top: Path) -> None:
    asked = "".join(f"{number}\n" for _, number, _ in files).encode()
    answer = _git(top, "cat-file", "--batch", given=asked).stdout
    at = 0
    for mode, number, name in files:
        end = answer.index(b"\n", at)
        said, _, size = answer[at:end].decode().split(" ")
        assert said == number
        data = answer[end + 1 : end + 1 + int(size)]
        at = end + 2 + int(size)
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if mode == _LINK:
            file.symlink_to(os.fsdecode(data))
        else:
            file.write_bytes(data)


def _git(
    folder: Path, *words: str, given: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *words], cwd=folder, input=given, capture_output=True)
    except FileNotFoundError:
        raise NoRevision("git is not installed: install it, or compare files") from None
