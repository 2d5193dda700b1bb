"""`tidemill registry docs`."""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import replace
from pathlib import Path

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
from tidemill.commands.store import NoTables, store_client
from tidemill.consumers import PUBLISHED, consumers_of
from tidemill.live_figures import figures
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.wiring import DefinitionsError, allowed

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
        Also ask the running stack how fresh the windows of the last hour were, of how many groups,
        and which consumer groups read the topics.
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
    named = {one.name: one for one in (*report.definitions, *report.derived)}
    read = read_cases(read_tests(given, permitted.largest_file), named, permitted)
    if read.errors:
        note(f"{count(len(read.errors), 'error')} in tests, which are left out: see "
             "`tidemill registry test`")  # fmt: skip
    now = _asked(chosen, report.definitions) if live else None
    pages = site(catalogue(report.entries, read.cases, now, report.derived_entries))
    _write(out, pages)
    print(f"{count(len(pages), 'page')} of {count(len(named), 'definition')}: {out / 'index.html'}")
    return FINE


def _asked(settings: Settings, definitions: tuple[ResolvedDefinition, ...]) -> Live:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        with store_client(settings, "leave out --live") as client:
            found = figures(client, definitions)
        readers = asyncio.run(consumers_of(settings.bootstrap))
    except NoTables:
        raise CommandError("the store has no tables yet: leave out --live", FAILED) from None
    except Unreachable as error:
        raise CommandError(
            f"{error}: start the stack with `tidemill up`, or leave out --live", UNREACHABLE
        ) from None
    groups = {name: [one.group for one in readers if one.topic == name] for name in PUBLISHED}
    return replace(found, readers=groups)


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
