"""What a change of definitions means, in sentences."""

from __future__ import annotations

from metric_registry.plan import ResolvedDefinition
from streams.event_time.windows import LATEST, rfc3339
from topologies.deployment import Deployment
from topologies.epochs import Epochs


def changes(before: Deployment, after: Deployment, epochs: Epochs) -> list[str]:
    """A sentence for each definition that comes, changes or goes, in order of name."""
    old = {one.name: one for one in before.current}
    new = {one.name: one for one in after.current}
    told: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if now is None:
            assert was is not None
            told.append(_gone(was, before, after))
        elif was is None:
            since = _since(now, after)
            told.append(
                f"new definition {name}: it counts from {rfc3339(since)} on{_why(since, epochs)}"
            )
        elif was.version != now.version:
            since = _since(now, after)
            told.append(
                f"{name} changes from version {was.version} to {now.version}: windows that begin "
                f"at {rfc3339(since)} or later are the new one's{_why(since, epochs)}; those that "
                "begin before, late points included, stay the old one's"
            )
    return told


def _gone(was: ResolvedDefinition, before: Deployment, after: Deployment) -> str:
    until = after.spans(was.version)[-1][1] if was in after.plan.definitions else LATEST
    if until == LATEST:  # it was taken away before its time had come
        since = before.spans(was.version)[-1][0]
        return f"{was.name} goes before {rfc3339(since)}, when it would have begun to count"
    return (
        f"{was.name} goes: its last windows begin before {rfc3339(until)}, and are still corrected "
        "by late points; what is stored stays until its retention"
    )


def _since(one: ResolvedDefinition, deployed: Deployment) -> int:
    return deployed.spans(one.version)[-1][0]


def _why(since: int, epochs: Epochs) -> str:
    for epoch in epochs.later:
        if epoch.since == since:
            return f", when {epoch.topic} begins; it has windows that do not end at that time"
    return ""
