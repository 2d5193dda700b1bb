"""The windowed aggregation in Quix Streams. See `catalogue.py` for the arguments.

State is in RocksDB with a changelog. Options: `exactly-once` or `at-least-once`.
"""

import sys
from datetime import timedelta

import orjson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from quixstreams import Application
from quixstreams.dataframe.windows import Count, Max, Min, Sum
from quixstreams.models import JSONDeserializer, JSONSerializer

BOOTSTRAP, INPUT, OUTPUT, NAME, STATE, FORMAT, WINDOW, OPTIONS = sys.argv[1:]
LENGTH, GRACE = timedelta(seconds=int(WINDOW)), timedelta(seconds=5)


def combined(request):
    """The points of a request, combined by route and time."""
    groups = {}
    for resource in ExportMetricsServiceRequest.FromString(request).resource_metrics:
        host = next(a.value.string_value for a in resource.resource.attributes
                    if a.key == "host.name")  # fmt: skip
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.gauge.data_points:
                    value = point.as_double
                    for attribute in point.attributes:
                        if attribute.key == "http.route":
                            route = attribute.value.string_value
                            break
                    group = (host, route, point.time_unix_nano // 1_000_000)
                    if (old := groups.get(group)) is None:
                        groups[group] = [1, value, value, value]
                    else:
                        old[0] += 1
                        old[1] += value
                        if value < old[2]:
                            old[2] = value
                        if value > old[3]:
                            old[3] = value
    return [
        {"key": f"{host}|{route}", "at": at, "n": n, "value": total, "low": low, "high": high}
        for (host, route, at), (n, total, low, high) in groups.items()
    ]


def row(value, key, timestamp, headers):
    host, route = key.split("|")
    return {"host": host, "route": route, "window_start": value["start"], "count": value["count"],
            "sum": value["sum"], "min": value["min"], "max": value["max"]}  # fmt: skip


app = Application(
    broker_address=BOOTSTRAP, consumer_group=NAME, auto_offset_reset="earliest", state_dir=STATE,
    processing_guarantee=OPTIONS, commit_interval=1.0, loglevel="WARNING",
    producer_extra_config={"linger.ms": 50, "compression.type": "lz4"},
)  # fmt: skip
target = app.topic(OUTPUT, value_serializer=JSONSerializer(dumps=orjson.dumps))
fast = JSONDeserializer(loads=orjson.loads)
if FORMAT == "json":
    source = app.topic(
        INPUT, key_deserializer="str", value_deserializer=fast,
        timestamp_extractor=lambda value, headers, timestamp, kind: value["at"],
    )  # fmt: skip
    frame = app.dataframe(source)
    columns = ("value", "value", "value")
    counted, closing = Count(), "partition"
else:
    source = app.topic(INPUT, key_deserializer="bytes", value_deserializer="bytes")
    frame = app.dataframe(source).apply(combined, expand=True)
    frame = frame.set_timestamp(lambda value, key, timestamp, headers: value["at"])
    frame = frame.group_by("key", value_deserializer=fast,
                           value_serializer=JSONSerializer(dumps=orjson.dumps))  # fmt: skip
    columns = ("value", "low", "high")
    counted, closing = Sum("n"), "key"  # what comes from two partitions is not in order
frame = frame.tumbling_window(LENGTH, grace_ms=GRACE).agg(
    count=counted, sum=Sum(columns[0]), min=Min(columns[1]), max=Max(columns[2])
)
frame = frame.final(closing_strategy=closing).apply(row, metadata=True)
frame.to_topic(target)


if __name__ == "__main__":
    app.run()
