"""Rows leave the topology: a record each, or as the codec has it."""

from __future__ import annotations

from streams.codecs import Codec
from streams.operators.batch import Batch, Clock
from streams.operators.stage import Stage
from streams.task.outputs import Output, OutputRows, Outputs, Written, keyed_alike
from streams.task.processor import OutputRecord

ROWS = 16_384
"""Written at once: copies that hold the interpreter's lock stay below a few ms."""


class Sink(Stage):
    """Writes rows to a topic; those without a key go where the task's others go."""

    def __init__(self, name: str, topic: str, codec: Codec, source: str) -> None:
        super().__init__(name)
        self._topic = topic
        self._codec = codec
        self._source = source.encode()
        self._out: list[Output] = []

    def take(self, batch: Batch, clock: Clock) -> None:
        for first in range(0, len(batch), ROWS):
            self._write(batch.slice(first, min(first + ROWS, len(batch))))

    def _write(self, batch: Batch) -> None:
        made = self._codec.encode(batch.columns, len(batch))
        if isinstance(made, Written):
            keyed = made if self._codec.key else keyed_alike(made.values, self._source)
            self._out.append(OutputRows(self._topic, keyed))
            return
        for key, value in made:  # of a codec of a user's own
            record_key = key if self._codec.key else self._source
            self._out.append(OutputRecord(self._topic, None, record_key, value))

    def flush(self, out: Outputs) -> None:
        out += self._out
        self._out = []
