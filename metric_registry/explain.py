"""Says how a plan is computed, and why: what is known from the definitions alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from metric_registry import zones
from metric_registry.derive import Derivation
from metric_registry.derived.words import explained
from metric_registry.durations import render, render_seconds
from metric_registry.errors import count
from metric_registry.granularities import text_of
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.planner.report import Estimate, estimated
from metric_registry.planner.statistics import Statistics

Routing = Literal["resource"] | Sequence[str]
"""What the raw topic's key is made of beside the tenant: all attributes of the resource, or the
named ones."""

_RESOURCE_NAMESPACES = (
    *("service.", "host.", "cloud.", "k8s.", "container.", "deployment.", "os.", "telemetry."),
    *("device.", "faas.", "gcp.", "azure.", "aws.", "heroku.", "webengine.", "openshift."),
)
"""OpenTelemetry semantic conventions, "Resource": attributes that name the source."""


Coherence = Literal["coherent", "conventional", "partials"]
"""coherent: every group lies in one partition, which sends one row of it and window to the roll-up.
conventional: so it is unless points carry an attribute with the name of the resource's. partials: a
group may lie in several partitions, each of which sends one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """How one definition is computed under a routing."""

    name: str
    version: str
    coherence: Coherence
    reason: str
    free_key: tuple[str, ...] | None
    """Resource attributes that, as the key of the raw topic, make it coherent; () is the tenant
    alone, None means that it is coherent already."""
    coarser: Literal["groups", "streams", "none"]
    """What coarser windows are merged from: the states that groups have in finer ones, where all
    points are taken together; else the row that each stream has in them, since a coarser window
    counts its streams, and most aggregates need a number a stream and window."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan explained. `common_key` makes every definition coherent; () is the tenant alone."""

    routing: tuple[str, ...] | Literal["resource"]
    common_key: tuple[str, ...]
    definitions: tuple[Explained, ...]
    plan: Plan
    estimate: Estimate | None = None

    def text(self) -> str:
        """For people."""
        by = "all attributes of the resource" if self.routing == "resource" else _key(self.routing)
        derived = f"{len(self.plan.derived)} derived, " if self.plan.derived else ""
        partials = sum(one.coherence == "partials" for one in self.definitions)
        lines = [
            f"plan {self.plan.hash}: {count(len(self.definitions), 'definition')}, {derived}"
            f"{_sources(self.plan)}; raw points keyed by {by}",
        ]
        for pane in self.plan.panes:
            sizes = ", ".join(text_of(size) for size in pane.granularities)
            lines.append(
                f"  pass over windows of {render_seconds(pane.seconds)}: "
                f"{count(len(pane.definitions), 'definition')}, windows of {sizes}"
            )
        if self.estimate is not None:
            lines += self.estimate.plan_lines()
        for at, definition in enumerate(self.plan.definitions):
            lines += ["", *_lines(self.definitions[at], definition, self.estimate is None)]
            if self.estimate is not None:
                lines += self.estimate.definition_lines(at)
        for derived in self.plan.derived:
            lines += ["", *explained(derived)]
        if partials and self.estimate is None:
            lines += [
                "",
                f"{count(partials, 'definition')} with groups in several partitions. Key the raw "
                f"topic by {_key(self.common_key)}, and each sends one row a group and window; "
                "whether that is cheaper depends on the traffic, see --statistics.",
            ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        estimate = None if self.estimate is None else self.estimate.to_dict()
        derived = [asdict(one) for one in self.plan.derived]
        return {
            "plan": self.plan.hash,
            "routing": self.routing,
            "common_key": self.common_key,
            "definitions": [asdict(one) for one in self.definitions],
            **({"derived": derived} if derived else {}),
            **({} if estimate is None else {"estimate": estimate}),
        }


def explain(
    plan: Plan,
    routing: Routing = "resource",
    statistics: Statistics | None = None,
    partitions: int = 1,
) -> Explanation:
    """Explains each definition of a plan, in the plan's order, for a routing of the raw topic.

    With statistics of the traffic it also says what that costs, on so many partitions.
    """
    routed = "resource" if routing == "resource" else tuple(sorted(set(routing) - {"tenant"}))
    definitions = tuple(_explained(definition, routed) for definition in plan.definitions)
    common = tuple(
        attribute
        for attribute in (_resource_attributes(plan.definitions[0]) if definitions else ())
        if all(attribute in _resource_attributes(definition) for definition in plan.definitions)
    )
    estimate = None
    if statistics is not None:
        estimate = estimated(plan, routed, statistics, partitions)
    return Explanation(routed, common, definitions, plan, estimate)


def _explained(
    definition: ResolvedDefinition, routing: tuple[str, ...] | Literal["resource"]
) -> Explained:
    coherence, reason = _coherence(definition, routing)
    coarser: Literal["groups", "streams", "none"] = "none"
    if len(definition.granularities) > 1:
        coarser = "groups" if definition.over_points else "streams"
    return Explained(
        name=definition.name,
        version=definition.version,
        coherence=coherence,
        reason=reason,
        free_key=_resource_attributes(definition) if coherence == "partials" else None,
        coarser=coarser,
    )


def _coherence(
    definition: ResolvedDefinition, routing: tuple[str, ...] | Literal["resource"]
) -> tuple[Coherence, str]:
    if routing == "resource":
        return "partials", (
            "the key holds every attribute of the resource, and which those are only the traffic "
            "tells: resources that differ in one that is not kept share groups across partitions"
        )
    kept = {attribute.removeprefix("resource.") for attribute in _kept(definition)}
    lost = sorted(set(routing) - kept)
    if lost:
        return "partials", f"the key holds {_list(lost)}, which the groups do not keep"
    determined = f"a group determines {_key(routing)}, so all of it lies in one partition"
    written = _kept(definition)
    unsure = [attribute for attribute in routing if f"resource.{attribute}" not in written]
    if unsure:
        written = _list([f"resource.{attribute}" for attribute in unsure])
        return "conventional", (
            f"{determined}, unless points have attributes of that name: keep {written} to be sure"
        )
    return "coherent", determined


def _kept(definition: ResolvedDefinition) -> tuple[str, ...]:
    """What streams have that a group determines: one of several names, or what is computed of an
    attribute, does not tell what that was."""
    made = {one.name: one for one in definition.attributes}
    plain = [name for name in definition.keep if name not in made]
    renamed = [made[name] for name in definition.keep if name in made]
    return (*plain, *(one.sources[0] for one in renamed if one.is_name))


def _resource_attributes(definition: ResolvedDefinition) -> tuple[str, ...]:
    """The kept attributes that a resource has: said by `resource.`, or by convention."""
    return tuple(
        sorted(
            attribute.removeprefix("resource.")
            for attribute in _kept(definition)
            if attribute.startswith(("resource.", *_RESOURCE_NAMESPACES))
        )
    )


def _lines(one: Explained, definition: ResolvedDefinition, by_convention: bool) -> list[str]:
    """by_convention: also what key would do, as far as names of attributes tell."""
    sizes = ", ".join(text_of(size) for size in definition.granularities)
    sealed = render(definition.grace_ns)
    lines = [
        f"{one.name} {one.version}",
        f"  {_aggregate(definition)}, by "
        f"{_list(definition.group_by)}; windows of {sizes}, sealed {sealed} after their end",
        f"  {one.coherence}: {one.reason}",
    ]
    lines += [f"  {made_of(made)}" for made in definition.attributes]
    if definition.zone_rules:
        lines.append(f"  days, weeks and months of {_zone(definition)}")
    if one.free_key is not None and by_convention:
        lines.append(f"  free with the raw topic keyed by {_key(one.free_key)}")
    if one.coarser == "groups":
        lines.append("  coarser windows are merged from the states of groups in finer ones")
    elif one.coarser == "streams":
        lines.append("  coarser windows are merged from the rows of streams in finer ones")
    return lines


def reads(definition: ResolvedDefinition) -> str:
    """The metrics and patterns of metrics that a definition reads, for people."""
    return " or ".join((*definition.sources, *definition.patterns))


def made_of(one: Derivation) -> str:
    """An attribute that the definition makes, in words."""
    steps = [f"`{one.name}` is the first of {_list(one.sources)} that a stream has"]
    if len(one.sources) == 1:
        steps = [f"`{one.name}` is {_list(one.sources)}"]
    if one.lower:
        steps.append("in lower case")
    if one.capture:
        steps.append(f"`{one.write}` of a match of `{one.capture}`")
    if one.mapped is not None:
        steps.append(f"by a map of {count(len(one.mapped), 'value')}")
    if one.table is not None:
        keys = count(len(one.table.entries), "key")
        steps.append(f"by `{one.column}`, a table of {keys}")
    if one.default is not None:
        steps.append(f"else `{one.default}`")
    return ", ".join(steps)


def _zone(definition: ResolvedDefinition) -> str:
    """The zone, and whose rules they are."""
    current = zones.find(definition.zone).rules == definition.zone_rules
    return f"{definition.zone}, by {'' if current else 'other rules than '}tz {zones.VERSION}"


def _aggregate(definition: ResolvedDefinition) -> str:
    if definition.over_points:
        what = definition.source_instrument.replace("_", " ")
        return f"{definition.over_points} over {what and what + ' '}points"
    return f"{definition.over_time} over time, {definition.over_space} over space"


def _sources(plan: Plan) -> str:
    patterns = f" and {count(len(plan.patterns), 'pattern')}" if plan.patterns else ""
    return count(len(plan.metrics), "source metric") + patterns


def _key(attributes: Sequence[str]) -> str:
    return _list(["tenant", *attributes])


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
