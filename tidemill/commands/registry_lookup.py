"""`tidemill registry lookup`."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from metric_registry.check import Report, check_files
from metric_registry.errors import Finding, to_json
from metric_registry.load import Reader, SourceFile, write
from metric_registry.lookups import MOST_KEYS, Lookup
from metric_registry.pinning import TableChange, pinned, table_text
from metric_registry.reading_lookups import Read
from metric_registry.rules import Settings as Allowed
from metric_registry.table_sources import NotATable, SourceTable, of_result
from tidemill.commands.deployment import (
    Aggregates,
    Environment,
    SettingsFile,
    aggregate_files,
    paths_of,
    settings_of,
)
from tidemill.commands.errors import (
    FAILED,
    FINE,
    TIMED_OUT,
    UNREACHABLE,
    USAGE,
    CommandError,
)
from tidemill.commands.output import note
from tidemill.commands.store import NoTables, store_client
from tidemill.otlp_topic import NoSuchTopic, Stalled
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.table_topic import cleanup_policy, last_records
from tidemill.wiring import DefinitionsError, allowed

Flag = Annotated[bool, Parameter(negative=())]
_AS_WRITTEN = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_decimals": 0,
    "output_format_json_quote_denormals": 1,
    "wait_end_of_query": 1,
}
"""Numbers as JSON has them, what JSON has no number for as text; a failure before any row."""


@dataclass(frozen=True, slots=True)
class _Sought:
    """Where the table stands, and what it is now."""

    lookup: Lookup
    file: str
    data: bytes


def lookup(
    name: str,
    *paths: Path,
    topic: str | None = None,
    query: str | None = None,
    bootstrap_servers: str | None = None,
    allow_empty: Flag = False,
    dry_run: Flag = False,
    exit_code: Flag = False,
    aggregates: Aggregates = (),
    environment: Environment = None,
    settings: SettingsFile = None,
    output: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text",
) -> int:
    """Write the table of a lookup anew, from a compacted topic or a query of the store.

    The file keeps its header; rows come in order of their keys, and the same rows give the same
    bytes. It is checked before it takes the old one's place, and nothing is in force until
    `tidemill registry apply`. Exit code 2 if the source is no such table; then the file is as it
    was.

    Parameters
    ----------
    name:
        The name of the document of `kind: Lookup`.
    paths:
        Files or folders of definitions; without any, what the deployment runs.
    topic:
        A compacted topic: a record's key is the table's, its value a JSON object of columns; one
        without a value deletes. What is committed is read, to where it ends now.
    query:
        A SELECT of the deployment's store, whose first column has the key's name, and the others
        those of the table's columns.
    bootstrap_servers:
        The broker of the topic, as HOST:PORT; else what the settings say.
    allow_empty:
        Also write a table without a row.
    dry_run:
        Write nothing; say what would change.
    exit_code:
        Exit code 1 if a key differs.
    """
    if (topic is None) == (query is None):
        what = "either --topic or --query, not both" if topic else "--topic or --query"
        raise CommandError(f"say where the table comes from: {what}", USAGE)
    chosen = settings_of(settings)
    permitted = _permitted(aggregates, environment, chosen)
    given = paths_of(paths, chosen)
    before = _checked(given, permitted)
    sought = _sought(name, before)
    try:
        if topic is not None:
            at = bootstrap_servers or chosen.bootstrap
            source = _of_topic(at, topic, sought.lookup.key)
        else:
            source = _of_query(chosen, query or "", sought.lookup.key)
        rows = pinned(sought.lookup, source)
    except NotATable as error:
        raise CommandError(f"{error}. {sought.file} is as it was", USAGE) from None
    if not rows and not allow_empty:
        empty = f"the topic {topic} holds no row" if topic is not None else "the query has no row"
        raise CommandError(
            f"{empty}, and an empty table takes every stream to its default: is it the right "
            f"source? --allow-empty writes it. {sought.file} is as it was",
            USAGE,
        )
    data = table_text(sought.lookup.header, rows).encode()
    changed = TableChange(sought.lookup.key, sought.lookup.header, sought.lookup.rows, rows)
    _that_passes(name, changed, before, _checked(given, permitted, SourceFile(sought.file, data)))
    if data != sought.data and not dry_run:
        _write(SourceFile(sought.file, data))
    _tell(name, sought, changed, data != sought.data, dry_run, output)
    return FAILED if changed and exit_code else FINE


def _permitted(aggregates: Sequence[Path], environment: str | None, deployed: Settings) -> Allowed:
    try:
        return allowed(
            aggregate_files(aggregates) or deployed.aggregates,
            deployed.environment if environment is None else environment,
        )
    except DefinitionsError as error:
        raise CommandError(str(error), USAGE) from None


def _checked(
    paths: Sequence[Path], permitted: Allowed, instead: SourceFile | None = None
) -> Report:
    """What a check says. instead: a table, in place of the one that stands at its path."""
    reader = Reader(permitted.largest_file)
    files = reader.read(paths)
    return check_files([*files, *([instead] if instead else ())], permitted, reader.include)


def _sought(name: str, report: Report) -> _Sought:
    """The lookup of that name, which must be one, and without a mistake. Raises CommandError."""
    found = [one for one in report.lookups if one.name == name]
    if not found:
        names = sorted({one.name for one in report.lookups})
        near = difflib.get_close_matches(name, names, n=1)
        there = f"there are {', '.join(names)}" if names else "there is none"
        advice = f"did you mean `{near[0]}`?" if near else there
        raise CommandError(f"no lookup is named `{name}`: {advice}", USAGE)
    if len(found) > 1:
        places = " and ".join(one.written.where for one in found)
        raise CommandError(f"two lookups are named `{name}`, in {places}: rename one", USAGE)
    (one,) = found
    if one.lookup is None:
        wrong = [each for each in report.errors if each.file in (one.file, one.written.file)]
        raise CommandError(_mistakes(name, one, wrong), USAGE)
    return _Sought(one.lookup, one.file, Path(one.file).read_bytes())


def _mistakes(name: str, one: Read, wrong: Sequence[Finding]) -> str:
    advice = f"put right the document of `{name}` first"
    if one.file:
        advice += f"; of {one.file} a header line is enough, which says the columns"
    return "\n\n".join([*(finding.render() for finding in wrong), advice])


def _of_topic(bootstrap: str, topic: str, key: str) -> SourceTable:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        found = asyncio.run(last_records(bootstrap, topic)).table(key)
        policy = asyncio.run(cleanup_policy(bootstrap, topic))
    except Unreachable as error:
        said = f"{error}: start the stack with `tidemill up`, or name a broker with "
        raise CommandError(f"{said}--bootstrap-servers", UNREACHABLE) from None
    except NoSuchTopic:
        said = f"there is no topic {topic} at {bootstrap}; see: tidemill topic list"
        raise CommandError(said, USAGE) from None
    except Stalled as error:
        raise CommandError(f"{error}, before its end: is the broker well?", TIMED_OUT) from None
    if "delete" in policy:
        note(
            f"{topic} has cleanup.policy={policy}: a key that was not sent for long leaves it, and "
            "so the table; set it to compact"
        )
    return found


def _of_query(settings: Settings, query: str, key: str) -> SourceTable:
    # one row more than a table may have tells that there are too many; what is no SELECT is none
    # behind FROM, either
    asked = f"SELECT * FROM (\n{query.strip().rstrip(';')}\n) LIMIT {MOST_KEYS + 1}"
    try:
        with store_client(settings) as client:
            said: bytes = client.raw_query(
                asked, fmt="JSONCompactEachRowWithNames", settings=_AS_WRITTEN
            )
    except NoTables as error:
        raise CommandError(f"the store has no such table: {error}", USAGE) from None
    except CommandError as error:
        raise CommandError(str(error), USAGE if error.code == FAILED else error.code) from None
    lines = said.removesuffix(b"\n").split(b"\n")
    if len(lines) > MOST_KEYS + 1:
        raise NotATable(
            f"the query has more than {MOST_KEYS:,} rows, and no table may have more keys: select "
            "those that streams have"
        )
    return of_result(lines, key)


def _that_passes(name: str, changed: TableChange, before: Report, after: Report) -> None:
    """Refuses a table that is not read back as it is, or with which definitions have new errors."""
    known = {(each.file, each.code, each.line, each.message) for each in before.errors}
    new = [
        each
        for each in after.errors
        if (each.file, each.code, each.line, each.message) not in known
    ]
    if new:
        said = "\n\n".join(finding.render() for finding in new)
        raise CommandError(f"with that table there are errors; nothing is written\n\n{said}", USAGE)
    (read,) = (one.lookup for one in after.lookups if one.name == name)
    if read is None or dict(read.rows) != dict(changed.after):
        raise CommandError(f"the table of `{name}` would not be read as it was written", USAGE)


def _write(file: SourceFile) -> None:
    try:
        write(file)
    except OSError as error:
        raise CommandError(f"cannot write {file.path}: {error.strerror}", USAGE) from None


def _tell(
    name: str, sought: _Sought, changed: TableChange, other: bool, dry_run: bool, output: str
) -> None:
    if output == "json":
        written = other and not dry_run
        told = {"lookup": name, "file": sought.file, "written": written, **changed.to_dict()}
        print(to_json(told))
        return
    keys = f"{len(changed.after):,} key{'' if len(changed.after) == 1 else 's'}"
    print(f"{name}: {keys}, {len(changed.before):,} before; {changed.text()}")
    if not other:
        print(f"{sought.file} is that table already")
    elif not changed:
        would = "would be" if dry_run else "is"
        print(f"{sought.file} {would} written in another order or style; no version changes")
    elif dry_run:
        print(f"{sought.file} would be written; nothing is, as of --dry-run")
    else:
        print(
            f"{sought.file} is written; nothing of it is in force until `tidemill registry apply` "
            "(what becomes of rows: tidemill registry diff running)"
        )
