"""The windowed aggregation in bytewax. See `catalogue.py` for the arguments.

At most once to at least once: bytewax's Kafka sink has no transactions.
"""

import sys
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from confluent_kafka import OFFSET_BEGINNING
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

BOOTSTRAP, INPUT, OUTPUT, NAME, STATE, FORMAT, WINDOW, OPTIONS = sys.argv[1:]
SIZE = int(WINDOW)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def events(batch):
    """(group, (time in ms, count, sum, min, max)) of JSON records."""
    found = []
    for message in batch:
        row = orjson.loads(message.value)
        value = row["value"]
        found.append((f"{row['host']}|{row['route']}", (row["at"], 1, value, value, value)))
    return found


def combined(batch):
    """The same of the points of requests, combined within each."""
    found = []
    for message in batch:
        groups = {}
        request = ExportMetricsServiceRequest.FromString(message.value)
        for resource in request.resource_metrics:
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
                        group = (route, point.time_unix_nano // 1_000_000)
                        if (old := groups.get(group)) is None:
                            groups[group] = [1, value, value, value]
                        else:
                            old[0] += 1
                            old[1] += value
                            if value < old[2]:
                                old[2] = value
                            if value > old[3]:
                                old[3] = value
        found += [(f"{host}|{route}", (at, *rest)) for (route, at), rest in groups.items()]
    return found


def fold(state, event):
    if state is None:
        return event[1:]
    count, total, least, greatest = state
    _, n, value, low, high = event
    return (count + n, total + value, low if low < least else least,
            high if high > greatest else greatest)  # fmt: skip


def merged(one, other):
    return other if one is None else fold(one, (0, *other))


def row(result):
    key, (window, (count, total, least, greatest)) = result
    host, route = key.split("|")
    value = {"host": host, "route": route, "window_start": window * SIZE * 1000, "count": count,
             "sum": total, "min": least, "max": greatest}  # fmt: skip
    return KafkaSinkMessage(key.encode(), orjson.dumps(value))


flow = Dataflow(NAME)
source = KafkaSource([BOOTSTRAP], [INPUT], starting_offset=OFFSET_BEGINNING, batch_size=5000)
points = op.flat_map_batch(
    "parse", op.input("in", flow, source), events if FORMAT == "json" else combined
)
clock = win.EventClock(
    ts_getter=lambda event: datetime.fromtimestamp(event[0] / 1000, UTC),
    wait_for_system_duration=timedelta(seconds=5),
)
windower = win.TumblingWindower(length=timedelta(seconds=SIZE), align_to=EPOCH)
stats = win.fold_window("stats", points, clock, windower, lambda: None, fold, merged, ordered=False)
op.output("out", op.map("row", stats.down, row), KafkaSink([BOOTSTRAP], OUTPUT))


if __name__ == "__main__":
    cli_main(flow)
