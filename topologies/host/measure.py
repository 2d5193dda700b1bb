"""Which OpenTelemetry metrics a reading gives: names, units, attributes of the conventions.

Pure. One `Measure` a metric, registered in `MEASURES`. Counters are counted from the first reading
of their stream, because the SDK starts a stream at its first observation: the value is then exactly
what happened since the stream's start time, and a restarted source does not add what happened since
boot. Source: OpenTelemetry semantic conventions, "System metrics".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from topologies.host.reading import Numbers, Reading

Attributes = dict[str, str | int]
Observed = tuple[float, Attributes]
StreamKey = tuple[str, str, str]


def _no_totals() -> dict[StreamKey, float]:
    return {}


@dataclass(slots=True)
class Totals:
    """Monotonic totals since the first time each stream was seen."""

    _first: dict[StreamKey, float] = field(default_factory=_no_totals)
    _greatest: dict[StreamKey, float] = field(default_factory=_no_totals)

    def since_first(self, key: StreamKey, raw: float) -> float:
        """Growth of `raw` since it was first given for `key`; a step back adds nothing.

        Kernels let iowait step back by a tick; psutil itself bridges wraps of disks and networks.
        """
        first = self._first.setdefault(key, raw)
        greatest = self._greatest[key] = max(raw, self._greatest.get(key, raw))
        return greatest - first


@dataclass(frozen=True, slots=True)
class Moment:
    """A reading, the one before it (None at first), and the totals of the process so far."""

    now: Reading
    before: Reading | None
    totals: Totals


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric: how it is called and what a moment says of it."""

    name: str
    kind: Literal["counter", "updowncounter", "gauge"]
    unit: str
    description: str
    observe: Callable[[Moment], Iterator[Observed]]


# cpu.mode of the semantic conventions for psutil's fields. `guest` is part of `user` on Linux.
CPU_MODES = {
    "user": "user",
    "system": "system",
    "nice": "nice",
    "idle": "idle",
    "iowait": "iowait",
    "irq": "interrupt",
    "softirq": "interrupt",
    "interrupt": "interrupt",
    "steal": "steal",
}


def _cpu_modes(fields: Numbers) -> dict[str, float]:
    modes: dict[str, float] = {}
    for name, mode in CPU_MODES.items():
        if name in fields:
            modes[mode] = modes.get(mode, 0.0) + fields[name]
    return modes


def _cpu_time(moment: Moment) -> Iterator[Observed]:
    for cpu, fields in moment.now.cpu.items():
        for mode, seconds in _cpu_modes(fields).items():
            total = moment.totals.since_first(("cpu", cpu, mode), seconds)
            yield total, {"cpu.logical_number": int(cpu), "cpu.mode": mode}


def _cpu_utilization(moment: Moment) -> Iterator[Observed]:
    if moment.before is None:
        return
    for cpu, fields in moment.now.cpu.items():
        was = _cpu_modes(moment.before.cpu.get(cpu, {}))
        spent = {m: max(s - was[m], 0.0) for m, s in _cpu_modes(fields).items() if m in was}
        whole = sum(spent.values())
        if whole <= 0.0:
            continue
        for mode, seconds in spent.items():
            yield seconds / whole, {"cpu.logical_number": int(cpu), "cpu.mode": mode}


def _by_direction(
    table: str, device_attribute: str, direction_attribute: str, fields: dict[str, str]
) -> Callable[[Moment], Iterator[Observed]]:
    """Observe counters that psutil keeps a device; `fields` maps its field to the direction."""

    def observe(moment: Moment) -> Iterator[Observed]:
        devices = moment.now.disk if table == "disk" else moment.now.network
        for device, counters in devices.items():
            for name, direction in fields.items():
                if name in counters:
                    total = moment.totals.since_first((table, device, name), counters[name])
                    yield total, {device_attribute: device, direction_attribute: direction}

    return observe


def _disk(fields: dict[str, str]) -> Callable[[Moment], Iterator[Observed]]:
    return _by_direction("disk", "system.device", "disk.io.direction", fields)


def _network(fields: dict[str, str]) -> Callable[[Moment], Iterator[Observed]]:
    return _by_direction("network", "network.interface.name", "network.io.direction", fields)


def _disk_seconds(moment: Moment) -> Iterator[Observed]:
    fields = {"read_time": "read", "write_time": "write"}
    for milliseconds, attributes in _disk(fields)(moment):
        yield milliseconds / 1000.0, attributes


def _states(attribute: str, numbers: Numbers) -> Iterator[Observed]:
    for state, amount in numbers.items():
        yield amount, {attribute: state}


def _shares(attribute: str, numbers: Numbers) -> Iterator[Observed]:
    whole = sum(numbers.values())
    if whole > 0.0:
        for state, amount in numbers.items():
            yield amount / whole, {attribute: state}


def _filesystem_usage(moment: Moment) -> Iterator[Observed]:
    for fs in moment.now.filesystems:
        for state, amount in (("used", fs.used), ("free", fs.free)):
            yield (
                amount,
                {
                    "system.device": fs.device,
                    "system.filesystem.mountpoint": fs.mountpoint,
                    "system.filesystem.type": fs.type,
                    "system.filesystem.state": state,
                },
            )


def _process_count(moment: Moment) -> Iterator[Observed]:
    if moment.now.processes is not None:
        yield moment.now.processes, {}


def _load(term: str) -> Measure:
    def observe(moment: Moment) -> Iterator[Observed]:
        if term in moment.now.load:
            yield moment.now.load[term], {}

    name = f"system.cpu.load_average.{term}"
    return Measure(name, "gauge", "{thread}", f"Load average over {term}", observe)


MEASURES: tuple[Measure, ...] = (
    Measure("system.cpu.time", "counter", "s", "Seconds each CPU spent in each mode", _cpu_time),
    Measure(
        "system.cpu.utilization",
        "gauge",
        "1",
        "Share of time each CPU spent in each mode since the reading before",
        _cpu_utilization,
    ),
    _load("1m"),
    _load("5m"),
    _load("15m"),
    Measure(
        "system.memory.usage",
        "updowncounter",
        "By",
        "Memory in use by state",
        lambda m: _states("system.memory.state", m.now.memory),
    ),
    Measure(
        "system.memory.utilization",
        "gauge",
        "1",
        "Share of memory by state",
        lambda m: _shares("system.memory.state", m.now.memory),
    ),
    Measure(
        "system.paging.usage",
        "updowncounter",
        "By",
        "Swap in use by state",
        lambda m: _states("system.paging.state", m.now.paging),
    ),
    Measure(
        "system.disk.io",
        "counter",
        "By",
        "Bytes read from and written to disks",
        _disk({"read_bytes": "read", "write_bytes": "write"}),
    ),
    Measure(
        "system.disk.operations",
        "counter",
        "{operation}",
        "Operations done on disks",
        _disk({"read_count": "read", "write_count": "write"}),
    ),
    Measure(
        "system.disk.operation_time",
        "counter",
        "s",
        "Sum of the seconds each disk operation took",
        _disk_seconds,
    ),
    Measure(
        "system.network.io",
        "counter",
        "By",
        "Bytes received and transmitted",
        _network({"bytes_recv": "receive", "bytes_sent": "transmit"}),
    ),
    Measure(
        "system.network.packets",
        "counter",
        "{packet}",
        "Packets received and transmitted",
        _network({"packets_recv": "receive", "packets_sent": "transmit"}),
    ),
    Measure(
        "system.network.errors",
        "counter",
        "{error}",
        "Network errors detected",
        _network({"errin": "receive", "errout": "transmit"}),
    ),
    Measure(
        "system.network.dropped",
        "counter",
        "{packet}",
        "Packets dropped though there was no error",
        _network({"dropin": "receive", "dropout": "transmit"}),
    ),
    Measure(
        "system.filesystem.usage",
        "updowncounter",
        "By",
        "Bytes of mounted file systems by state",
        _filesystem_usage,
    ),
    Measure(
        "system.process.count", "updowncounter", "{process}", "Processes there are", _process_count
    ),
)
