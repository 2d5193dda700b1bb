"""What a planned topology keeps, reads and writes, as data: to be saved, and held against another.

json.dumps(manifest(plan))          # a file, of the version that runs
differences(old, new)               # what becomes of each store and output, before it happens
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streams.operators.kept import Continuation, continuation
from streams.topology import nodes
from streams.topology.kept import entry_name, keeps, kept
from streams.topology.nodes import Node
from streams.topology.plan import Plan, SubTopology

FORMAT = 1
Outcome = Literal["continues", "continues, with other rows", "begins anew", "ends", "refused"]

Manifest = Mapping[str, Any]
"""JSON: `name`, `version`, `tasks` (sub-topology -> topic, kind, partitions, stores; of a processor
of a user's own also what other topics it reads, and the internal ones it writes), `fed` (store or
output -> the steps that its rows pass), `outputs` (name -> topic and codec)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of one thing: a store, an output, the input of tasks."""

    what: str
    name: str
    outcome: Outcome
    reason: str


def manifest(plan: Plan) -> Manifest:
    """The manifest of a plan; it can be written as JSON."""
    outputs = [node for node in plan.nodes if isinstance(node, nodes.Output)]
    written = {node.name: f"{node.topic}, {node.said()}" for node in outputs}
    for node in plan.nodes:
        if isinstance(node, nodes.RecordProcessor):
            for topic in node.writes:
                written[f"{node.name} to {topic.name}"] = f"{topic.name}, {topic.describe()}"
    return {
        "format": FORMAT,
        "name": plan.name,
        "version": plan.version,
        "tasks": {sub.name: _tasks(plan, sub) for sub in plan.subs},
        "fed": {node.name: _fed(node) for node in plan.nodes if keeps(node) or node in outputs},
        "outputs": written,
    }


def _tasks(plan: Plan, sub: SubTopology) -> dict[str, Any]:
    found: dict[str, Any] = {
        "topic": sub.topic,
        "kind": sub.kind,
        "partitions": sub.partitions,
        "entry": entry_name(sub),
        "stores": dict(kept(plan, sub).stores),
    }
    if isinstance(sub.root, nodes.RecordProcessor):
        if sub.root.source.also is not None:
            found["also"] = sub.root.source.also
        found["internal"] = [topic.name for topic in sub.root.writes if topic.internal]
    return found


def _fed(node: Node) -> list[str]:
    """What rows pass on their way to a node since the last store, in order."""
    found: list[str] = []
    for parent in node.parents:
        if isinstance(parent, nodes.Transform | nodes.Merge):
            found += [*_fed(parent), parent.said()]
        else:
            found.append(parent.name)
    return found


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """What happens when workers of `new` replace those of `old`, in the order of names.

    Raises:
        ValueError: A manifest is of another format, or the two are of two topologies.
    """
    for each in (old, new):
        if each.get("format") != FORMAT:
            raise ValueError(f"a manifest of format {each.get('format')!r}, not {FORMAT}")
    if old["name"] != new["name"]:
        raise ValueError(
            f"{old['name']!r} and {new['name']!r} are two topologies: "
            "the second begins from the beginning of its topics, beside the first"
        )
    found = [*_of_tasks(old, new), *_of_outputs(old, new)]
    changed = [each for each in found if not each.outcome.startswith("continues")]
    if changed and new["version"] <= old["version"]:
        reason = f"{old['version']} runs, this is {new['version']}: StreamsBuilder(..., version="
        reason += f"{old['version'] + 1})"
        found.append(Difference("version", new["name"], "refused", reason))
    return found


def _of_tasks(old: Manifest, new: Manifest) -> list[Difference]:
    """Stores in several sub-topologies (parts, and where they are merged) are one here."""
    before, after = old["tasks"], new["tasks"]
    found: list[Difference] = []
    changes: dict[str, Continuation] = {
        name: continuation(
            before[name]["stores"] if name in before else {},
            after[name]["stores"] if name in after else {},
        )
        for name in {**before, **after}
    }
    entries = {tasks["entry"]: tasks for tasks in [*before.values(), *after.values()]}
    names = {n for each in changes.values() for n in (*each.continues, *each.begins, *each.ends)}
    names |= {name for each in changes.values() for name in each.refused}
    for name in sorted(names):
        what = "input" if name in entries else "store"
        quiet = name in entries and entries[name]["kind"] == "internal"
        reasons = [each.refused[name] for each in changes.values() if name in each.refused]
        begins = any(name in each.begins for each in changes.values())
        ends = any(name in each.ends for each in changes.values())
        goes_on = any(name in each.continues for each in changes.values())
        if not reasons and begins + ends + goes_on > 1:
            reasons = ["it would be kept by other tasks than now; give it another name (name=...)"]
        if reasons:
            found.append(Difference(what, name, "refused", reasons[0]))
        elif quiet:  # as its store
            continue
        elif begins:
            found.append(Difference(what, name, "begins anew", _beginning(name, entries)))
        elif ends:
            found.append(Difference(what, name, "ends", _ending(name, changes, before)))
        else:
            found.append(_fed_alike(what, name, old, new))
    return found


def _beginning(name: str, entries: Mapping[str, Any]) -> str:
    tasks = entries.get(name)
    if tasks is not None:
        return f"from the beginning of {tasks['topic']}"
    return "with the rows behind the take-over; a window that is open then has only those"


def _ending(name: str, changes: Mapping[str, Continuation], before: Any) -> str:
    """What of it is left behind: only where all of the sub-topology ends."""
    left: list[str] = []
    for sub, change in changes.items():
        if name in change.ends and sub in before and not (change.continues or change.begins):
            left.append(f"<app>-{sub}-changelog")
            if before[sub]["kind"] == "internal":
                left.append(before[sub]["topic"])
            left += before[sub].get("internal", ())
    said = "what is open is not published"
    return f"{said}; then delete {', '.join(left)}" if left else said


def _fed_alike(what: str, name: str, old: Manifest, new: Manifest) -> Difference:
    before, after = old["fed"].get(name), new["fed"].get(name)
    if before == after:
        return Difference(what, name, "continues", "")
    reason = f"its rows passed {_steps(before)}, from the take-over on {_steps(after)}"
    return Difference(what, name, "continues, with other rows", reason)


def _steps(fed: list[str] | None) -> str:
    return " > ".join(fed or ()) or "nothing"


def _of_outputs(old: Manifest, new: Manifest) -> list[Difference]:
    before, after = old["outputs"], new["outputs"]
    found: list[Difference] = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(Difference("output", name, "ends", f"to {before[name]}"))
        elif name not in before:
            found.append(Difference("output", name, "begins anew", f"to {after[name]}"))
        elif before[name] != after[name]:
            reason = f"it went to {before[name]}, and will to {after[name]}"
            found.append(Difference("output", name, "continues, with other rows", reason))
        else:
            found.append(_fed_alike("output", name, old, new))
    return found
