"""The windowed aggregation in Faust. See `catalogue.py` for the arguments.

Faust closes the windows of its own windowed tables by the wall clock, so a log that is behind would
lose them; the agent keeps the windows in a table by (group, start) and closes them by event time.
With the option `dict` they are in a dictionary instead, which is faster and lost with the process.
"""

import sys
from collections import defaultdict

import faust
import orjson
import uvloop
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

BOOTSTRAP, INPUT, OUTPUT, NAME, STATE, FORMAT, WINDOW, OPTIONS = sys.argv[1:]
SIZE, GRACE = int(WINDOW) * 1000, 5000

app = faust.App(
    NAME, broker=f"kafka://{BOOTSTRAP}", store="memory://", datadir=STATE, web_enabled=False,
    topic_partitions=2, topic_replication_factor=1, consumer_auto_offset_reset="earliest",
    broker_max_poll_records=2000, stream_buffer_maxsize=16384, producer_linger=0.1,
    producer_compression_type="lz4", broker_commit_interval=1.0, stream_wait_empty=False,
    broker_check_crcs=False,
)  # fmt: skip
source = app.topic(INPUT, value_serializer="raw", key_serializer="raw")
target = app.topic(OUTPUT, value_serializer="raw", key_serializer="raw")
windows = {} if OPTIONS == "dict" else app.Table("windows", partitions=2, key_type=str)


class Partition:
    """The open windows of a partition, and how far its time is."""

    def __init__(self):
        self.time = 0
        self.open = defaultdict(set)


partitions = defaultdict(Partition)


def add(state, key, at, count, total, least, greatest):
    start = at - at % SIZE
    slot = f"{key}|{start}"
    old = windows.get(slot)
    if old is None:
        state.open[start].add(slot)
        windows[slot] = [count, total, least, greatest]
    else:
        windows[slot] = [
            old[0] + count, old[1] + total, min(old[2], least), max(old[3], greatest),
        ]  # fmt: skip
    if at > state.time:
        state.time = at


async def close(state):
    for start in [start for start in state.open if start + SIZE + GRACE <= state.time]:
        for slot in state.open.pop(start):
            count, total, least, greatest = windows.pop(slot)
            host, route, _ = slot.split("|")
            row = {"host": host, "route": route, "window_start": start, "count": count,
                   "sum": total, "min": least, "max": greatest}  # fmt: skip
            await target.send(key=slot.encode(), value=orjson.dumps(row))


def combined(request):
    """(group, time) -> [count, sum, min, max] of the points of a request."""
    found = {}
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
                    at = point.time_unix_nano // 1_000_000
                    group = (host, route, at - at % SIZE)
                    if (old := found.get(group)) is None:
                        found[group] = [1, value, value, value, at]
                    else:
                        old[0] += 1
                        old[1] += value
                        if value < old[2]:
                            old[2] = value
                        if value > old[3]:
                            old[3] = value
                        if at > old[4]:
                            old[4] = at
    return found


@app.agent(source)
async def aggregate(stream):
    async for event in stream.events():
        state = partitions[event.message.partition]
        before = state.time // 1000
        if FORMAT == "json":
            found = orjson.loads(event.value)
            value = found["value"]
            key = f"{found['host']}|{found['route']}"
            add(state, key, found["at"], 1, value, value, value)
        else:
            for (host, route, _), (*values, at) in combined(event.value).items():
                add(state, f"{host}|{route}", at, *values)
        if state.time // 1000 != before:
            await close(state)


if __name__ == "__main__":
    uvloop.install()
    app.Worker(loglevel="WARNING").execute_from_commandline()
