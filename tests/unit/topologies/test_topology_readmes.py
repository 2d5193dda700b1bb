"""The worked examples of the topologies' pages run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from streams.batch import BytesColumn
from streams.kernels.exact import limbs_of
from streams.kernels.rows import GROUP_WIDTH
from topologies.partials import PartialRows

ROOT = Path(__file__).resolve().parents[3] / "topologies"
PAGES = ["preaggregate", "rollup", "manager", "temporality", "queries", "observe"]


def gauge(name: str, points: list[tuple[int, float]]) -> bytes:
    """An OTLP request with one gauge."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = name
    for time, value in points:
        metric.gauge.data_points.add(time_unix_nano=time, as_double=value)
    return request.SerializeToString()


def rows(end: int, group: int, total: int) -> PartialRows:
    """One row of a group of one stream, whose number is `total`."""
    values = np.zeros((1, GROUP_WIDTH), np.int64)
    values[0, 0:2] = 1
    values[0, 2:5] = limbs_of(total << 96)
    return PartialRows(
        np.zeros(1, np.uint16),
        np.full(1, 10, np.int64),
        np.full(1, end, np.int64),
        np.zeros(1, np.uint64),
        np.full(1, group, np.uint64),
        BytesColumn.of([b"{}"]),
        values,
        {},
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_example_of_the_page_runs(page: str):
    text = (ROOT / page / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, f"{page}/README.md", "exec"), {"gauge": gauge, "rows": rows})
