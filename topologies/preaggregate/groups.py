"""The groups and tenants of a task, numbered in the order in which they are first met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn, picked
from topologies.identity.interning import Arrays, Interner, find_all, intern
from topologies.identity.stream import GroupLabels

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


class Groups:
    """Sets of labels, each with its hash, packed: definitions that keep the same share them."""

    def __init__(self) -> None:
        self._labels = Interner()
        self.tenants: list[str] = []
        """By number."""
        self._tenant_numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return self._labels.count

    def number(self, group: GroupLabels) -> int:
        """The number of a group; a new one gets the next."""
        content = np.frombuffer(group.labels, np.uint8).copy()
        self._labels.reserve(1, len(content))
        number = int(
            intern(
                self._labels.arrays(), len(self), np.uint64(group.hi), np.uint64(group.lo), 0,
                content, 0, len(content),
            )
        )  # fmt: skip
        self.grown(number + 1)
        return number

    def tenant(self, name: str) -> int:
        """The number of a tenant; a new one gets the next."""
        number = self._tenant_numbers.setdefault(name, len(self.tenants))
        if number == len(self.tenants):
            self.tenants.append(name)
        return number

    def arrays(self) -> Arrays:
        """What kernels add groups to; then say so (`grown`)."""
        return self._labels.arrays()

    def grown(self, count: int) -> None:
        """Kernels have added groups: there are so many at least."""
        self._labels.count = max(self._labels.count, count)

    def reserve(self, groups: int, size: int) -> None:
        """Make room for this many more, of together at most `size` bytes."""
        self._labels.reserve(groups, size)

    def numbers_of(self, other: Groups) -> I64:
        """By the numbers of `other`, the same groups' numbers here; -1: it is not here."""
        hashes = other._labels.hashes[: len(other)]
        out = np.empty(len(other), np.int64)
        table, held, *_ = self._labels.arrays()
        find_all(table, held, np.ascontiguousarray(hashes), out)
        return out

    def export(self, first: int, last: int) -> tuple[bytes, bytes, bytes, bytes]:
        """The groups numbered `first` to `last` - 1, for the state; see `load`."""
        return self._labels.export(first, last)

    def load(self, parts: Sequence[Sequence[bytes]]) -> None:
        """Take the groups of exported parts, each behind those before."""
        self._labels.load_all(parts)

    def hashes(self, numbers: npt.NDArray[np.int32]) -> tuple[U64, U64]:
        """Both halves of the hashes of these groups."""
        chosen = self._labels.hashes[numbers]
        return chosen[:, 0].copy(), chosen[:, 1].copy()

    def labels(self, numbers: npt.NDArray[np.int32]) -> BytesColumn:
        """The labels of these groups."""
        return picked(self._labels.data, self._labels.ends, numbers.astype(np.int64))
