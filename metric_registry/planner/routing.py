"""Which key of the raw topic makes a plan cheapest.

Where the groups of a definition keep all that the key is made of, each lies in one partition and
its rows are re-keyed once; else once for every partition that has a part of it. A key of fewer
attributes serves more definitions, and has fewer values: the busiest partition has more to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metric_registry.planner.costs import Cost, Costs, Key
from metric_registry.planner.estimate import FORCED, Traffic
from metric_registry.planner.statistics import RESOURCE, TENANT

Attributes = tuple[str, ...]
_MOST_MEETINGS = 256
"""Keys that are looked at first: what the definitions' own attributes have in common."""
_CLIMBED = 4
"""From so many of them it goes on."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The cheapest key that was found, and how many were looked at."""

    cost: Cost
    tried: int


def keyable(traffic: Sequence[Traffic]) -> tuple[str, ...]:
    """Attributes that the key can be made of: all streams that somebody reads have them from
    their resource. Sorted."""
    metrics = [metric.count for one in traffic for metric in one.metrics.values()]
    names = metrics[0].attributes if metrics else ()
    return tuple(
        name
        for name in sorted(names)
        if name not in (TENANT, RESOURCE)
        and all(
            (found := count.attributes.get(name)) is not None
            and found.resource
            and found.streams == count.streams
            for count in metrics
        )
    )


def choose(costs: Costs) -> Chosen:
    """The key whose cost (`Cost.provided`) is least; of equal ones the one of fewer attributes.

    Looked at first is all that can be in it, and what the definitions keep in common, of each
    choice of them; from the best of these it goes on, one attribute more, fewer or another, as
    long as that helps.
    """
    names = keyable(costs.traffic)
    tried: dict[Key, Cost] = {}

    def order(key: Key) -> tuple[float, int, Key]:
        if key not in tried:
            tried[key] = costs.of(key)
        return _order(tried[key])

    kept = [_kept(one) & {*names} for one in costs.traffic]
    first = [*_meetings([*kept, frozenset(names)])]
    for key in sorted(first, key=order)[:_CLIMBED]:
        best = key
        while best != (better := min([best, *_neighbours(best, names)], key=order)):
            best = better
    order("resource")
    return Chosen(tried[min(tried, key=order)], len(tried))


def _order(cost: Cost) -> tuple[float, int, Key]:
    """What it is chosen by; equal costs by what is simpler to say."""
    key = cost.key
    return cost.provided, -1 if key == "resource" else len(key), key


def _neighbours(key: Attributes, names: Iterable[str]) -> list[Attributes]:
    others = [name for name in names if name not in key]
    found = [tuple(sorted({*key, name})) for name in others]
    for name in key:
        rest = {*key} - {name}
        found.append(tuple(sorted(rest)))
        found += [tuple(sorted({*rest, other})) for other in others]
    return found


def _meetings(kept: Sequence[frozenset[str]]) -> list[Attributes]:
    """All that sets have in common, for each choice of them: as many as are looked at."""
    found: dict[frozenset[str], None] = {frozenset(): None}
    for each in sorted({*kept}, key=lambda one: (-len(one), sorted(one))):
        for other in [*found]:
            if other and len(found) < _MOST_MEETINGS:
                found.setdefault(each & other)
        found.setdefault(each)
    return [tuple(sorted(one)) for one in found]


def _kept(one: Traffic) -> frozenset[str]:
    """What of its streams a definition's groups determine, as resources name it."""
    made = {each.name: each for each in one.definition.attributes}
    plain = [name for name in one.definition.keep if name not in made]
    named = [
        made[name].sources[0] for name in one.definition.keep if name in made and made[name].is_name
    ]
    return frozenset(name.removeprefix(FORCED) for name in (*plain, *named)) - {TENANT}
