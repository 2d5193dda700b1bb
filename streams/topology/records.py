"""The Processor API: records as they are, and processors of one's own that read and write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from streams.schema import Schema, TopologyError
from streams.task.processor import ProcessorFactory
from streams.topology import nodes
from streams.topology.topics import Topic

if TYPE_CHECKING:
    from streams.topology.builder import StreamsBuilder


class Records:
    """Records of topics."""

    def __init__(self, builder: StreamsBuilder, node: nodes.RecordSource) -> None:
        self._builder = builder
        self._node = node

    def process(
        self,
        make: ProcessorFactory,
        *,
        name: str,
        writes: Sequence[Topic] = (),
        stores: Mapping[str, str] | None = None,
    ) -> None:
        """Run a `streams.task.processor.Processor` on each partition, exactly once.

        `make` gives one for (topic, partition). `name` is that of its tasks, without the builder's:
        of their consumer group, changelog and transactional ids. `writes`: all topics that it
        writes to, but for its own input; another is an error that stops the worker. `stores`: what
        it keeps, and what that means, in words: a version of the topology that gives one of them
        another meaning is refused the state of this one.
        """
        if name != name.lower():
            raise TopologyError(f"process {name!r}: its tasks are called so; use lower case")
        names = [topic.name for topic in writes]
        if len(set(names)) < len(names):
            raise TopologyError(f"process {name!r}: a topic is twice in {', '.join(names)}")
        self._builder.add(
            nodes.RecordProcessor, name, name, False, schema=Schema(), parents=(self._node,),
            make=make, writes=tuple(writes), stores=dict(stores or {}),
        )  # fmt: skip
