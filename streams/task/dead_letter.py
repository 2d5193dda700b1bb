"""The dead-letter record: the bytes of a record that cannot be processed, and why."""

from __future__ import annotations

from streams.task.events import Poisoned, TaskId
from streams.task.processor import InputRecord, OutputRecord

_REASON_BYTES = 4_000


def dead_letter(topic: str, task: TaskId, record: InputRecord, cause: Poisoned) -> OutputRecord:
    """The original value and headers under the key `topic/partition/offset`, with the reason."""
    source = f"{task.topic}/{task.partition}/{record.offset}".encode()
    headers = (
        ("reason", cause.reason.encode()[:_REASON_BYTES]),
        ("code", cause.code.encode()),
        ("topology", task.topology.encode()),
        *record.headers,
    )
    return OutputRecord(topic, None, source, record.value, headers)
