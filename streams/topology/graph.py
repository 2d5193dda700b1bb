"""A plan as a picture: topics, the tasks that read them, and the operators fused in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streams.topology import nodes
from streams.topology.kept import keeps
from streams.topology.nodes import Node
from streams.topology.plan import Plan, Style, SubTopology


@dataclass(frozen=True, slots=True)
class Step:
    """An operator in a sub-topology. `keeps`: it has a store."""

    id: str
    name: str
    keeps: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A sub-topology: what runs fused in one task a partition of its topic.

    `edges`: ids of steps, from and to. `writes`: (id of a step, topic).
    """

    name: str
    topic: str
    tasks: str
    steps: tuple[Step, ...]
    edges: tuple[tuple[str, str], ...]
    writes: tuple[tuple[str, str], ...]


def drawn(plan: Plan, style: Style) -> str:
    """The picture in a style."""
    frames = [_frame(plan, number, sub) for number, sub in enumerate(plan.subs)]
    return {"text": _text, "mermaid": _mermaid, "dot": _dot}[style](plan.name, frames)


def _frame(plan: Plan, number: int, sub: SubTopology) -> Frame:
    inside = [n for n in plan.nodes if plan.is_in(n, sub) or n is sub.root]
    steps = [n for n in inside if not isinstance(n, nodes.Output)]
    ids = {node: f"n{node.number}x{number}" for node in steps}
    edges = [
        (ids[parent], ids[node])
        for node in steps
        for parent in node.parents
        if node is not sub.root and parent in ids
    ]
    writes = [
        (ids[parent], node.topic if isinstance(node, nodes.Output) else _travels(plan, node))
        for node in plan.nodes
        for parent in node.parents
        if parent in ids and (isinstance(node, nodes.Output) or not plan.is_in(node, sub))
    ]
    if isinstance(sub.root, nodes.RecordProcessor):
        writes += [(ids[sub.root], topic.name) for topic in sub.root.writes]
    writes += [
        (ids[sub.root], other.topic)
        for other in plan.subs
        for _, join in other.tables
        if join.table is sub.root
    ]
    return Frame(
        sub.name, sub.topic, _tasks(sub.partitions),
        tuple(Step(ids[n], n.name, keeps(n) or _own_stores(n)) for n in steps), tuple(edges),
        tuple(dict.fromkeys(writes)),
    )  # fmt: skip


def _tasks(partitions: int | None) -> str:
    if partitions is None:
        return "a task a partition"
    return "1 task" if partitions == 1 else f"{partitions} tasks"


def _travels(plan: Plan, node: Node) -> str:
    """The topic by which rows, or parts of groups, reach a node."""
    (place,) = plan.places(node)
    return place.sub.topic


def _own_stores(node: Node) -> bool:
    return isinstance(node, nodes.RecordProcessor) and bool(node.stores)


def _topics(frames: list[Frame]) -> dict[str, str]:
    """Topic -> its id, in the order in which they are met."""
    met = [topic for f in frames for topic in (f.topic, *(to for _, to in f.writes))]
    return {topic: f"t{number}" for number, topic in enumerate(dict.fromkeys(met))}


def _mermaid(name: str, frames: list[Frame]) -> str:
    lines = ["flowchart LR", f"  %% {name}"]
    topics = _topics(frames)
    lines += [f'  {at}[("{topic}")]' for topic, at in topics.items()]
    for number, frame in enumerate(frames):
        lines.append(f'  subgraph s{number}["{frame.name} ({frame.tasks})"]')
        for step in frame.steps:
            left, right = ("[[", "]]") if step.keeps else ("[", "]")
            lines.append(f'    {step.id}{left}"{step.name}"{right}')
        lines.append("  end")
        lines.append(f"  {topics[frame.topic]} --> {frame.steps[0].id}")
        lines += [f"  {one} --> {other}" for one, other in frame.edges]
        lines += [f"  {one} --> {topics[topic]}" for one, topic in frame.writes]
    return "\n".join(lines)


def _dot(name: str, frames: list[Frame]) -> str:
    lines = [f"digraph {_quoted(name)} {{", "  rankdir=LR", "  node [shape=box]"]
    topics = _topics(frames)
    lines += [f"  {at} [shape=cylinder label={_quoted(topic)}]" for topic, at in topics.items()]
    for number, frame in enumerate(frames):
        label = _quoted(f"{frame.name} ({frame.tasks})")
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f"    label={label}")
        for step in frame.steps:
            shape = " shape=box3d" if step.keeps else ""
            lines.append(f"    {step.id} [label={_quoted(step.name)}{shape}]")
        lines.append("  }")
        lines.append(f"  {topics[frame.topic]} -> {frame.steps[0].id}")
        lines += [f"  {one} -> {other}" for one, other in frame.edges]
        lines += [f"  {one} -> {topics[topic]}" for one, topic in frame.writes]
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(name: str, frames: list[Frame]) -> str:
    lines = [name]
    for frame in frames:
        lines += ["", f"{frame.name} ({frame.tasks})", f"  ({frame.topic})"]
        lines += _branches(frame, f"to {frame.steps[0].id}", "  ", set())
    return "\n".join(lines)


def _branches(frame: Frame, at: str, indent: str, seen: set[str]) -> Iterator[str]:
    """What follows a step, each behind a branch; what was drawn before is only named."""
    if at.startswith("to "):
        following = [at.removeprefix("to ")]
    else:
        following = [other for one, other in frame.edges if one == at]
    ends = [f"({topic})" for one, topic in frame.writes if one == at]
    by_id = {step.id: step for step in frame.steps}
    for number, each in enumerate([*following, *ends]):
        last = number == len(following) + len(ends) - 1
        step = by_id.get(each)
        said = each if step is None else step.name + (" [store]" if step.keeps else "")
        again = each in seen and step is not None
        seen.add(each)
        yield f"{indent}{'└' if last else '├'}─ {said}{' (see above)' if again else ''}"
        if step is not None and not again:
            yield from _branches(frame, each, indent + ("   " if last else "│  "), seen)
