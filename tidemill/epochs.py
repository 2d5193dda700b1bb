"""What a deployment knows of topic epochs: for definitions that come, and for people.

Windows lie on one side of a change of partitions. Those of definitions that were there when it was
announced end at its time; a definition that comes later, with windows that do not, counts from that
time on. So the folder of a deployment remembers the list of epochs, which is read before the log
is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from metric_registry.plan import ResolvedDefinition
from streams.event_time.windows import rfc3339
from tidemill.diagnosis.finding import Finding, ok, warn
from tidemill.settings import Settings
from topologies.epochs import LIVE, ONE_EPOCH, Epochs, Listed
from topologies.joining import crossed

REMEMBERED = "epochs.json"


def remember(settings: Settings, epochs: Epochs) -> None:
    """Write the list of epochs down in the folder of the deployment."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    temporary = settings.folder / f"{REMEMBERED}.new"
    temporary.write_bytes(epochs.to_json() + b"\n")
    temporary.replace(settings.folder / REMEMBERED)


def remembered(settings: Settings) -> Epochs:
    """The list of epochs as it was written down last."""
    file = settings.folder / REMEMBERED
    return Epochs.from_json(file.read_bytes()) if file.exists() else ONE_EPOCH


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
