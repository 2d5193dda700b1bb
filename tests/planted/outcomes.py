"""A pytest plugin that writes down how each test ended, and from where modules were loaded.

`-p planted.outcomes`, with the file to write named by PLANTED_REPORT.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

PACKAGES = ("broker", "metric_registry", "oracle", "streams", "tests", "tidemill", "topologies")
TESTS = Path(__file__).resolve().parents[1]

_outcomes: dict[str, list[str]] = {"passed": [], "failed": [], "broken": []}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if call.excinfo is not None:
        kind = "failed" if call.when == "call" and _is_an_assertion(call.excinfo) else "broken"
        _outcomes[kind].append(f"{item.nodeid} ({call.excinfo.exconly()[:300]})")
    elif call.when == "call":
        _outcomes["passed"].append(item.nodeid)
    return report


def _is_an_assertion(found: pytest.ExceptionInfo[BaseException]) -> bool:
    """An assertion that stands in a test, or several of them; not one of the product's own."""
    if isinstance(found.value, BaseExceptionGroup):
        return all(isinstance(each, AssertionError) for each in found.value.exceptions)
    where = Path(str(found.traceback[-1].path))
    return isinstance(found.value, AssertionError) and where.is_relative_to(TESTS)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes["broken"].append(f"{report.nodeid} ({report.longreprtext[-300:]})")


def pytest_sessionfinish() -> None:
    loaded = [
        module.__file__
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] in PACKAGES and getattr(module, "__file__", None)
    ]
    Path(os.environ["PLANTED_REPORT"]).write_text(json.dumps({**_outcomes, "loaded": loaded}))
