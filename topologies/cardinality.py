"""How many groups a definition may have in a window, decided shard by shard.

A limit is of one tenant. Its groups live in as many virtual shards as hold GROUPS_A_SHARD of them
each, so that chance is averaged out within a shard and no message between shards is needed: of
each shard the groups with the smallest hashes are kept, up to `Share.most`, and all others merge
into its *overflow* group. What is kept is a function of the set of groups. Pruning parts of the
set first, and then what is left of all of them, keeps the same.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

VIRTUAL_SHARDS = 64
GROUPS_A_SHARD = 4096
"""Groups that a limit allows a shard at least, before it takes another one."""
DEVIATIONS = 6
"""A shard has room for so many standard deviations more than its even part of the limit: that
hashes fall unevenly fills one before the limit is reached once in ten million cases."""
NEAR = 0.8
"""Part of the limit from which on people are warned."""


class Share(NamedTuple):
    """What a limit allows.

    limit: Groups of a tenant in a window.
    shards: Over how many virtual shards they are spread; a power of two.
    most: Groups that a shard keeps.
    """

    limit: int
    shards: int
    most: int

    @property
    def near(self) -> int:
        """Groups in one shard that are as many as the limit's part from which people are warned."""
        return max(1, math.ceil(NEAR * self.limit / self.shards))


def share_of(limit: int) -> Share:
    """The share of a limit. One shard, and exactly the limit, below twice GROUPS_A_SHARD."""
    shards = 1
    while shards < VIRTUAL_SHARDS and limit >= 2 * shards * GROUPS_A_SHARD:
        shards *= 2
    if shards == 1:
        return Share(limit, 1, limit)
    even = -(-limit // shards)
    return Share(limit, shards, even + DEVIATIONS * math.isqrt(even))


def first_shard(version: str, tenant: bytes) -> int:
    """The virtual shard in which the groups of a tenant begin; tenant as it is written in JSON."""
    digest = hashlib.blake2b(version.encode() + b"\0" + tenant, digest_size=2).digest()
    return int.from_bytes(digest) % VIRTUAL_SHARDS


class Overflow(NamedTuple):
    """The group into which those of a tenant and shard merge that are too many.

    labels: Of OpenTelemetry's own attribute for overflow (specification, Metrics SDK, "Overflow
    attribute"), the tenant, and the shard where there are several; high, low: their hash.
    """

    labels: bytes
    high: int
    low: int

    @property
    def group(self) -> bytes:
        """The hash, 16 bytes."""
        return self.high.to_bytes(8) + self.low.to_bytes(8)


def overflow(tenant: bytes, share: Share, part: int) -> Overflow:
    """The overflow group of a tenant (as it is written in JSON), of this part of its shards."""
    labels = b'{"otel.metric.overflow":"true","tenant":"' + tenant + b'"'
    if share.shards > 1:
        labels += b',"tidemill.shard":"%d"' % part
    labels += b"}"
    digest = hashlib.blake2b(labels, digest_size=16).digest()
    return Overflow(labels, int.from_bytes(digest[:8]), int.from_bytes(digest[8:]))
