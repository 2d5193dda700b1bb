"""What OpenTelemetry's own Python SDK exports keeps all rules, also over a restart."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality

from tests.unit.otlp_check.sdk_process import process
from topologies.otlp_check import Checker

KINDS = {"sum", "gauge", "histogram", "exponential_histogram"}


@pytest.mark.parametrize(
    "temporality",
    [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE],
    ids=lambda temporality: temporality.name.lower(),
)
def test_what_the_sdk_exports_breaks_no_rule(temporality: AggregationTemporality):
    checker = Checker()
    exports = process(temporality, 8) + process(temporality, 5)
    found = Counter(each.code for body in exports for each in checker.feed(body))
    assert checker.counts.requests == 13
    assert checker.counts.points > 100
    expected = {"gap"} if temporality == AggregationTemporality.DELTA else {"reset"}
    assert set(found) == expected


def test_the_exports_have_every_kind_of_points():
    kinds = {
        metric.WhichOneof("data")
        for body in process(AggregationTemporality.CUMULATIVE, 2)
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert kinds == KINDS
