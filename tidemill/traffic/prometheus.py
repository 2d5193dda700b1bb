"""A scrape in Prometheus' text format, as the OpenTelemetry Collector's receiver would hand it on.

Source: OpenTelemetry, "Prometheus and OpenMetrics Compatibility": a counter is a cumulative
monotonic sum under the name of its sample, a gauge and what has no type a gauge, a histogram one of
explicit buckets, a summary a summary; labels are attributes of points.
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client.parser import text_string_to_metric_families

from tidemill.traffic.requests import CUMULATIVE, Sample, as_requests

_COUNTER = re.compile(r"^#[ \t]+TYPE[ \t]+(\S+)[ \t]+counter[ \t]*$", re.MULTILINE)


def requests_of(text: str, now: int) -> Iterator[bytes]:
    """The scrape as requests; `now` (unix ns) is the time of samples that do not say theirs.

    Raises:
        ValueError: It is no such text.
    """
    families = cast("Iterable[Any]", text_string_to_metric_families(text))
    counters = {found.group(1) for found in _COUNTER.finditer(text)}
    numbers: list[Sample] = []
    for family in families:
        if family.type in ("histogram", "summary"):
            yield _compound(family, now)
        else:
            numbers += _numbers(family, now, counters)
    yield from as_requests(numbers)


def _numbers(family: Any, now: int, counters: set[str]) -> Iterator[Sample]:
    """counters: As the scrape has them: the parser puts `_total` behind the name of one that lacks
    it, and the Collector does not.
    """
    for sample in family.samples:
        plain = sample.name not in counters and family.name in counters
        yield Sample(
            family.name if plain else sample.name,
            family.unit,
            (),
            _labels(sample.labels),
            _time(sample, now),
            float(sample.value),
            counter=family.type == "counter",
            description=family.documentation,
        )


def _compound(family: Any, now: int) -> bytes:
    """A histogram or a summary: one point for each set of labels."""
    request = ExportMetricsServiceRequest()
    metric = (
        request.resource_metrics.add()
        .scope_metrics.add()
        .metrics.add(name=family.name, unit=family.unit, description=family.documentation)
    )
    own = "le" if family.type == "histogram" else "quantile"
    found: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    for sample in family.samples:
        labels = {name: text for name, text in sample.labels.items() if name != own}
        found.setdefault(_labels(labels), []).append(sample)
    for labels, samples in found.items():
        if family.type == "histogram":
            metric.histogram.aggregation_temporality = CUMULATIVE
            point = metric.histogram.data_points.add(time_unix_nano=_time(samples[0], now))
            _buckets(point, samples)
        else:
            point = metric.summary.data_points.add(time_unix_nano=_time(samples[0], now))
        for name, text in labels:
            point.attributes.add(key=name).value.string_value = text
    if not found:
        getattr(metric, family.type).SetInParent()
    return request.SerializeToString()


def _buckets(point: Any, samples: list[Any]) -> None:
    """Prometheus' buckets count what is at most `le`; OTLP's what is above the one before."""
    upto = {float(s.labels["le"]): float(s.value) for s in samples if s.name.endswith("_bucket")}
    before = 0.0
    for bound in sorted(upto):
        point.bucket_counts.append(max(int(upto[bound] - before), 0))
        before = upto[bound]
        if not math.isinf(bound):
            point.explicit_bounds.append(bound)
    if math.inf not in upto and upto:
        point.bucket_counts.append(0)
    point.count = sum(point.bucket_counts)
    for sample in samples:
        if sample.name.endswith("_sum"):
            point.sum = float(sample.value)


def _labels(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _time(sample: Any, now: int) -> int:
    """Prometheus' times are milliseconds; the parser hands them on as seconds."""
    return now if sample.timestamp is None else round(float(sample.timestamp) * 1_000) * 10**6
