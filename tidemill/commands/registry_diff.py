"""`tidemill registry diff`: the two sets of definitions that are held against each other."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.differences.compare import Differences, differences
from metric_registry.load import SUFFIXES, Reader
from metric_registry.plan import Plan
from metric_registry.rules import Settings as Allowed
from metric_registry.values import TABLE_SUFFIX
from tidemill.commands.deployment import paths_of
from tidemill.commands.errors import UNREACHABLE, USAGE, CommandError
from tidemill.consumers import Consumer, consumers_of
from tidemill.definitions_topic import decisions_of
from tidemill.deployed_file import written
from tidemill.git_files import NoRevision, extract
from tidemill.packs import is_pack
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.wiring import DefinitionsError, project_paths, retention_days, shipped_paths
from topologies.candidates import definitions_of
from topologies.decisions import UnreadableDecision

RUNNING, GIT = "running", "git:"


@dataclass(frozen=True, slots=True)
class _Sides:
    """What is asked for.

    Attributes:
        whole: Whether a side is all that a deployment computes, so that both are: the starter
            definitions are then on both sides or on none.
        paths: Of definitions of the project, which a git revision has, too.
    """

    whole: bool
    paths: tuple[Path, ...]
    permitted: Allowed
    settings: Settings


def between(old: str, new: str | None, permitted: Allowed, settings: Settings) -> Differences:
    """What differs between two sets of definitions, by what they are called on the command line.

    new: None: the definitions of the project.

    Raises:
        CommandError: One of them cannot be had, or has mistakes.
    """
    sides = _Sides(
        whole=new is None or RUNNING in (old, new),
        paths=_project((old, new), settings),
        permitted=permitted,
        settings=settings,
    )
    before, after = _definitions(old, sides), _definitions(new, sides)
    kept = [retention_days(each) for each in (before, after) if sides.whole]
    log = settings.raw_retention_hours * 3_600
    return differences(
        before.definitions,
        after.definitions,
        log_seconds=log,
        retention=kept,
        derived=(before.derived, after.derived),
    )


def readers_now(old: str, new: str | None, settings: Settings) -> list[Consumer] | None:
    """The consumer groups of what is published, if a side is what runs; None: none is asked for.

    Raises:
        CommandError: The log is away.
    """
    if RUNNING not in (old, new):
        return None
    try:
        return asyncio.run(consumers_of(settings.bootstrap))
    except Unreachable as error:
        raise CommandError(str(error), UNREACHABLE) from None


def _project(named: tuple[str, str | None], settings: Settings) -> tuple[Path, ...]:
    """The paths that are meant where none is named: the other side's, else the deployment's."""
    paths = [Path(one) for one in named if one and one != RUNNING and not one.startswith(GIT)]
    paths = [path for path in paths if not is_pack(path)]
    return tuple(paths) or tuple(project_paths(settings))


def _definitions(side: str | None, sides: _Sides) -> Plan:
    if side == RUNNING:
        return _in_force(sides.settings)
    if side is None:
        return _checked(paths_of((), sides.settings), sides)
    if not side.startswith(GIT):
        return _checked([*_shipped(sides), *paths_of([Path(side)], sides.settings)], sides)
    if not sides.paths:
        raise CommandError(
            f"{side}: the deployment has no definitions of its own: name their folder as well, "
            f"such as `tidemill registry diff {side} ./definitions`",
            USAGE,
        )
    revision = side.removeprefix(GIT)
    with _at(revision, sides.paths) as (root, paths):
        return _checked([*_shipped(sides), *paths], sides, root, f"{side}:")


def _shipped(sides: _Sides) -> list[Path]:
    try:
        return shipped_paths(sides.settings) if sides.whole else []
    except DefinitionsError as error:
        raise CommandError(str(error), USAGE) from None


@contextmanager
def _at(revision: str, paths: Sequence[Path]) -> Generator[tuple[Path, list[Path]]]:
    """A folder with the definitions of a revision, and where in it these paths are."""
    with ExitStack() as stack:
        root = Path(os.path.realpath(stack.enter_context(TemporaryDirectory())))
        try:
            found = extract(revision, paths, root, (*SUFFIXES, TABLE_SUFFIX))
        except NoRevision as error:
            raise CommandError(str(error), USAGE) from None
        yield root, found


def _checked(
    paths: Sequence[Path], sides: _Sides, root: Path | None = None, shown: str = ""
) -> Plan:
    """The definitions of files, which have no mistakes.

    root: no defaults above it are read; in what is said of its files it is `shown` so.
    """
    reader = Reader(sides.permitted.largest_file, top=root)
    report = check_files(reader.read(paths), sides.permitted, reader.include)
    if report.errors:
        text = report.text()
        raise CommandError(text if root is None else _named(text, root, shown), USAGE)
    return compile_plan(report.definitions, derived=report.derived)


def _named(text: str, root: Path, shown: str) -> str:
    """Each repository has a folder there."""
    return re.sub(re.escape(str(root)) + "/[0-9]+/", lambda _: shown, text)


def _in_force(settings: Settings) -> Plan:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        newest = asyncio.run(decisions_of(settings)).newest
        deployed = written(settings) if newest is None else newest.deployed
    except Unreachable as error:
        raise CommandError(
            f"{error}: what is in force stands there. Start it with `tidemill up`, compare files, "
            "or name the deployment's settings in $TIDEMILL_SETTINGS",
            UNREACHABLE,
        ) from None
    except (DefinitionsError, UnreadableDecision) as error:
        raise CommandError(str(error), USAGE) from None
    if deployed is None:
        raise CommandError(
            f"nothing runs yet: the log at {settings.bootstrap} says nothing of definitions, which "
            "`tidemill up` puts in force; compare files, or name the deployment's settings in "
            "$TIDEMILL_SETTINGS",
            USAGE,
        )
    return compile_plan(definitions_of(deployed), derived=deployed.plan.derived)
