"""The dead-letter record: the bytes of a record that cannot be processed, and why."""

from __future__ import annotations

from streams.task.events import Poisoned, TaskId
from streams.task.processor import InputRecord, OutputRecord

_REASON_BYTES = 4_000


def dead_letter(topic: str, task: TaskId, record: InputRecord, cause: Poisoned) -> OutputRecord:
    """The original value and headers under the key `topic/partition/offset`, with the reason."""
    said = _said(task, cause.code, cause.reason)
    return OutputRecord(topic, None, _source(task, record), record.value, said + record.headers)


def dead_row(
    topic: str, task: TaskId, record: InputRecord, line: int, row: bytes, code: str, reason: str
) -> OutputRecord:
    """One row of a record whose other rows count: as a record, and its line in a header."""
    where = (("line", str(line).encode()),)
    said = _said(task, code, reason) + where
    return OutputRecord(topic, None, _source(task, record), row, said + record.headers)


def _source(task: TaskId, record: InputRecord) -> bytes:
    return f"{task.topic}/{task.partition}/{record.offset}".encode()


def _said(task: TaskId, code: str, reason: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("reason", reason.encode()[:_REASON_BYTES]),
        ("code", code.encode()),
        ("topology", task.topology.encode()),
    )
