"""A definition that comes while a change of partitions is announced has no window in two topics."""

from __future__ import annotations

from metric_registry.check import check_files
from metric_registry.load import SourceFile
from metric_registry.plan import ResolvedDefinition
from topologies.epochs import LIVE, Epochs, Listed
from topologies.joining import counts_from

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
T = 20_000 * DAY + 3600 * SECOND
KNOWN = Epochs((Listed(f"{LIVE}.e2", 3, T),))
DEFINITION = """
apiVersion: tidemill/v1
kind: Metric
name: {}
description: One
owner: tests
source: {{metric: load, unit: "1"}}
space: {{keep: []}}
time: {{granularities: [{}], grace: 2s, corrections: 1h}}
aggregate: {{over_time: sum, over_space: sum}}
"""


def definition(name: str, sizes: str) -> ResolvedDefinition:
    report = check_files([SourceFile("d.yaml", DEFINITION.format(name, sizes).encode())])
    assert not report.errors, report.text()
    return report.definitions[0]


def test_a_definition_counts_from_a_change_on_that_lies_within_its_windows():
    assert counts_from(definition("m", "10s, 1h"), T - DAY, KNOWN) == T - DAY
    assert counts_from(definition("m", "10s, 1d"), T - DAY, KNOWN) == T
    assert counts_from(definition("m", "10s, 1d"), T + 1, KNOWN) == T + 1
    later = Epochs((*KNOWN.later, Listed(f"{LIVE}.e3", 4, T + SECOND)))
    assert counts_from(definition("m", "10s, 1d"), T - DAY, later) == T + SECOND
    assert counts_from(definition("m", "1h/5m"), T - DAY, KNOWN) == T - DAY  # overlap anyway
