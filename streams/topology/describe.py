"""A plan in words, as Kafka Streams' `TopologyDescription`."""

from __future__ import annotations

from streams.topology import nodes
from streams.topology.kept import entry_name, keeps
from streams.topology.nodes import Node
from streams.topology.plan import Plan, SubTopology


def described(plan: Plan) -> str:
    """Sub-topologies with their sources, processors, stores and sinks, one line each."""
    lines = [f"Topology: {plan.name}"]
    for number, sub in enumerate(plan.subs):
        count = "any number of" if sub.partitions is None else sub.partitions
        lines.append(f"  Sub-topology: {number} {sub.name} (a task for each of {count} partitions)")
        feeds = [f"{join.table.topic} as {feed}" for feed, join in sub.tables]
        more = f", with tables: {', '.join(feeds)}" if feeds else ""
        if isinstance(sub.root, nodes.RecordProcessor) and sub.root.source.also is not None:
            more = f", and those that match {sub.root.source.also}"
        lines.append(f"    Source: {_input(sub)} (topic: {sub.topic}{more})")
        lines.append(f"      --> {_names(_entered(plan, sub))}")
        for node in plan.nodes:
            if plan.is_in(node, sub) and not isinstance(node, nodes.Source):
                lines += _node(plan, sub, node)
        lines += _senders(plan, sub)
    return "\n".join(lines)


def _input(sub: SubTopology) -> str:
    return entry_name(sub)


def _entered(plan: Plan, sub: SubTopology) -> list[str]:
    if sub.kind in ("internal", "records"):
        return [sub.root.name]
    if sub.kind == "table":
        return [f"{feed}-sender" for s in plan.subs for feed, j in s.tables if j.table is sub.root]
    return _after(plan, sub, sub.root)


def _after(plan: Plan, sub: SubTopology, node: Node) -> list[str]:
    return [
        each.name if plan.is_in(each, sub) else f"{each.name}-sender"
        for each in plan.consumers(node)
    ]


def _names(found: list[str]) -> str:
    return ", ".join(dict.fromkeys(found)) or "none"


def _node(plan: Plan, sub: SubTopology, node: Node) -> list[str]:
    said = node.said()
    if isinstance(node, nodes.Output):
        return [
            f"    Sink: {node.name} (topic: {node.topic}, {said})",
            f"      <-- {_names([parent.name for parent in node.parents])}",
        ]
    if isinstance(node, nodes.RecordProcessor):
        return _own(sub, node)
    stores = f" (store: {node.name})" if keeps(node) else ""
    before = [_input(sub)] if node is sub.root else [parent.name for parent in node.parents]
    return [
        f"    Processor: {node.name}{stores}{' ' + said if said else ''}",
        f"      --> {_names(_after(plan, sub, node))}",
        f"      <-- {_names(before)}",
    ]


def _own(sub: SubTopology, node: nodes.RecordProcessor) -> list[str]:
    stores = f" (stores: {', '.join(node.stores)})" if node.stores else ""
    lines = [
        f"    Processor: {node.name}{stores}",
        f"      --> {_names([topic.name for topic in node.writes])}",
        f"      <-- {_input(sub)}",
    ]
    for topic in node.writes:
        lines.append(f"    Sink: {topic.name} (topic: {topic.name}, {topic.describe()})")
        lines.append(f"      <-- {node.name}")
    return lines


def _senders(plan: Plan, sub: SubTopology) -> list[str]:
    """What leaves for internal topics."""
    lines: list[str] = []
    if sub.kind == "table":
        for other in plan.subs:
            for feed, join in other.tables:
                if join.table is sub.root:
                    to = "every partition" if join.table.everywhere else ", ".join(join.table.key)
                    lines.append(f"    Sink: {feed}-sender (topic: {other.topic}, by {to})")
                    lines.append(f"      <-- {sub.root.name}")
    for node in plan.nodes:
        parents = [parent for parent in node.parents if plan.is_in(parent, sub)]
        if not parents or plan.is_in(node, sub):
            continue
        (place,) = plan.places(node)
        what = "parts of groups" if isinstance(node, nodes.Aggregate) else "rows"
        by = ", ".join(place.route or _by(node)) or "one key"
        lines.append(f"    Sink: {node.name}-sender (topic: {place.sub.topic}, {what} by {by})")
        lines.append(f"      <-- {_names([parent.name for parent in parents])}")
    return lines


def _by(node: Node) -> tuple[str, ...]:
    return (node.by or ()) if isinstance(node, nodes.OwnOperator) else ()
