"""What is to be said of topic epochs: for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from metric_registry.plan import ResolvedDefinition
from streams.event_time.windows import rfc3339
from tidemill.diagnosis.finding import Finding, ok, warn
from topologies.epochs import LIVE, Epochs, Listed
from topologies.joining import crossed


def findings(
    epochs: Epochs, tasks: Mapping[str, Mapping[str, Any]], since: Mapping[str, int],
    definitions: Iterable[ResolvedDefinition], first: int, now: int,
) -> Iterator[Finding]:  # fmt: skip
    """What is to be said of every change of partitions, oldest first.

    tasks: what workers say of their pre-aggregation tasks, by source; since: from when on versions
    of definitions count, unix ns; first: partitions of the first epoch; now: unix ns.
    """
    every = [Listed(LIVE, first, 0), *epochs.later]
    for before, epoch in zip(every, epochs.later, strict=False):
        name, when = f"epoch {epoch.topic}", rfc3339(epoch.since)
        if now < epoch.since:
            yield ok(name, f"announced: {epoch.partitions} partitions from {when} on")
            continue
        waiting = [
            source
            for source in (f"{before.topic}/{number}" for number in range(before.partitions))
            if not _is_over(tasks.get(source))
        ]
        if waiting:
            text = f"{', '.join(waiting)} may still get late points from before {when}"
            yield ok(name, f"under way: {text}")
        else:
            text = f"since {when}; nothing of {before.topic} can change any more"
            yield ok(name, f"finished {text}, which empties itself by its retention: leave it")
    for definition in definitions:
        for epoch in crossed(definition, since.get(definition.version, now), epochs):
            yield warn(
                f"epoch {epoch.topic}",
                f"{definition.name} has windows that begin before {rfc3339(epoch.since)} and end "
                "after it: they are not published",
                "announce changes where all definitions are: tidemill topic repartition",
            )


def _is_over(task: Mapping[str, Any] | None) -> bool:
    if task is None or task["state"] != "running":  # before that it has not said what it holds
        return False
    return all(pane["over"] for pane in task["processor"].get("panes", ()))
