"""Which deployment a command speaks to: the settings file that `tidemill up` wrote."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tidemill.commands.errors import USAGE, CommandError
from tidemill.packs import NoPack, is_pack, located
from tidemill.settings import ENVIRONMENT, Settings, SettingsError, load
from tidemill.wiring import DefinitionsError, definition_paths

SettingsFile = Annotated[
    Path | None,
    Parameter(
        name="--settings",
        help="Settings of the deployment; else $TIDEMILL_SETTINGS, .tidemill/settings.json, or "
        "the defaults.",
    ),
]


OWN_AGGREGATES = Path("aggregates")
Aggregates = Annotated[
    Sequence[Path],
    Parameter(
        name="--aggregates",
        negative=(),
        help="Python files, or folders of them, that add aggregates of your own; ./aggregates if "
        "it exists.",
    ),
]


Environment = Annotated[
    str | None,
    Parameter(
        name="--environment",
        help="Whose fields hold where definitions and defaults say something of environments; "
        "else the deployment's.",
    ),
]


def settings_of(file: Path | None) -> Settings:
    """The settings of the file given, else of the environment's, of ./.tidemill, or the defaults.

    Raises:
        CommandError: The file is missing or wrong.
    """
    if file is None and ENVIRONMENT in os.environ:
        file = Path(os.environ[ENVIRONMENT])
    if file is None and Settings().file.exists():
        file = Settings().file
    try:
        return load(file)
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None


def paths_of(given: Sequence[Path], settings: Settings) -> list[Path]:
    """Files and folders of definitions that are named, packs among them; else the deployment's.

    Raises:
        CommandError: There is no such pack.
    """
    try:
        return located(given) or definition_paths(settings)
    except (NoPack, DefinitionsError) as error:
        raise CommandError(str(error), USAGE) from None


def aggregate_files(paths: Sequence[Path]) -> tuple[str, ...]:
    """Files and folders of aggregates as settings hold them: absolute.

    None given: ./aggregates, if it is there, as ./definitions is read where none are given. A
    folder without any adds nothing and is left out. What does not exist is kept, so that it is
    missed.
    """
    given = tuple(paths) or ((OWN_AGGREGATES,) if OWN_AGGREGATES.is_dir() else ())
    return tuple(
        str(path.resolve()) for path in given if not path.is_dir() or any(path.glob("*.py"))
    )


def definition_files(paths: Sequence[Path]) -> tuple[str, ...]:
    """The files and folders of definitions as settings hold them: absolute; packs by their names.

    A folder without any definition is left out: it adds nothing. What does not exist is kept, so
    that it is missed.
    """
    return tuple(
        str(path) if is_pack(path) else str(path.resolve())
        for path in paths
        if not path.is_dir() or any(not each.match("*.test.y*ml") for each in path.rglob("*.y*ml"))
    )
