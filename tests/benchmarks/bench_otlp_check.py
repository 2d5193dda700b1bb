"""Points a second that the OTLP checker examines, on one core, by kind; beside decoding alone.

python tests/benchmarks/bench_otlp_check.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from topologies.otlp_check import Checker

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
STREAMS, REQUESTS, RUNS = 1000, 50, 5


def requests(kind: str) -> list[bytes]:
    """REQUESTS requests of STREAMS cumulative points, four attributes each."""
    bodies = []
    for number in range(1, REQUESTS + 1):
        request = ExportMetricsServiceRequest()
        scope = request.resource_metrics.add().scope_metrics.add()
        data: Any = getattr(scope.metrics.add(name="m", unit="1"), kind)
        if kind != "gauge":
            data.aggregation_temporality = 2
        for stream in range(STREAMS):
            time_of = START + number * 10 * SECOND
            point = data.data_points.add(start_time_unix_nano=START, time_unix_nano=time_of)
            for at in range(4):
                text = f"value-{stream if at == 0 else at}"
                point.attributes.add(key=f"attribute.{at}").value.string_value = text
            if kind in ("gauge", "sum"):
                point.as_double = 1.5 * number
            elif kind == "histogram":
                point.count, point.sum = 10 * number, 3.0 * number
                point.explicit_bounds.extend(range(10))
                point.bucket_counts.extend([number] * 10 + [0])
            else:
                point.count, point.sum, point.scale = 40 * number, 3.0 * number, 3
                point.positive.bucket_counts.extend([number] * 40)
        bodies.append(request.SerializeToString())
    return bodies


def rate(work: Callable[[], None]) -> float:
    """Median points a CPU second."""
    seconds = []
    for _ in range(RUNS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return STREAMS * REQUESTS / statistics.median(seconds)


def main() -> None:
    """Print a line a kind."""
    for kind in ("sum", "gauge", "histogram", "exponential_histogram"):
        bodies = requests(kind)

        def check(bodies: list[bytes] = bodies) -> None:
            checker = Checker()
            assert not [found for body in bodies for found in checker.feed(body)]

        def decode(bodies: list[bytes] = bodies) -> None:
            for body in bodies:
                ExportMetricsServiceRequest.FromString(body)

        print(f"{kind:22} {rate(check):>10,.0f} points/s; decoding alone {rate(decode):>10,.0f}")


if __name__ == "__main__":
    main()
