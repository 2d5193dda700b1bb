"""`tidemill registry`."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from metric_registry.cases.models import schema as schema_of_tests
from metric_registry.check import Include, Report
from metric_registry.check import check as check_definitions
from metric_registry.compile import compile_plan
from metric_registry.derived.schema import schema as json_schema
from metric_registry.differences import report as differences
from metric_registry.errors import to_json
from metric_registry.explain import explain as explain_plan
from metric_registry.fix import fix as fix_definitions
from metric_registry.load import Reader, read, write
from metric_registry.reference import reference as definition_reference
from metric_registry.rules import Settings as Allowed
from metric_registry.show import Shown, show_derived
from metric_registry.show import show as show_definition
from streams.aggregates.promises import PROMISES, BrokenPromise
from streams.aggregates.promises import check as check_aggregate
from tidemill import consumers
from tidemill.commands import registry_diff, registry_test
from tidemill.commands.deployment import (
    Aggregates,
    Environment,
    aggregate_files,
    paths_of,
    settings_of,
)
from tidemill.commands.errors import FAILED, FINE, USAGE, WARNINGS, CommandError
from tidemill.commands.registry_apply import apply, history, rollback
from tidemill.commands.registry_compare import compare_candidates
from tidemill.commands.registry_docs import docs
from tidemill.commands.registry_infer import infer
from tidemill.commands.registry_live_check import live_check
from tidemill.commands.registry_lookup import lookup
from tidemill.commands.registry_preview import preview
from tidemill.commands.registry_statistics import read_statistics, statistics
from tidemill.own_aggregates import all_own
from tidemill.wiring import DefinitionsError, allowed

Form = Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])]
app = App(
    name="registry",
    help="Metric definitions: draft, check (against live data, too), test, explain, diff, show, "
    "document, put in force; aggregates of your own.",
    help_epilogue="Example: tidemill registry check ./definitions",
    help_format="plaintext",
)
app.command(infer, help_epilogue="Example: tidemill registry infer scrape.txt --to drafts.yaml")
app.command(
    statistics, help_epilogue="Example: tidemill registry statistics --to traffic.statistics.json"
)
app.command(
    lookup, help_epilogue="Example: tidemill registry lookup clusters --topic inventory --dry-run"
)
app.command(apply, help_epilogue="Example: tidemill registry apply --dry-run")
app.command(rollback, help_epilogue="Example: tidemill registry rollback --dry-run")
app.command(
    compare_candidates,
    name="compare",
    help_epilogue="Example: tidemill registry compare --exit-code",
)
app.command(history, help_epilogue="Example: tidemill registry history")
app.command(preview, help_epilogue="Example: tidemill registry preview ./definitions --since 1h")
app.command(docs, help_epilogue="Example: tidemill registry docs ./definitions --out catalogue")
app.command(live_check, help_epilogue="Example: tidemill registry live-check --since 1h --strict")


@app.command(help_epilogue="Example: tidemill registry check ./definitions --strict")
def check(
    *paths: Path,
    aggregates: Aggregates = (),
    environment: Environment = None,
    strict: bool = False,
    fix: bool = False,
    output: Form = "text",
) -> int:
    """Say everything that is wrong with definitions, with its line and the way out.

    Also what would be wrong in another environment than the one chosen. Exit code 1 with errors, 3
    with warnings under --strict.

    Parameters
    ----------
    paths:
        Files or folders; without any, what the deployment runs.
    strict:
        Warnings count.
    fix:
        Put right in the files what only one thing can have been meant by. Comments and layout stay,
        and no definition that is good changes its version.
    """
    permitted = _allowed(aggregates, environment)
    given = _paths(paths)
    report = _fixed(given, permitted) if fix else check_definitions(given, permitted)
    print(report.text() if output == "text" else report.json())
    if report.errors:
        return FAILED
    return WARNINGS if strict and report.warnings else FINE


@app.command(help_epilogue="Example: tidemill registry explain --by host.name")
def explain(
    *paths: Path,
    by: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    statistics: Path | None = None,
    partitions: int | None = None,
    aggregates: Aggregates = (),
    environment: Environment = None,
    output: Form = "text",
) -> int:
    """Say how each definition is computed, what that costs, and what key would make it cheaper.

    Parameters
    ----------
    paths:
        Files or folders; without any, what the deployment runs.
    by:
        Resource attributes that the raw topic would be keyed by; else all of them, as it is.
    statistics:
        What traffic there is, as `tidemill registry statistics` has counted it: rows, CPU and what
        the store holds are estimated from it.
    partitions:
        Of the raw topic; else as many as the deployment's has.
    """
    report = _good(check_definitions(_paths(paths), _allowed(aggregates, environment)))
    if partitions is not None and partitions < 1:
        raise CommandError("--partitions is 1 or more", USAGE)
    traffic = None if statistics is None else read_statistics(statistics)
    explained = explain_plan(
        compile_plan(report.definitions, derived=report.derived),
        by or "resource",
        traffic,
        partitions or settings_of(None).raw_partitions,
    )
    print(explained.text() if output == "text" else to_json(explained.to_dict()))
    return FINE


@app.command(name="test", help_epilogue="Example: tidemill registry test ./definitions")
def run_tests(
    *paths: Path,
    aggregates: Aggregates = (),
    environment: Environment = None,
    strict: bool = False,
    output: Form = "text",
) -> int:
    """Run the tests of definitions: example inputs, and the rows that must become of them.

    They stand in files `NAME.test.yaml` beside the definitions, and are run by the product's own
    topology, in this process. Exit code 1 if one fails or has a mistake, 3 under --strict if a
    definition has none.

    Parameters
    ----------
    paths:
        Files or folders, of definitions or tests; of `a.yaml` those in `a.test.yaml`. Without any,
        what the deployment runs.
    strict:
        Each definition has a test.
    """
    permitted, given = _allowed(aggregates, environment), _paths(paths)
    report = _good(check_definitions(registry_test.beside(given), permitted))
    found = registry_test.results(given, report, permitted)
    if output == "json":
        print(found.json())
    elif found.read.files:
        print(found.text())
    else:
        print(registry_test.how_to_begin(report, given))
    if found.failed:
        return FAILED
    if strict and found.untested:
        if output == "text":
            print(f"Without a test: {', '.join(found.untested)}")
        return WARNINGS
    return FINE


@app.command(help_epilogue="Example: tidemill registry diff git:HEAD~1 ./definitions")
def diff(
    old: str,
    new: str | None = None,
    /,
    *,
    aggregates: Aggregates = (),
    environment: Environment = None,
    exit_code: Annotated[bool, Parameter(negative=())] = False,
    output: Form = "text",
) -> int:
    """Say what becomes of rollups, tables, topics and their readers when definitions change.

    Of each definition that differs: its fields, what rows and series begin, end or go on, whether
    that breaks who reads them, and what of the past it would take to have it there, too. Nothing is
    changed by it. Exit code 2 if one of the two cannot be read or has mistakes.

    Parameters
    ----------
    old:
        A file or folder of definitions; `git:REV`, the same paths in a git revision; or `running`,
        what is in force. A file of that name is `./running`.
    new:
        Likewise; without it, the definitions of the deployment.
    exit_code:
        Exit code 1 if something differs.
    """
    permitted = _allowed(aggregates, environment)
    settings = settings_of(None)
    found = registry_diff.between(old, new, permitted, settings)
    readers = registry_diff.readers_now(old, new, settings)
    if output == "text":
        print(differences.text(found))
        if readers is not None:
            print(consumers.sentence(readers))
    else:
        told = differences.to_dict(found)
        if readers is not None:
            told["consumers"] = [asdict(one) for one in readers]
        print(to_json(told))
    return FAILED if found and exit_code else FINE


@app.command(help_epilogue="Example: tidemill registry show served.requests --environment dev")
def show(
    name: str,
    *paths: Path,
    aggregates: Aggregates = (),
    environment: Environment = None,
    output: Form = "text",
) -> int:
    """Say what a definition comes to, and where each of its values is written.

    Parameters
    ----------
    name:
        The name of the metric that it publishes.
    paths:
        Files or folders; without any, what the deployment runs.
    """
    report = _good(check_definitions(_paths(paths), _allowed(aggregates, environment)))
    found: dict[str, Callable[[], Shown]] = {
        entry.resolved.name: partial(show_definition, entry) for entry in report.entries
    }
    for entry in report.derived_entries:
        found[entry.resolved.name] = partial(show_derived, entry)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        advice = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(sorted(found))}"
        raise CommandError(f"no definition is named `{name}`: {advice}", USAGE)
    shown = found[name]()
    print(shown.text() if output == "text" else to_json(shown.to_dict()))
    return FINE


@app.command(help_epilogue="Example: tidemill registry aggregates ./apdex.py")
def aggregates(*files: Path, trees: int = 100) -> int:
    """Put aggregates of your own to the test: is their state a function of the set of points?

    Exit code 1 if one breaks a promise; the message says which, and how.

    Parameters
    ----------
    files:
        Python files, or folders of them; without any, those of the deployment.
    trees:
        Orders in which the same points are merged, each in three worlds of points.
    """
    if trees < 1:
        raise CommandError(f"--trees {trees}: at least one is needed", USAGE)
    if not _allowed(files).own_aggregates:
        raise CommandError("there are no aggregates of your own: name a file of them", USAGE)
    for spelling, one in all_own():
        try:
            check_aggregate(one, trees=trees)
        except BrokenPromise as error:
            raise CommandError(str(error)) from None
        size = len(one.encode(one.empty(1000))) / 1000
        print(f"{spelling} keeps its {len(PROMISES)} promises; an empty state is {size:.0f} bytes")
    return FINE


@app.command(help_epilogue="Example: tidemill registry schema > tidemill.schema.json")
def schema(*, tests: Annotated[bool, Parameter(negative=())] = False) -> int:
    """The JSON Schema of a definition, for editors.

    Parameters
    ----------
    tests:
        That of a test of a definition.
    """
    print(json.dumps(schema_of_tests() if tests else json_schema(), indent=2))
    return FINE


@app.command(help_epilogue="Example: tidemill registry reference > docs/definition-reference.md")
def reference() -> int:
    """The reference of definitions as Markdown: every field, every kind of value, every check."""
    print(definition_reference(), end="")
    return FINE


def _allowed(given: Sequence[Path], environment: str | None = None) -> Allowed:
    """What definitions may ask for: these aggregates and environment, else the deployment's."""
    deployed = settings_of(None)
    try:
        return allowed(
            aggregate_files(given) or deployed.aggregates,
            deployed.environment if environment is None else environment,
        )
    except DefinitionsError as error:
        raise CommandError(str(error)) from None


def _fixed(paths: Sequence[Path], permitted: Allowed) -> Report:
    """Repairs files, and says what was put right; the report is of what they are then."""
    files = read(paths, permitted.largest_file)

    def include() -> Include:
        reader = Reader(permitted.largest_file)
        reader.read(paths)
        return reader.include

    done = fix_definitions(files, permitted, include)
    for file in done.changed:
        write(file)
    if done.text():
        print(f"{done.text()}\n", file=sys.stderr)
    return done.report


def _paths(given: Sequence[Path]) -> list[Path]:
    return paths_of(given, settings_of(None))


def _good(report: Report) -> Report:
    if report.errors:
        raise CommandError(report.text())
    return report
