"""The stores of a plan: which operators keep something that can be asked for, and where."""

from __future__ import annotations

from streams.operators.windowed import Windowed
from streams.queries.shapes import StoreShape, Tasks
from streams.schema import Schema, binary
from streams.topology import nodes
from streams.topology.plan import Place, Plan, SubTopology


def stores_of(plan: Plan) -> dict[str, StoreShape]:
    """Name -> store, in the order of the plan."""
    found: dict[str, StoreShape] = {}
    for node in plan.nodes:
        match node:
            case nodes.Aggregate():
                found[node.name] = _aggregate(plan, node)
            case nodes.Join():
                found[node.name] = _table(plan, node)
            case nodes.OwnOperator():
                places = plan.places(node)
                found[node.name] = StoreShape(
                    node.name, "bytes", Schema(key=binary), Schema(value=binary.optional),
                    tuple(_tasks(place.sub) for place in places),
                )  # fmt: skip
            case _:
                continue
    return found


def _aggregate(plan: Plan, node: nodes.Aggregate) -> StoreShape:
    (place,) = plan.places(node)
    given = node.parents[0].schema
    keys = Schema({key: given[key] for key in node.keys})
    kind, parts_stay = "totals", False
    if isinstance(node.of, Windowed):
        kind, parts_stay = "windows", not node.of.early
    sources: list[Tasks] = []
    if parts_stay and place.sub.root is node:
        sources = [_tasks(each.sub) for each in plan.places(node.parents[0])]
    return StoreShape(
        node.name, kind, keys, Schema({n: k for n, k in node.schema.items() if n not in keys}),
        (_tasks(place.sub),), _route(place), sources=tuple(sources), of=node.of,
    )  # fmt: skip


def _table(plan: Plan, node: nodes.Join) -> StoreShape:
    (place,) = plan.places(node)
    table = node.table
    values = {name: node.schema[name] for name in table.values}
    here = {column: key for key, column in node.on.items()}
    route = _route(place)
    return StoreShape(
        node.name, "table", Schema(table.key_types), Schema(values), (_tasks(place.sub),),
        None if table.everywhere or route is None else tuple(here[column] for column in route),
        everywhere=table.everywhere,
    )  # fmt: skip


def _route(place: Place) -> tuple[str, ...] | None:
    """The columns whose hash decides the partition: a topic of the plan's own is written so."""
    return place.route if place.sub.kind == "internal" else None


def _tasks(sub: SubTopology) -> Tasks:
    return Tasks(sub.name, sub.topic, sub.partitions)
