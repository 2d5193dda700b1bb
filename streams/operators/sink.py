"""Rows leave the topology: a record each, or as the codec has it."""

from __future__ import annotations

from streams.codecs import Codec
from streams.operators.batch import Batch, Clock
from streams.operators.stage import Stage
from streams.task.processor import OutputRecord


class Sink(Stage):
    """Writes rows to a topic; those without a key go where the task's others go."""

    def __init__(self, name: str, topic: str, codec: Codec, source: str) -> None:
        super().__init__(name)
        self._topic = topic
        self._codec = codec
        self._source = source.encode()
        self._out: list[OutputRecord] = []

    def take(self, batch: Batch, clock: Clock) -> None:
        keyed = bool(self._codec.key)
        for key, value in self._codec.encode(batch.columns, len(batch)):
            record_key = key if keyed else self._source
            self._out.append(OutputRecord(self._topic, None, record_key, value))

    def flush(self, out: list[OutputRecord]) -> None:
        out += self._out
        self._out = []
