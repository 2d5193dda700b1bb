"""What the edge counts, as Prometheus text (C)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


def _counter() -> Counter[str]:
    return Counter()


@dataclass(slots=True)
class Counters:
    """Totals since the process started; `requests` by HTTP status, `refused` by reason."""

    requests: Counter[str] = field(default_factory=_counter)
    refused: Counter[str] = field(default_factory=_counter)
    received_bytes: int = 0  # as sent
    inflated_bytes: int = 0  # after decompression
    pieces: int = 0  # records acknowledged by the log
    piece_bytes: int = 0
    rejected_points: int = 0
    dead_letters: int = 0
    append_seconds: float = 0.0
    appends: int = 0

    def prometheus(self, *, in_flight: int, clock_jumps: int, log_up: bool, log_lost: int) -> str:
        """The text exposition format, version 0.0.4."""
        lines: list[str] = []

        def family(name: str, kind: str, text: str, samples: dict[str, float]) -> None:
            lines.append(f"# HELP tidemill_edge_{name} {text}")
            lines.append(f"# TYPE tidemill_edge_{name} {kind}")
            lines.extend(f"tidemill_edge_{name}{at} {value}" for at, value in samples.items())

        def single(name: str, kind: str, text: str, value: float) -> None:
            family(name, kind, text, {"": value})

        def labelled(name: str, text: str, label: str, counter: Counter[str]) -> None:
            samples = {f'{{{label}="{at}"}}': float(n) for at, n in sorted(counter.items())}
            family(name, "counter", text, samples)

        labelled("requests_total", "Requests answered", "status", self.requests)
        labelled("refused_total", "Requests and pieces refused", "reason", self.refused)
        single("received_bytes_total", "counter", "Body bytes as sent", self.received_bytes)
        single("inflated_bytes_total", "counter", "Body bytes decompressed", self.inflated_bytes)
        single("pieces_total", "counter", "Records the log acknowledged", self.pieces)
        single("piece_bytes_total", "counter", "Bytes of those records", self.piece_bytes)
        single("rejected_points_total", "counter", "Points refused for good", self.rejected_points)
        single("dead_letters_total", "counter", "Records in dead letters", self.dead_letters)
        single("append_seconds_sum", "counter", "Time waited for the log", self.append_seconds)
        single("append_seconds_count", "counter", "Requests that waited for it", self.appends)
        single("in_flight_bytes", "gauge", "Bytes not yet answered for", in_flight)
        single("clock_jumps_total", "counter", "Jumps of the wall clock", clock_jumps)
        single("log_up", "gauge", "1 when the log can be appended to", int(log_up))
        single("log_lost_total", "counter", "Times the log went away", log_lost)
        return "\n".join(lines) + "\n"
