"""What a file's name says of the series in it (C).

`<service>_<metric>_<id>.csv` holds one CloudWatch gauge `aws.<service>.<metric>`; two files of the
Numenta Anomaly Benchmark are named otherwise. The table is documented where the definitions that
read it are: `metric_registry/definitions/README.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from topologies.load.config import LoadError, Naming

_UNITS = {
    "cpu_utilization": "%",
    "disk_write_bytes": "By",
    "network_in": "By",
    "request_count": "{request}",
}


@dataclass(frozen=True, slots=True)
class Named:
    """The metric of a file, its unit, and the attributes of the resource it was measured at."""

    metric: str
    unit: str
    resource: tuple[tuple[str, str], ...]


def _aws(service: str, metric: str, resource_id: str, unit: str, region: str = "") -> Named:
    resource = {
        "cloud.provider": "aws",
        "cloud.service": service,
        "cloud.resource_id": resource_id,
    }
    if region:
        resource["cloud.region"] = region
    return Named(f"aws.{service}.{metric}", unit, tuple(resource.items()))


_SPECIAL = {
    "grok_asg_anomaly": _aws("asg", "anomaly", "grok", "1"),
    "iio_us-east-1_i-a2eb1cd9_NetworkIn": _aws(
        "ec2", "network_in", "i-a2eb1cd9", "By", "us-east-1"
    ),
}


def name_of(file_name: str, naming: Naming) -> Named:
    """What the points of a file are called: as `naming` says, else as the file's name does.

    Raises LoadError where neither says it.
    """
    if naming.metric is not None:
        return Named(naming.metric, naming.unit, naming.resource)
    stem = file_name.removesuffix(".csv")
    if stem in _SPECIAL:
        return _SPECIAL[stem]
    service, _, rest = stem.partition("_")
    metric, _, resource_id = rest.rpartition("_")
    if not (service and metric and resource_id):
        raise LoadError(
            f"{file_name} does not say what it holds: call it <service>_<metric>_<id>.csv, "
            "or give the metric's name with --metric"
        )
    return _aws(service, metric, resource_id, _UNITS.get(metric, ""))
