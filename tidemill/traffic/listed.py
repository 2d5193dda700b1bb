"""Lists of metrics that an agent could send: dcgm-exporter's `counters.csv`.

Source: dcgm-exporter, `etc/default-counters.csv`: a field, Prometheus' type, what it says; the
labels are those of its README.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace

from metric_registry.drafts.seen import Seen, SeenAttribute, SeenMetric

_TYPES = ("gauge", "counter", "histogram", "summary", "label")
_COLUMNS = 3
_LABELS = ("Hostname", "UUID", "container", "device", "gpu", "modelName", "namespace", "pod")


def is_list(text: str) -> bool:
    """Whether the first line that is no comment lists a metric."""
    return any(row[1] in _TYPES for row in _rows(text)[:1])


def listed(text: str) -> list[SeenMetric]:
    """The metrics of a list; none was seen. What is a label of others is left out."""
    attributes = tuple(SeenAttribute(name, (), 0, False, 0) for name in _LABELS)
    return [
        SeenMetric(
            name,
            "sum" if kind == "counter" else "gauge",
            0,
            0,
            attributes if name.startswith("DCGM_") else (),
            lambda _: 0,
            temporality="cumulative" if kind == "counter" else None,
            monotonic=kind == "counter",
            description=", ".join(said),
        )
        for name, kind, *said in _rows(text)
        if kind in ("gauge", "counter")
    ]


def with_listed(seen: Seen, lists: Iterable[SeenMetric]) -> Seen:
    """What was seen, as the lists describe it; and what they have beside that.

    Samples without a type, of CSV files, are of the type that a list says.
    """
    metrics = {metric.name: metric for metric in seen.metrics}
    for one in lists:
        known = metrics.get(one.name)
        if known is None:
            metrics[one.name] = one
            continue
        described = replace(known, description=known.description or one.description)
        if known.kind == "gauge" and one.kind == "sum":
            described = replace(described, kind="sum", temporality="cumulative", monotonic=True)
        metrics[one.name] = described
    return replace(seen, metrics=tuple(metrics[name] for name in sorted(metrics)))


def _rows(text: str) -> list[Sequence[str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [[cell.strip() for cell in row] for row in csv.reader(lines) if len(row) >= _COLUMNS]
