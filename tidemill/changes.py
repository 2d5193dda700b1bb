"""What a change of definitions means, in sentences."""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.names import is_candidate
from metric_registry.plan import SEMANTIC_FIELDS, Plan, ResolvedDefinition
from streams.event_time.windows import LATEST, rfc3339
from topologies.candidates import base_of, definitions_of
from topologies.decisions import HOLDING, Decision
from topologies.deployment import Deployment
from topologies.epochs import Epochs


class Difference(NamedTuple):
    """A definition that comes (`was` is None), changes, or goes (`now` is None).

    since: unix ns, from when on windows are the new version's, or nobody's; None: that changes not,
    since only how it is published does, or since it goes before it has begun.
    """

    name: str
    was: ResolvedDefinition | None
    now: ResolvedDefinition | None
    since: int | None


def differences(before: Deployment | None, after: Deployment) -> list[Difference]:
    """What differs, in order of name; before: None: nothing was in force."""
    old = {one.name: one for one in before.current} if before else {}
    new = {one.name: one for one in after.current}
    return [
        Difference(name, old.get(name), new.get(name), _since(old.get(name), new.get(name), after))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def changes(before: Deployment, after: Deployment, epochs: Epochs) -> list[str]:
    """A sentence for each definition that comes, changes or goes, in order of name."""
    found = [_sentence(each, before, epochs) for each in differences(before, after)]
    return found + [_derived(*each) for each in derived_differences(before, after)]


DerivedDifference = tuple[ResolvedDerived | None, ResolvedDerived | None]
"""What was, and what is."""


def derived_differences(before: Deployment | None, after: Deployment) -> list[DerivedDifference]:
    """What differs of derived definitions, in order of name."""
    old = {one.name: one for one in before.plan.derived} if before else {}
    new = {one.name: one for one in after.plan.derived}
    names = sorted(old.keys() | new.keys())
    return [(old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]


def _derived(was: ResolvedDerived | None, now: ResolvedDerived | None) -> str:
    if now is None:
        assert was is not None
        return f"{was.name}, which was derived ({was.formula}), goes with its view"
    if was is None:
        return (
            f"new derived definition {now.name} ({now.formula}): a view of all rows that its "
            "inputs have, also of the past, as soon as workers know"
        )
    return (
        f"{now.name}, which is derived ({now.formula}), changes from version {was.version} to "
        f"{now.version}: its view computes all rows by it, as soon as workers know"
    )


def _sentence(found: Difference, before: Deployment, epochs: Epochs) -> str:
    name, was, now, since = found
    if is_candidate(name):
        return _tried(found, epochs)
    if now is None:
        assert was is not None
        return _gone(was, since, before)
    if since is None:
        assert was is not None
        return (
            f"{name} keeps its version {now.version}, and is published otherwise, as soon as "
            f"workers know: {', '.join(_published(was, now))}"
        )
    if was is None:
        return f"new definition {name}: it counts from {rfc3339(since)} on{_why(since, epochs)}"
    return (
        f"{name} changes from version {was.version} to {now.version}: windows that begin "
        f"at {rfc3339(since)} or later are the new one's{_why(since, epochs)}; those that "
        "begin before, late points included, stay the old one's"
    )


def _tried(found: Difference, epochs: Epochs) -> str:
    """Of a candidate: nobody but the store hears of it, and it ends without a trace on topics."""
    name, _, now, since = found
    if now is None:
        return f"the candidate of {base_of(name)} ends; its rows stay until their retention"
    assert since is not None  # candidates are published one way alone
    return (
        f"{base_of(name)} goes on as it is; beside it, in the store alone, {name} counts from "
        f"{rfc3339(since)} on{_why(since, epochs)}"
    )


def holds(newest: Decision | None, files: Plan) -> list[str]:
    """A sentence where a rollback, or candidates, keep what files say from being put in force by a
    start."""
    if newest is None or newest.how not in HOLDING:
        return []
    names = differing(newest.deployed, files)
    if not names:
        return []
    if newest.how == "candidate":
        return [
            f"candidates run since {rfc3339(newest.deployed.decided)} (tidemill registry compare): "
            f"files say otherwise of {', '.join(names)}, which stay as they are. To put in force "
            "what files say: tidemill registry apply; to end the trial: tidemill registry rollback"
        ]
    return [
        f"the rollback of {rfc3339(newest.deployed.decided)} holds: files say otherwise of "
        f"{', '.join(names)}, which stay as they were put back. To put in force what files say: "
        "tidemill registry apply"
    ]


def differing(deployed: Deployment, files: Plan) -> list[str]:
    """The names of which files say otherwise than what is in force, sorted; no candidates."""
    running = {one.name: one for one in (*definitions_of(deployed), *deployed.plan.derived)}
    written = {one.name: one for one in (*files.definitions, *files.derived)}
    return sorted(
        name for name in running.keys() | written.keys() if running.get(name) != written.get(name)
    )


def _published(was: ResolvedDefinition, now: ResolvedDefinition) -> list[str]:
    """What is not part of the version and differs, as definitions call it."""
    names = [one.name for one in fields(now) if one.name not in {*SEMANTIC_FIELDS, "version"}]
    different = [name for name in names if getattr(was, name) != getattr(now, name)]
    return [name.replace("publish_", "publish.") for name in different]


def _gone(was: ResolvedDefinition, until: int | None, before: Deployment) -> str:
    if until is None:
        since = before.spans(was.version)[-1][0]
        return f"{was.name} goes before {rfc3339(since)}, when it would have begun to count"
    return (
        f"{was.name} goes: its last windows begin before {rfc3339(until)}, and are still corrected "
        "by late points; what is stored stays until its retention, and topics stay where they are; "
        "readers get nothing newer"
    )


def _since(
    was: ResolvedDefinition | None, now: ResolvedDefinition | None, after: Deployment
) -> int | None:
    if now is not None:
        same = was is not None and was.version == now.version
        return None if same else after.spans(now.version)[-1][0]
    if was is None or was not in after.plan.definitions:
        return None
    until = after.spans(was.version)[-1][1]
    return None if until == LATEST else until


def _why(since: int, epochs: Epochs) -> str:
    for epoch in epochs.later:
        if epoch.since == since:
            return f", when {epoch.topic} begins; it has windows that do not end at that time"
    return ""
