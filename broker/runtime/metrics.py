"""What the broker counts, as Prometheus text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestMetrics:
    count: int = 0
    errors: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Metrics:
    """Counters since start. Written on the event loop's thread only."""

    requests: dict[int, RequestMetrics] = field(
        default_factory=lambda: defaultdict[int, RequestMetrics](RequestMetrics)
    )
    """By api key. `seconds`: from the arrival of the bytes to the answer."""
    bytes_in: int = 0
    bytes_out: int = 0
    connections: int = 0
    connections_opened: int = 0
    malformed: int = 0
    syncs: int = 0
    sync_seconds: float = 0.0
    sync_failures: int = 0
    cleanings: int = 0
    cleaner_failures: int = 0
    cleaner_read_bytes: int = 0
    cleaner_written_bytes: int = 0
    cleaner_removed_records: int = 0
    cleaner_seconds: float = 0.0
    """Of one core."""

    def render(self, api_names: Mapping[int, str], gauges: Iterable[tuple[str, str, float]]) -> str:
        """All counters and the given gauges (name, labels, value) in Prometheus' text format."""
        lines: list[str] = []
        simple = [
            ("bytes_received_total", "counter", self.bytes_in),
            ("bytes_sent_total", "counter", self.bytes_out),
            ("connections", "gauge", self.connections),
            ("connections_opened_total", "counter", self.connections_opened),
            ("malformed_requests_total", "counter", self.malformed),
            ("syncs_total", "counter", self.syncs),
            ("sync_seconds_total", "counter", self.sync_seconds),
            ("sync_failures_total", "counter", self.sync_failures),
            ("cleanings_total", "counter", self.cleanings),
            ("cleaner_failures_total", "counter", self.cleaner_failures),
            ("cleaner_read_bytes_total", "counter", self.cleaner_read_bytes),
            ("cleaner_written_bytes_total", "counter", self.cleaner_written_bytes),
            ("cleaner_removed_records_total", "counter", self.cleaner_removed_records),
            ("cleaner_cpu_seconds_total", "counter", self.cleaner_seconds),
        ]
        for name, kind, value in simple:
            lines += [f"# TYPE tidemill_broker_{name} {kind}", f"tidemill_broker_{name} {value}"]
        for name, part in (
            ("requests_total", "count"),
            ("request_errors_total", "errors"),
            ("request_seconds_total", "seconds"),
        ):
            lines.append(f"# TYPE tidemill_broker_{name} counter")
            lines += [
                f'tidemill_broker_{name}{{api="{api_names[key]}"}} {getattr(metrics, part)}'
                for key, metrics in sorted(self.requests.items())
            ]
        previous = ""
        for name, labels, value in gauges:
            if name != previous:
                lines.append(f"# TYPE tidemill_broker_{name} gauge")
                previous = name
            lines.append(f"tidemill_broker_{name}{{{labels}}} {value}")
        return "\n".join(lines) + "\n"
