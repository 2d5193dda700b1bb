"""`tidemill registry docs`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from clickhouse_connect.driver.exceptions import ClickHouseError

from metric_registry.cases.reading import read_cases
from metric_registry.check import check as check_definitions
from metric_registry.errors import count
from metric_registry.load import read_tests
from metric_registry.pages.catalogue import Live, catalogue
from metric_registry.pages.site import site
from metric_registry.plan import ResolvedDefinition
from tidemill.commands.deployment import SettingsFile, aggregate_files, paths_of, settings_of
from tidemill.commands.errors import FAILED, FINE, UNREACHABLE, USAGE, CommandError
from tidemill.commands.output import note
from tidemill.live_figures import figures
from tidemill.settings import Settings, SettingsError
from tidemill.store_address import PASSWORD, store_address
from tidemill.wiring import DefinitionsError, allowed
from topologies.sink.store import connect

MARK = ".tidemill-registry-docs"
"""A file that says whose the folder is, so that nothing else is ever deleted."""


def docs(
    *paths: Path,
    out: Path = Path("registry-docs"),
    live: bool = False,
    settings: SettingsFile = None,
) -> int:
    """Write a catalogue of definitions as pages that a browser reads without a server or network.

    A page for each definition (what it means, from which source to which table, owner, promises,
    fields with the line that says them, queries to try, tests), each metric that is read, and each
    owner. The same definitions give the same bytes. A folder that holds anything else is left
    alone.

    Parameters
    ----------
    paths:
        Files or folders of definitions; without any, what the deployment runs.
    out:
        The folder of the pages; what an earlier run wrote there is replaced.
    live:
        Also ask the running stack's store how fresh the windows of the last hour were, and of how
        many groups.
    """
    chosen = settings_of(settings)
    try:
        permitted = allowed(aggregate_files(()) or chosen.aggregates, chosen.environment)
    except DefinitionsError as error:
        raise CommandError(str(error)) from None
    given = paths_of(paths, chosen)
    report = check_definitions(given, permitted)
    if report.errors:
        raise CommandError(report.text())
    named = {one.name: one for one in report.definitions}
    read = read_cases(read_tests(given, permitted.largest_file), named, permitted)
    if read.errors:
        note(f"{count(len(read.errors), 'error')} in tests, which are left out: see "
             "`tidemill registry test`")  # fmt: skip
    now = _asked(chosen, report.definitions) if live else None
    pages = site(catalogue(report.entries, read.cases, now))
    _write(out, pages)
    print(f"{count(len(pages), 'page')} of {count(len(named), 'definition')}: {out / 'index.html'}")
    return FINE


def _asked(settings: Settings, definitions: tuple[ResolvedDefinition, ...]) -> Live:
    try:
        client = connect(store_address(settings.store_url, os.environ.get(PASSWORD, "")))
        return figures(client, definitions)
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None
    except ClickHouseError as error:
        said = str(error).splitlines()[0]
        if "DB::Exception" in said:
            raise CommandError(f"the store refused: {said}", FAILED) from None
        raise CommandError(
            f"no store answers at {settings.store_url}: start the stack with `tidemill up`, or "
            "leave out --live",
            UNREACHABLE,
        ) from None


def _write(out: Path, pages: dict[str, bytes]) -> None:
    """Puts pages in place of those that were there."""
    mark = out / MARK
    try:
        if out.exists() and not (mark.is_file() or (out.is_dir() and not any(out.iterdir()))):
            raise CommandError(
                f"{out} is there, and was not written by this command: name another folder with "
                "--out",
                USAGE,
            )
        for folder in ("definitions", "sources", "owners"):
            if (out / folder).is_dir():
                shutil.rmtree(out / folder)
        out.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(b"")
        for path, content in pages.items():
            (out / path).parent.mkdir(exist_ok=True)
            (out / path).write_bytes(content)
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror}") from None
