"""The host source as a service: measures this machine and delivers by OTLP/HTTP (S)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from topologies.host.sensors import Sensors
from topologies.host.source import host_resource, start_provider

logger = logging.getLogger("tidemill.host")

_SHUTDOWN_MS = 4000


class HostConfigError(ValueError):
    """The source can't start like this; the message says what to change."""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Where to deliver to and how often. `token` is None for the anonymous tenant of loopback.

    Two seconds give a 10-second window five points of each gauge. `timeout` (seconds) bounds one
    delivery with its repeats; nothing is measured meanwhile.
    """

    endpoint: str = "http://127.0.0.1:4318"
    interval: float = 2.0
    token: str | None = field(default=None, repr=False)
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if not self.endpoint.startswith(("http://", "https://")):
            raise HostConfigError(
                f"the endpoint {self.endpoint!r} is no address: give one like http://127.0.0.1:4318"
            )
        if not 0.1 <= self.interval <= 3600:
            raise HostConfigError(f"an interval of {self.interval} s: give 0.1 to 3600")


async def run(config: HostConfig, *, stop: asyncio.Event) -> None:
    """Measure and deliver until `stop` is set; then once more, and end within five seconds."""
    headers = {"Authorization": f"Bearer {config.token}"} if config.token else None
    exporter = OTLPMetricExporter(
        endpoint=config.endpoint.rstrip("/") + "/v1/metrics",
        headers=headers,
        timeout=config.timeout,
    )
    reader = PeriodicExportingMetricReader(
        exporter,
        export_interval_millis=config.interval * 1000,
        export_timeout_millis=config.timeout * 1000,
    )
    provider = start_provider(reader, Sensors().read, host_resource())
    logger.info("measuring this machine every %g s, to %s", config.interval, config.endpoint)
    await stop.wait()
    await asyncio.to_thread(provider.shutdown, _SHUTDOWN_MS)
