"""What streams belong to, kept with the state: a restart looks nothing of it up again.

Which definitions count a stream, and in which groups, follows from the stream and the definitions
in force. To find it out anew takes two microseconds a stream; to read what was found, a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cramjam
import numpy as np
import numpy.typing as npt

from streams.aggregates.encoding import pack, unpack
from streams.errors import Fatal
from topologies.preaggregate.columns import Members
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.ledger import Refusal

MATCHING = 2
"""Of the rules by which streams are matched. With others every stream is matched anew."""
MEMBERS_A_BLOCK = 1 << 16
_NAME, _PARTS = "members", 10

I64 = npt.NDArray[np.int64]
Refused = Mapping[int, Sequence[Refusal]]
"""By series, why definitions refuse it."""


class Memberships:
    """Collects what is found of new streams, and writes it down once, in blocks that stay."""

    def __init__(self) -> None:
        self._new: list[Members] = []
        self._refused: list[tuple[int, int]] = []
        self._refusals: dict[Refusal, int] = {}
        self._groups = 0
        """So many of the task's are in blocks."""
        self._blocks: list[int] = []
        """Numbers of the blocks that stay."""
        self._gone: list[int] = []
        self._next = 0

    def begin(self) -> None:
        """All streams are matched anew: what was written is of no use."""
        self._new, self._refused, self._refusals, self._groups = [], [], {}, 0
        self._gone += self._blocks
        self._blocks = []

    def add(self, members: Members, refused: Refused) -> None:
        """Of the next streams, in order of slot."""
        self._new.append(members)
        for series, refusals in refused.items():
            for refusal in refusals:
                number = self._refusals.setdefault(refusal, len(self._refusals))
                self._refused.append((series, number))

    def changed_blocks(self, groups: Groups) -> Iterable[tuple[int, bytes | None]]:
        """(number, block) of what is new since the last call; None: one is gone."""
        yield from ((number, None) for number in self._gone)
        self._gone = []
        if not self._new:
            return
        members = self._new[0] if len(self._new) == 1 else Members.join(self._new)
        refused = np.array(self._refused, np.int64).reshape(-1, 2)
        self._new, self._refused = [], []
        for first in range(0, max(1, len(members.slot)), MEMBERS_A_BLOCK):
            part = members.slice(first, first + MEMBERS_A_BLOCK)
            if not len(part.slot) and not len(refused):
                continue
            yield self._next, self._encoded(part, refused, groups)
            refused = refused[:0]
            self._blocks.append(self._next)
            self._next += 1

    def _encoded(self, part: Members, refused: I64, groups: Groups) -> bytes:
        until = max(self._groups, int(part.group.max(initial=-1)) + 1)
        parts = (
            part.slot.astype("<i4").tobytes(),
            part.definition.astype("<u2").tobytes(),
            part.kind.tobytes(),
            part.group.astype("<i4").tobytes(),
            part.tenant.astype("<i4").tobytes(),
            refused.astype("<i8").tobytes(),
            *groups.export(self._groups, until),
        )
        self._groups = until
        return bytes(cramjam.zstd.compress(pack(_NAME, MATCHING, len(part.slot), *parts), 1))

    def to_meta(self, groups: Groups) -> dict[str, Any]:
        """What blocks refer to."""
        return {
            "matching": MATCHING,
            "refusals": [list(refusal) for refusal in self._refusals],
            "tenants": groups.tenants,
        }

    def restore(
        self,
        meta: Mapping[str, Any],
        blocks: Mapping[int, bytes],
        groups: Groups,
        streams: int,
        slots: int,
    ) -> tuple[Members, dict[int, list[Refusal]]] | None:
        """What was added, all together, and `groups` as they were; None: match all anew.

        Raises:
            Fatal: It is not about so many `streams` and `slots`, or not about these groups.
        """
        found = sorted(blocks.items())
        self._blocks = [number for number, _ in found]
        self._next = max(self._blocks, default=-1) + 1
        if meta.get("matching") != MATCHING:
            self.begin()
            return None
        refusals = [Refusal(*each) for each in meta["refusals"]]
        self._refusals = {refusal: number for number, refusal in enumerate(refusals)}
        for tenant in meta["tenants"]:
            groups.tenant(tenant)
        columns: list[Members] = []
        labels: list[list[bytes]] = []
        refused: dict[int, list[Refusal]] = {}
        for _, block in found:
            raw = bytes(cramjam.zstd.decompress(block))
            _, parts = unpack(_NAME, MATCHING, raw, _PARTS)
            slot, definition, kind, group, tenant, pairs = parts[:6]
            labels.append(parts[6:])
            columns.append(
                Members(
                    np.frombuffer(slot, "<i4").astype(np.int64),
                    np.frombuffer(definition, "<u2").astype(np.uint16),
                    np.frombuffer(kind, np.uint8),
                    np.frombuffer(group, "<i4").astype(np.int32),
                    np.frombuffer(tenant, "<i4").astype(np.int64),
                )
            )
            said: Any = np.frombuffer(pairs, "<i8").reshape(-1, 2).tolist()
            for series, number in said:
                refused.setdefault(int(series), []).append(refusals[int(number)])
        groups.load(labels)
        self._groups = len(groups)
        members = Members.join(columns)
        inside = (
            _within(members.slot, slots)
            and _within(members.group, len(groups))
            and _within(members.tenant, len(groups.tenants))
            and bool((np.diff(members.slot) >= 0).all())
            and all(0 <= series < streams for series in refused)
        )
        if not inside:
            raise Fatal("what streams belong to is damaged", "restore the state from the log")
        return members, refused


def _within(numbers: npt.NDArray[Any], count: int) -> bool:
    return not len(numbers) or bool(numbers.min() >= 0 and numbers.max() < count)
