"""The task manager's task: the progress topic in, the tasks topic and an account of units out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from streams.task.processor import InputRange, InputRecord, OutputRecord
from topologies.epochs import Epoch
from topologies.manager.units import Closed, Manager, Report, SourceSealed, Span, Violation

TASKS = "telemetry.tasks"
DEAD_LETTER = "telemetry.dead-letter"
STORES = {"units": "spans of units, format 1"}
"""What the task keeps, as its topology declares it."""
_META = b"meta"


class ManagerProcessor:
    """A `streams.task.processor.Processor` over `telemetry.progress`."""

    def __init__(self) -> None:
        self._manager = Manager()
        self._outputs: list[OutputRecord] = []
        self._position: int | None = None
        self._told: dict[tuple[str, str], int] = {}

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in blocks:
            if key == _META:
                stored = json.loads(value)
                self._position = stored["position"]
                self._manager.violations = stored["violations"]
                self._manager.whole = stored.get("whole", True)
                for domain, pane, span, told in stored["spans"]:
                    span["epochs"] = {t: Epoch(**epoch) for t, epoch in span["epochs"].items()}
                    self._manager.spans[domain, pane] = Span(**span)
                    self._told[domain, pane] = told

    def replay_from(self) -> int | None:
        return self._position

    def process(self, records: Sequence[InputRecord]) -> int:
        if self._position is None and records:
            self._position = records[0].offset
            self._manager.whole = self._position == 0
        for record in records:
            report = report_of(record)
            if report is None:
                continue
            for violation in self._manager.step(report):
                self._outputs.append(self._violation(violation, record))
            self._tell(report.domain, report.pane)
        return len(records)

    def _tell(self, domain: str, pane: str) -> None:
        """Say on the tasks topic how far a domain's units are done, when that moves."""
        span = self._manager.spans[domain, pane]
        done = span.done
        if self._told.get((domain, pane)) == done:
            return
        self._told[domain, pane] = done
        body = {"kind": "live", "state": "done", "domain": domain, "pane": pane, "until": done,
                "windows": span.windows, "rows": span.rows}  # fmt: skip
        self._outputs.append(
            OutputRecord(TASKS, 0, f"live|{domain}|{pane}".encode(), json.dumps(body).encode())
        )

    def _violation(self, violation: Violation, record: InputRecord) -> OutputRecord:
        headers = (("code", b"audit"), ("reason", violation.text.encode()))
        key = f"telemetry.progress/0/{record.offset}".encode()
        return OutputRecord(DEAD_LETTER, 0, key, record.value, headers)

    def needs(self) -> InputRange | None:
        return None

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        raise AssertionError("the manager never asks for past records")

    def outputs(self) -> list[OutputRecord]:
        drained, self._outputs = self._outputs, []
        return drained

    def urgent(self) -> bool:
        return False

    def before_commit(self, position: int) -> list[OutputRecord]:
        return []

    def idle(self, now_ms: int) -> list[OutputRecord]:
        return []

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        spans = [
            [domain, pane, asdict(span), self._told.get((domain, pane))]
            for (domain, pane), span in self._manager.spans.items()
        ]
        body = {
            "position": position,
            "violations": self._manager.violations,
            "whole": self._manager.whole,
            "spans": spans,
        }
        return {_META: json.dumps(body).encode()}

    def stats(self) -> dict[str, Any]:
        """Units by domain and pane key, and how many violations the audit has found."""
        return {"violations": self._manager.violations, "units": self._manager.stats()}


def report_of(record: InputRecord) -> Report | None:
    """The report in a record of the progress topic; None for kinds the manager does not read."""
    body: dict[str, Any] = json.loads(record.value or b"{}")
    if body.get("kind") == "seal":
        return SourceSealed(
            body["domain"], body["source"], Epoch(body["sources"], *body["epoch"]), body["pane"],
            body["until"], body["offset"], body["idle"], body["watermark"], body["holds"],
        )  # fmt: skip
    if body.get("kind") == "closed":
        return Closed(
            body["domain"], body["reducer"], body["pane"], body["after"], body["until"],
            body["windows"], body["rows"],
        )  # fmt: skip
    return None
