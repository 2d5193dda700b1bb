"""Which steps of a sub-topology keep something, and what, in words: its stores' identity."""

from __future__ import annotations

import hashlib

from streams.operators.kept import Kept
from streams.topology import nodes
from streams.topology.nodes import Node
from streams.topology.plan import Plan, SubTopology


def kept(plan: Plan, sub: SubTopology) -> Kept:
    """What the state of a sub-topology's tasks is."""
    return Kept(plan.version, _stores(plan, sub), identity(plan, sub))


def keeps(node: Node) -> bool:
    """Whether an operator has a store."""
    return isinstance(node, nodes.Aggregate | nodes.Join | nodes.OwnOperator)


def entry_name(sub: SubTopology) -> str:
    """The step where records come in."""
    own = sub.kind in ("internal", "records")
    return f"{sub.root.name}-input" if own else sub.root.name


def arrival_name(root: Node) -> str:
    """The step where travelling rows come in."""
    return f"{root.name}-arrival"


def _stores(plan: Plan, sub: SubTopology) -> dict[str, str]:
    root = sub.root
    if isinstance(root, nodes.RecordProcessor):
        named = {f"{root.name}/{store}": meaning for store, meaning in root.stores.items()}
        return {entry_name(sub): root.source.said(), **named}
    sources = f"of {', '.join(sub.sources)}"
    entry = f"{sub.kind} of {sub.topic}, partitions={sub.partitions}"
    for feed, join in sub.tables:
        entry += f", {feed}: {join.said()} of {join.table.partitions} partitions"
    if sub.kind != "internal":
        entry += f", {root.said()}"
    found = {entry_name(sub): entry}
    if sub.kind == "internal" and not isinstance(root, nodes.Aggregate):
        found[arrival_name(root)] = sources
    for node in filter(keeps, plan.nodes):
        if plan.is_in(node, sub):
            found[node.name] = f"{node.said()} {sources}" if node is root else node.said()
        elif any(plan.is_in(parent, sub) for parent in node.parents):
            (place,) = plan.places(node)
            found[node.name] = f"{node.said()}, sent to {place.sub.partitions} partitions"
    for other in plan.subs:
        for feed, join in other.tables:
            if join.table is root:
                found[feed] = f"{join.said()}, sent to {other.partitions} partitions"
    return found


def identity(plan: Plan, sub: SubTopology) -> str:
    """All operators of a sub-topology that keep something, in one line."""
    said: list[str] = []
    for node in plan.nodes:
        parents = any(plan.is_in(parent, sub) for parent in node.parents)
        if (keeps(node) and (parents or plan.is_in(node, sub))) or node is sub.root:
            said.append(f"{node.name}: {node.said()}")
    text = "; ".join([*said, f"partitions={sub.partitions} sources={len(sub.sources)}"])
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{digest} {text}"
