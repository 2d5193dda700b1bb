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
from streams.assignment.claims import Claim, Task, Told

_PROTOCOL_VERSION = 0


class Assignor(AbstractPartitionAssignor):
    """Tells the group what this process has, and if it leads the group decides for all.

    `claim` is asked whenever the group forms anew, after all tasks came to rest. `told` gets what
    the group says beside the partitions, before the listener hears of these. `records` says how
    many the log has of each partition, as far as this process has looked.
    """

    name = "tidemill"  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        claim: Callable[[], Claim],
        told: Callable[[Told], None],
        records: Callable[[], Mapping[Task, int]],
    ) -> None:
        self._claim = claim
        self._told = told
        self._records = records

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
        shares = assign(group, partitions, self._records())
        endpoints = {member.name: member.claim.endpoint for member in group}
        where = {
            task: endpoints[name]
            for name, share in shares.items()
            for task in share.running
            if endpoints[name]
        }
        for name, share in shares.items():
            by_topic: dict[str, list[int]] = defaultdict(list)
            for topic, partition in share.running:
                by_topic[topic].append(partition)
            found[name] = ConsumerProtocolMemberAssignment(
                _PROTOCOL_VERSION,
                sorted(by_topic.items()),
                Told(frozenset(share.standbys), where).encode(),
            )
        return found

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Take in what the group says; the partitions come to the consumer's listener."""
        self._told(Told.decode(assignment.user_data or b""))
