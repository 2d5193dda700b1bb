"""Which groups of a window a definition's limit leaves, from the rule alone.

A limit is a tenant's. Below 8,192 its groups lie in one shard, which keeps exactly the limit; else
in the largest power of two (64 at most) that leaves 4,096 groups of the limit to each, by the low
bits of their hash, and each keeps its even part and six times the root of that. Those with the
smallest hashes (BLAKE2b-128 of their labels) are kept, the others are one group of the shard.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable

Labels = tuple[tuple[str, str], ...]
OVERFLOW = ("otel.metric.overflow", "true")


def shards(limit: int) -> tuple[int, int]:
    """(how many shards, how many groups each keeps)."""
    fitting = [count for count in (2, 4, 8, 16, 32, 64) if limit // count >= 4096]
    if not fitting:
        return 1, limit
    part = math.ceil(limit / fitting[-1])
    return fitting[-1], part + 6 * math.isqrt(part)


def hashed(labels: Labels) -> int:
    """The canonical hash of a group."""
    text = json.dumps(dict(labels), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def _is_of(rest: Labels, count: int) -> bool:
    """Whether the labels behind the tenant are those of overflow where there are `count` shards."""
    return not rest if count == 1 else [name for name, _ in rest] == ["tidemill.shard"]


def published(limit: int, groups: Iterable[Labels]) -> dict[Labels, Labels]:
    """By group of a window (those that have a number): the group under which it is published."""
    count, most = shards(limit)
    found: dict[Labels, Labels] = {}
    of_shard: dict[tuple[str, int], list[Labels]] = defaultdict(list)
    for labels in groups:
        tenant = dict(labels)["tenant"]
        if labels[:2] == (OVERFLOW, ("tenant", tenant)) and _is_of(labels[2:], count):
            found[labels] = labels  # overflow already, or an agent's own
        else:
            of_shard[tenant, hashed(labels) % count].append(labels)
    for (tenant, shard), members in of_shard.items():
        more = (("tidemill.shard", str(shard)),) if count > 1 else ()
        other = (OVERFLOW, ("tenant", tenant), *more)
        for place, labels in enumerate(sorted(members, key=hashed)):
            found[labels] = labels if place < most else other
    return found
