"""Which attributes a roll-up keeps, as far as names and numbers of values tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from metric_registry.drafts.seen import SeenAttribute, SeenMetric
from metric_registry.drafts.unit_words import words_of

Part = Literal["place", "kind", "part", "identity"]
"""Where it was measured (a cluster, a host); what was measured (a mode, a status); which part of a
host it was (a disk, a core); or one thing among many that come and go (a pod, a request)."""

FEW = 20
"""Values of a kind: an attribute with more of them is not kept by a draft."""
MOST_GROUPS = 1_000
"""Groups of a draft that are worth having without being asked for."""
_PLACES = re.compile(
    r"(.*[._])?(cluster|region|zone|datacenter|environment|env|namespace|service|job|tenant|"
    r"customer|team|app|application|host|hostname|node|nodename|instance_type|model|modelname|"
    r"topic|queue|database|db)([._](name|id))?"
)
_PARTS = re.compile(
    r"(.*[._])?(cpu|core|gpu|gpu_id|device|disk|interface|nic|minor|minor_number|chip|sensor|socket"
    r"|package|dimm|numa|mountpoint|fstype|partition|thread|worker|shard|slot|port|collector|index|"
    r"queue_id|pci_bus_id)"
)
_IDENTITIES = re.compile(
    r"(.*[._])?(uuid|uid|guid|pod|pod[._]name|container|container[._](id|name)|pid|process[._]pid|"
    r"instance|service[._]instance[._]id|host[._]id|ip|address|client[._]address|url|url[._]full|"
    r"path|query|trace[._]id|span[._]id|user[._]id|session[._]id|request[._]id|email|labels_raw)"
)
_LOOKS_LIKE_ONE = re.compile(r"(?:[A-Za-z]+-)?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Choice:
    """An attribute, and whether a draft keeps it; `why` is a few words."""

    attribute: SeenAttribute
    kept: bool
    why: str


def part_of(attribute: SeenAttribute) -> Part:
    """What an attribute says, by its name and its values."""
    name = attribute.name.removeprefix("resource.")
    words = "_".join(words_of(name)) if not name.islower() else name
    alike = [value for value in attribute.values if _LOOKS_LIKE_ONE.fullmatch(value)]
    if _IDENTITIES.fullmatch(words) or (alike and 2 * len(alike) > len(attribute.values)):
        return "identity"
    if _PARTS.fullmatch(words):
        return "part"
    return "place" if _PLACES.fullmatch(words) else "kind"


def choose(metric: SeenMetric) -> list[Choice]:
    """What becomes of each attribute, in order of its name.

    Kept are places and kinds, the one with the fewest values first, as long as they make no more
    than `MOST_GROUPS` groups: counted, and not multiplied.
    """
    why: dict[str, str] = {}
    kept: list[str] = []
    for each in sorted(metric.attributes, key=lambda one: (one.distinct, one.name)):
        refused = _refusal(each, metric)
        if not refused and (groups := metric.groups([*kept, each.name])) > MOST_GROUPS:
            refused = f"not kept: with it there would be {groups:,} groups"
        if refused:
            why[each.name] = refused
        else:
            kept.append(each.name)
    return [
        Choice(each, each.name in kept, why.get(each.name, "kept"))
        for each in sorted(metric.attributes, key=lambda one: one.name)
    ]


def _refusal(each: SeenAttribute, metric: SeenMetric) -> str:
    """Why a draft does not keep it, or empty."""
    part = part_of(each)
    if part == "identity":
        return "not kept: one of many that come and go"
    if part == "part":
        return "not kept: a part of what it was measured on; keep it to have each"
    if part == "place":
        return "not kept: too many values" if each.distinct > MOST_GROUPS or each.more else ""
    if each.distinct == 1 and each.streams == metric.streams and metric.streams > 1:
        return "not kept: it is always the same"
    if each.distinct > FEW or each.more:
        return "not kept: too many values"
    return ""
