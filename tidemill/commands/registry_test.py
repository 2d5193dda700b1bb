"""`tidemill registry test`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from metric_registry.cases.reading import read_cases
from metric_registry.cases.report import FIRST_TEST, Results
from metric_registry.check import Report
from metric_registry.granularities import text_of
from metric_registry.load import is_test, read_tests
from metric_registry.rules import Settings
from tidemill.case_runs import run


def beside(paths: Sequence[Path]) -> list[Path]:
    """Where definitions are: of a file of tests, in its folder."""
    tests = {path.parent for path in paths if is_test(path.name)}
    others = [path for path in paths if not is_test(path.name)]
    return [*others, *sorted(tests)]


def results(paths: Sequence[Path], report: Report, settings: Settings) -> Results:
    """Runs the tests that paths name; the report is of their definitions, and has no errors."""
    definitions = {one.name: one for one in (*report.definitions, *report.derived)}
    read = read_cases(read_tests(paths, settings.largest_file), definitions, settings)
    outcomes = [run(case) for case in read.cases]
    tested = {one.case.definition.name for one in outcomes}
    untested = sorted(set(definitions) - tested)
    return Results(read, outcomes, untested, len(definitions))


def how_to_begin(report: Report, paths: Sequence[Path]) -> str:
    """What is said where there are no tests."""
    where = ", ".join(f"`{path}`" for path in paths)
    head = f"there are no tests in {where}: write one into a file `NAME.test.yaml`, such as"
    if not report.entries:
        return f"there are no tests in {where}"
    one = report.entries[0].resolved
    stream = [f"metric: {json.dumps((*one.sources, *one.patterns)[0])}"]
    points = "{1s: 10, 2s: 12}"
    if one.source_instrument:
        stream += [f"instrument: {one.source_instrument}", "temporality: delta"]
        explicit = one.source_instrument == "histogram"
        points = "{1s: {explicit_bounds: [1], bucket_counts: [3, 1], sum: 5}}"
        points = points if explicit else "{1s: {scale: 0, positive: {bucket_counts: [3, 1]}}}"
    elif one.over_time in ("increase", "rate"):
        stream += ["instrument: sum", "temporality: cumulative"]
    if one.where:
        asked = ", ".join(f"{json.dumps(name)}: {json.dumps(v[0])}" for name, v in one.where)
        stream.append(f"attributes: {{{asked}}}")
    size = text_of(one.granularities[0])
    test = FIRST_TEST.format(
        metric=one.name, stream=f"{{{', '.join(stream)}}}", points=points, size=size
    )
    return f"{head}\n\n{test}"
