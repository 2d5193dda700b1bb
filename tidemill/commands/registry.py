"""`tidemill registry`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from metric_registry.check import Report
from metric_registry.check import check as check_definitions
from metric_registry.compile import compile_plan
from metric_registry.errors import to_json
from metric_registry.explain import explain as explain_plan
from metric_registry.models import schema as json_schema
from tidemill.commands.deployment import settings_of
from tidemill.commands.errors import FAILED, FINE, WARNINGS, CommandError
from tidemill.wiring import definition_paths

Form = Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])]
app = App(
    name="registry",
    help="Metric definitions: check, explain, schema.",
    help_epilogue="Example: tidemill registry check ./definitions",
    help_format="plaintext",
)


@app.command(help_epilogue="Example: tidemill registry check ./definitions --strict")
def check(*paths: Path, strict: bool = False, output: Form = "text") -> int:
    """Say everything that is wrong with definitions, with its line and the way out.

    Exit code 1 with errors, 3 with warnings under --strict.

    Parameters
    ----------
    paths:
        Files or folders; without any, what the deployment runs.
    strict:
        Warnings count.
    """
    report = check_definitions(_paths(paths))
    print(report.text() if output == "text" else report.json())
    if report.errors:
        return FAILED
    return WARNINGS if strict and report.warnings else FINE


@app.command(help_epilogue="Example: tidemill registry explain --by host.name")
def explain(
    *paths: Path,
    by: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    output: Form = "text",
) -> int:
    """Say how each definition is computed, and what partitioning would make it cheaper.

    Parameters
    ----------
    paths:
        Files or folders; without any, what the deployment runs.
    by:
        Resource attributes that the raw topic would be keyed by; else all of them, as it is.
    """
    report = _good(check_definitions(_paths(paths)))
    explained = explain_plan(compile_plan(report.definitions), by or "resource")
    print(explained.text() if output == "text" else to_json(explained.to_dict()))
    return FINE


@app.command(help_epilogue="Example: tidemill registry schema > tidemill.schema.json")
def schema() -> int:
    """The JSON Schema of a definition, for editors."""
    print(json.dumps(json_schema(), indent=2))
    return FINE


def _paths(given: Sequence[Path]) -> list[Path]:
    return list(given) or definition_paths(settings_of(None))


def _good(report: Report) -> Report:
    if report.errors:
        raise CommandError(report.text())
    return report
