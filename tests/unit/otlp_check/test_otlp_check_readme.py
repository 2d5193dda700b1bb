"""The page says what the checker does: its table is the rules, its example runs."""

import re
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.otlp_check import rules

README = Path(rules.__file__).with_name("README.md").read_text()


def counter(start: int, time: int, value: float) -> bytes:
    """A request with one cumulative monotonic point."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="requests")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    metric.sum.data_points.add(start_time_unix_nano=start, time_unix_nano=time, as_double=value)
    return request.SerializeToString()


def test_the_table_of_the_page_is_the_rules():
    assert rules.table() in README, rules.table()


def test_the_example_of_the_page_runs():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(block, "otlp_check/README.md", "exec"), {"counter": counter})
