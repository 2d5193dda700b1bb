"""The group's assignor, as aiokafka (0.14) wants it; what it decides is in `streams/assignment`."""

# aiokafka ships no types, and declares class methods where it calls methods, and a property
# where a name does.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from streams.assignment.assign import Member, assign
from streams.assignment.claims import Claim, Task, decode_standbys, encode_standbys

_PROTOCOL_VERSION = 0


class Assignor(AbstractPartitionAssignor):
    """Tells the group what this process has, and if it leads the group decides for all.

    `claim` is asked whenever the group forms anew, after all tasks came to rest. `follow` is told
    the tasks whose state is to be followed here, before the listener hears of partitions.
    """

    name = "tidemill"  # pyright: ignore[reportAssignmentType]

    def __init__(
        self, claim: Callable[[], Claim], follow: Callable[[frozenset[Task]], None]
    ) -> None:
        self._claim = claim
        self._follow = follow

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member says when it joins."""
        return ConsumerProtocolMemberMetadata(
            _PROTOCOL_VERSION, sorted(topics), self._claim().encode()
        )

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """What each member gets. Topics that are gone are nobody's."""
        group = [
            Member(name, frozenset(said.subscription), Claim.decode(said.user_data, name))
            for name, said in members.items()
        ]
        topics = {topic for member in group for topic in member.topics}
        partitions = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        found: dict[str, ConsumerProtocolMemberAssignment] = {}
        for name, share in assign(group, partitions).items():
            by_topic: dict[str, list[int]] = defaultdict(list)
            for topic, partition in share.running:
                by_topic[topic].append(partition)
            found[name] = ConsumerProtocolMemberAssignment(
                _PROTOCOL_VERSION, sorted(by_topic.items()), encode_standbys(share.standbys)
            )
        return found

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Take in what is to be followed; the partitions come to the consumer's listener."""
        self._follow(decode_standbys(assignment.user_data or b""))
