"""Word count: how often each word occurs in the lines of a topic.

    .venv/bin/python -m broker --data /tmp/words --port 9092 &
    .venv/bin/python -m examples.word_count --bootstrap 127.0.0.1:9092

Topics `lines` (a line of text a record) and `counts` (JSON, keyed by the word; the latest counts).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from examples.command import main
from streams.codecs import Text
from streams.schema import Schema, string
from streams.topology.builder import StreamsBuilder
from streams.topology.plan import Plan
from streams.values import Values

TOPICS = {"lines": 2, "counts": 2}


def words(columns: Mapping[str, Values]):
    """A row a word, and the row of the line it comes from."""
    split = [line.split() for line in columns["line"].texts]
    found = [word.lower() for line in split for word in line]
    return {"word": found}, np.repeat(np.arange(len(split)), [len(line) for line in split])


def topology() -> Plan:
    builder = StreamsBuilder("word-count")
    lines = builder.stream("lines", Text("line"), partitions=TOPICS["lines"])
    counted = lines.map_batches(words, Schema(word=string)).group_by("word").count()
    counted.to("counts")
    return builder.build()


if __name__ == "__main__":
    main(topology(), TOPICS)
