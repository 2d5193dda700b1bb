"""A process that measures with OpenTelemetry's Python SDK, and what it exports."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

INSTRUMENTS = (
    sdk.Counter,
    sdk.UpDownCounter,
    sdk.Histogram,
    sdk.ObservableCounter,
    sdk.ObservableUpDownCounter,
    sdk.ObservableGauge,
)


def process(temporality: AggregationTemporality, collections: int) -> list[bytes]:
    """The exports of one process, one a collection; every instrument, two attribute sets."""
    reader = InMemoryMetricReader(preferred_temporality=dict.fromkeys(INSTRUMENTS, temporality))
    fine = View(
        instrument_name="request.size",
        aggregation=ExponentialBucketHistogramAggregation(max_size=8),
    )
    provider = sdk.MeterProvider([reader], Resource({"service.name": "shop"}), views=[fine])
    meter = provider.get_meter("conformance", "1.2", attributes={"team": "a"})
    done = 0

    def observe(_: CallbackOptions):
        yield Observation(7 * done + 0.5, {"disk": "sda"})
        if done % 2:
            yield Observation(done, {"disk": "sdb"})

    requests = meter.create_counter("requests", "{request}", "Requests served")
    pending = meter.create_up_down_counter("pending", "{request}")
    latency = meter.create_histogram("latency", "s", "Time to answer")
    size = meter.create_histogram("request.size", "By")
    temperature = meter.create_gauge("temperature", "Cel")
    meter.create_observable_counter("disk.io", [observe], "By")
    meter.create_observable_up_down_counter("disk.used", [observe], "By")
    meter.create_observable_gauge("disk.load", [observe], "1")
    exports = []
    for done in range(collections):
        if done != 2:  # a collection in which nothing was measured
            requests.add(3, {"route": "/"})
            pending.add(5 - done, {"route": "/"})
            latency.record(0.3 * (done + 1))
            temperature.set(20.5 - done)
            for power in range(done + 4):
                size.record(10.0**power / 7, {"route": "/"})
            size.record(0.0, {"route": "/"})
        if done % 3 == 1:
            requests.add(1.5, {"route": "/late"})
            latency.record(8, {"route": "/late"})
        data = reader.get_metrics_data()
        assert data is not None
        exports.append(encode_metrics(data).SerializeToString())
    provider.shutdown()
    return exports
