"""Wires the sensors to the OpenTelemetry SDK: an observable instrument a measure (S)."""

from __future__ import annotations

import platform
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from topologies.host.measure import MEASURES, Measure, Moment, Totals
from topologies.host.reading import Reading

SCOPE = "tidemill.host"
SERVICE = "tidemill-host"
# The instruments of one collection are asked within this time of each other: one reading for all.
_SAME_COLLECTION_S = 0.2
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class HostSource:
    """Observes one machine for one meter provider. `read` is called once a collection."""

    def __init__(
        self, read: Callable[[], Reading], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._read_at = float("-inf")
        self._moment = Moment(Reading(), None, Totals())

    def register(self, meter: Meter) -> None:
        """Create one observable instrument for each measure."""
        for measure in MEASURES:
            create = {
                "counter": meter.create_observable_counter,
                "updowncounter": meter.create_observable_up_down_counter,
                "gauge": meter.create_observable_gauge,
            }[measure.kind]
            create(
                measure.name,
                callbacks=[self._callback(measure)],
                unit=measure.unit,
                description=measure.description,
            )

    def _callback(self, measure: Measure) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            moment = self.current()
            return [Observation(value, attributes) for value, attributes in measure.observe(moment)]

        return observe

    def current(self) -> Moment:
        """The moment of the collection under way; reads the machine if that has not been done."""
        now = self._clock()
        if now - self._read_at > _SAME_COLLECTION_S:
            before = self._moment.now if self._moment.now.cpu else None
            self._moment = Moment(self._read(), before, self._moment.totals)
            self._read_at = now
        return self._moment


def host_resource() -> Resource:
    """What identifies this machine: host.name, host.id, host.arch, os.type, service.name."""
    return Resource(
        {
            "service.name": SERVICE,
            "host.name": socket.gethostname(),
            "host.id": machine_id(_MACHINE_IDS),
            "host.arch": platform.machine().lower(),
            "os.type": platform.system().lower(),
        }
    )


def machine_id(files: Iterable[Path]) -> str:
    """The machine's id, else (containers often have none) one derived from the network address."""
    for file in files:
        try:
            text = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text
    return f"{uuid.getnode():012x}"


def start_provider(
    reader: MetricReader, read: Callable[[], Reading], resource: Resource
) -> MeterProvider:
    """A meter provider whose reader sees every measure of `read`. Shut it down when done."""
    provider = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    HostSource(read).register(provider.get_meter(SCOPE))
    return provider
