"""Aggregates of users' own: the files that settings name are imported, once a process.

Every process that plans or computes has them, and refuses to start where one of them is not what
an aggregate must be: a number that looks right would be the harm. A mistake is told on one line,
with its place in the file and what to do next.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Iterable, Mapping
from importlib.abc import Loader
from pathlib import Path
from types import ModuleType
from typing import Any

from metric_registry import units
from metric_registry.over_points import Added, Own, Refusal, is_reserved
from streams.aggregates.port import Aggregate
from streams.aggregates.promises import (
    PROMISES,
    BrokenPromise,
    check,
    numbers,
    world,
)
from streams.aggregates.registry import (
    DuplicateAggregate,
    NotAnAggregate,
    Registered,
    UnknownAggregate,
    own,
    plain,
    put_back,
)

_CHECK = "check it with `tidemill registry aggregates {path}`"
_QUICK = (world(0, 5),)
_QUICK_TREES = 6

_loaded: dict[Path, ModuleType] = {}


class AggregatesError(ValueError):
    """A file of aggregates that cannot be used; the message says where, why, and what to do."""


def load(paths: Iterable[str | Path]) -> Added:
    """Import the files that are not yet, and say what they have added, by name.

    paths: Python files, or folders whose *.py are meant.

    Raises:
        AggregatesError: One is missing, fails, or adds what is no aggregate.
    """
    for path in paths:
        for file in _files(Path(path)):
            if file.resolve() not in _loaded:
                _loaded[file.resolve()] = _import(file)
    return {name: _added(name, found) for name, found in own().items()}


def all_own() -> list[tuple[str, Aggregate[Any]]]:
    """Every aggregate of users' own, as plans spell it; families with their example."""
    return [
        (spelling, plain(spelling)) for name, one in own().items() for spelling in _of(name, one)
    ]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.glob("*.py") if not p.name.startswith((".", "_")))
        if not found:
            raise AggregatesError(
                f"{path}: there is no *.py file in this folder of aggregates: name a file, or take "
                "the folder out of `aggregates`"
            )
        return found
    if not path.is_file():
        raise AggregatesError(
            f"{path}: there is no such file of aggregates: correct its path, with --aggregates or "
            "in `aggregates` of the settings, or take it out"
        )
    return [path]


def _import(file: Path) -> ModuleType:
    """Run the file, and check what it adds."""
    digest = hashlib.blake2b(str(file.resolve()).encode(), digest_size=8).hexdigest()
    name = f"tidemill_aggregates_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise AggregatesError(f"{file}: is no Python file: its name has to end in .py")
    before = own()
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        _run(file, spec.loader, module)
        _check_added(file, before)
    except AggregatesError:
        del sys.modules[name]
        put_back(before)
        raise
    return module


def _run(file: Path, loader: Loader, module: ModuleType) -> None:
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise AggregatesError(_failure(file, error)) from error


def _check_added(file: Path, before: Mapping[str, Registered]) -> None:
    added = {each: found for each, found in own().items() if before.get(each) is not found}
    if not added:
        raise AggregatesError(
            f"{file}:1: adds no aggregate: call `streams.aggregates.register` with one, or "
            "`register_family`"
        )
    for each, found in added.items():
        _check(file, each, found)


def _failure(file: Path, error: BaseException) -> str:
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    line = _line_of(file, error)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno or 1}: is not Python: {error.msg}: correct the line"
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{file}:{line}: imports {error.name!r}, which is not installed beside tidemill: "
            f"install it into the environment of {sys.executable}"
        )
    if isinstance(error, NotAnAggregate | DuplicateAggregate):
        return f"{file}:{line}: {error}"
    return f"{file}:{line}: cannot be imported: {what}: correct it, and {_CHECK.format(path=file)}"


def _line_of(file: Path, error: BaseException) -> int:
    """The last line of the file that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 1 for f in reversed(frames) if f.filename == str(file)), 1)


def _check(file: Path, name: str, found: Registered) -> None:
    """Raises AggregatesError where what was registered by this name cannot be used."""
    where = f"{file}:1"
    if is_reserved(name):
        raise AggregatesError(f"{where}: the name {name!r} means something already: choose another")
    if found.families and found.example is None:
        raise AggregatesError(
            f"{where}: the family {name!r} gives no example of its parameter: "
            f"write `register_family({name!r}, ..., example=...)`"
        )
    if isinstance(found.unit, str) and (why := units.malformed(found.unit)):
        raise AggregatesError(f"{where}: the unit {found.unit!r} of {name!r} is none: {why}")
    for spelling in _of(name, found):
        try:
            one = plain(spelling)
            where = _place(file, one)
            check(one, *_QUICK, trees=_QUICK_TREES, promises=(numbers, *PROMISES))
        except BrokenPromise as error:
            advice = f"correct it, and {_CHECK.format(path=file)}"
            raise AggregatesError(f"{where}: {error}: {advice}") from None
        except (UnknownAggregate, NotAnAggregate) as error:
            raise AggregatesError(f"{where}: {error}") from None
        except Exception as error:
            line = _line_of(file, error)
            at = f"{file}:{line}" if line > 1 else where
            raise AggregatesError(
                f"{at}: {spelling} fails: {type(error).__name__}: {error}: correct it, and "
                + _CHECK.format(path=file)
            ) from error


def _of(name: str, found: Registered) -> list[str]:
    """Every version of it, as plans spell it; with the example where it takes a parameter."""
    example = json.dumps(found.example, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    spelled = [f"{name}@{version}" for version in sorted(found.single)]
    return spelled + [f"{name}@{version}({example})" for version in sorted(found.families)]


def _place(file: Path, one: object) -> str:
    """Where the class of an aggregate begins, if that is in this file."""
    try:
        if Path(inspect.getfile(type(one))).resolve() == file.resolve():
            return f"{file}:{inspect.getsourcelines(type(one))[1]}"
    except (OSError, TypeError):
        pass
    return f"{file}:1"


# ---------------------------------------------------------------- as definitions see them


def _added(name: str, found: Registered) -> Own:
    def unit(source: str) -> str:
        if found.unit is None:
            return source
        return found.unit if isinstance(found.unit, str) else found.unit(source)

    return Own(found.newest, _refusal(name, found), unit)


def _refusal(name: str, found: Registered) -> Refusal:
    example = f"`{{{name}: {json.dumps(found.example)}}}`"

    def refusal(parameter: object) -> str:
        if parameter is None:
            return "" if found.newest in found.single else f"takes a parameter: {example}"
        if found.newest not in found.families:
            return f"takes no parameter in version {found.newest}" if found.families else (
                "takes no parameter"
            )  # fmt: skip
        try:
            text = json.dumps(parameter, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            one = plain(f"{name}@{found.newest}({text})")
            check(one, *_QUICK, trees=_QUICK_TREES, promises=(numbers, *PROMISES))
        except BrokenPromise as error:
            return f"breaks a promise with {parameter!r}: {error}"
        except Exception as error:  # whatever the file raises for a parameter says what it lacks
            return f"cannot be made of {parameter!r}, {error or type(error).__name__}: {example}"
        return ""

    return refusal
