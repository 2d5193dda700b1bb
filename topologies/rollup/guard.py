"""The limits of definitions where windows are put together: rows in, fewer rows out.

Of every definition, tenant and virtual shard the groups with the smallest hashes stay, as many as
the limit's share; all others merge, exactly, into the shard's overflow group. So it is a function
of the set of groups, whoever sent which of them, and whoever left some out by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from streams.kernels.bounds import keep_first
from topologies.cardinality import Overflow, Share, overflow
from topologies.encodings.tenants import tenants_of
from topologies.partials import U64, PartialRows
from topologies.rollup.groups import merged

I64 = npt.NDArray[np.int64]
HASHES = 2.0**64


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a tenant's limit is in a window, as far as one shard partition knows.

    Attributes:
        level, end: The window's size and end, ns.
        tenant: As it is written in JSON.
        over: Whether groups have overflowed; else they come near the limit.
        groups: How many there are; estimated from the greatest hash that is kept where over.
        points: Those that the overflow groups count.
    """

    definition: int
    level: int
    end: int
    tenant: bytes
    over: bool
    groups: int
    points: int


class _Buckets:
    """The rows of one definition by tenant and shard.

    Attributes:
        tenants: As they are written in JSON; tenant: i32[n], each row's.
        bucket: i32[n], -1: an overflow group.
        count: i64[buckets], their rows; kept: bool[n], whether a row stays.
    """

    def __init__(self, rows: PartialRows, share: Share) -> None:
        self.share = share
        self.tenant, merging, self.tenants = tenants_of(rows.labels, share.shards > 1)
        part = (rows.low & np.uint64(share.shards - 1)).astype(np.int32)
        self.bucket = self.tenant * np.int32(share.shards) + part
        self.bucket[merging] = -1
        self.count = np.zeros(len(self.tenants) * share.shards, np.int64)
        kept = np.empty(len(rows), np.uint8)
        most = np.full(len(self.count), share.most)
        self.over = keep_first(self.bucket, most, self.count, kept) > 0
        self.kept = kept.view(np.bool_)

    def overflow(self, bucket: int) -> Overflow:
        """The overflow group of a bucket."""
        tenant, part = divmod(bucket, self.share.shards)
        return overflow(self.tenants[tenant], self.share, part)


def _by_definition(rows: PartialRows) -> Iterator[tuple[int, int, int]]:
    """(definition, first row, one past the last) of rows in order."""
    steps = (np.flatnonzero(rows.definition[1:] != rows.definition[:-1]) + 1).tolist()
    for first, end in zip([0, *steps], [*steps, len(rows)], strict=True):
        if end > first:
            yield int(rows.definition[first]), first, end


def _in_a_shard(low: U64, share: Share) -> int:
    """The most rows in one shard, of whatever tenants; an upper bound that is quick to find."""
    return int(np.bincount((low & np.uint64(share.shards - 1)).astype(np.intp)).max())


def bounded(rows: PartialRows, shares: Sequence[Share]) -> PartialRows:
    """The rows of one window within the limits; both in order of (definition, group).

    shares: By definition.
    """
    stays = np.ones(len(rows), np.bool_)
    more: list[PartialRows] = []
    for definition, first, end in _by_definition(rows):
        share = shares[definition]
        if end - first <= share.most or _in_a_shard(rows.low[first:end], share) <= share.most:
            continue
        part = rows.slice(first, end)
        found = _Buckets(part, shares[definition])
        if found.over:
            stays[first:end] = found.kept
            more.append(_merging(part, found))
    if not more:
        return rows
    return merged([rows.take(np.flatnonzero(stays)), *more])


def _merging(rows: PartialRows, found: _Buckets) -> PartialRows:
    """The rows that do not stay, as rows of the overflow groups of their buckets."""
    over = np.flatnonzero(~found.kept)
    buckets, which = np.unique(found.bucket[over], return_inverse=True)
    groups = [found.overflow(bucket) for bucket in buckets.tolist()]
    return replace(
        rows.take(over),
        high=np.array([group.high for group in groups], np.uint64)[which],
        low=np.array([group.low for group in groups], np.uint64)[which],
        labels=BytesColumn.of([group.labels for group in groups]).take(which),
    )


def fills(rows: PartialRows, points: I64, shares: Sequence[Share]) -> Iterator[Fill]:
    """The tenants that come near their limits, or are over them, in `bounded` rows of a window.

    points: i64[n], what each row counts.
    """
    for definition, first, end in _by_definition(rows):
        share = shares[definition]
        if end - first < share.near or _in_a_shard(rows.low[first:end], share) < share.near:
            continue
        part = rows.slice(first, end)
        found = _Buckets(part, share)
        merging = found.bucket < 0
        beyond = np.zeros(len(found.tenants), np.int64)
        np.add.at(beyond, found.tenant[merging], points[first:end][merging])
        greatest = np.zeros(len(found.count), np.uint64)
        mine = np.flatnonzero(found.bucket >= 0)
        greatest[found.bucket[mine]] = part.high[mine]  # in order: the last one stays
        of_tenant = found.count.reshape(-1, share.shards)
        for tenant in np.flatnonzero((of_tenant >= share.near).any(axis=1)).tolist():
            parts = slice(tenant * share.shards, (tenant + 1) * share.shards)
            over = (found.count[parts] >= share.most) & bool(beyond[tenant])
            estimate = (found.count[parts] - 1) * (HASHES / (greatest[parts] + 1.0))
            groups = np.where(over, np.maximum(estimate, share.most + 1), found.count[parts])
            window = int(part.level[0]), int(part.end[0])
            is_over = bool(over.any())
            points_over = int(beyond[tenant]) if is_over else 0
            yield Fill(
                definition, *window, found.tenants[tenant], is_over, int(groups.sum()),
                points_over,
            )  # fmt: skip
