"""Tests of definitions: each is run by the product's own topology, without a broker.

What a test sends is cut into records as the edge does it, and lies on a log in memory; the tasks of
a worker read it. Each tenant's resource has a partition of its own, so what one sends makes nothing
late that another one sends; `watermark` is an idle mark on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from metric_registry.cases.comparing import Found, compare
from metric_registry.cases.models import CaseDocument, Step
from metric_registry.cases.reading import Case
from metric_registry.cases.report import Outcome
from metric_registry.derived.resolved import ResolvedDerived
from tidemill.case_requests import origin_of, requests
from tidemill.derived_rows import derived_rows
from tidemill.trial import Trial


def run(case: Case) -> Outcome:
    """What becomes of a test."""
    rows, notes = published(case)
    return Outcome(case, tuple(compare(case, rows)), tuple(notes))


def published(case: Case) -> tuple[list[Found], list[str]]:
    """Every revision of every row that a test's input makes, and what ledgers say of its points."""
    trial = trial_of(case)
    rows = list(trial.rows())
    notes = list(_notes(trial, case.document))
    if isinstance(case.definition, ResolvedDerived):
        return derived_rows(case.definition, rows), notes
    return [row.found for row in rows], notes


def trial_of(case: Case) -> Trial:
    """The product after everything that the test lets happen."""
    document = case.document
    named = [document.streams[name] for step in document.input for name in step.send or ()]
    partition = {o: at for at, o in enumerate(dict.fromkeys(map(origin_of, named)))}
    trial = Trial(case.inputs, len(partition))
    newest = 0
    for step in document.input:
        newest = max(newest, _newest(document, step))
        if step.watermark is not None:
            trial.mark(step.watermark.after(document.start))
            continue
        received = newest if step.received is None else step.received.after(document.start)
        for origin, request in requests(document, step):
            trial.give(partition[origin], request, origin[0], received)
    if document.close:
        trial.close(newest)
    trial.run()
    return trial


def _newest(document: CaseDocument, step: Step) -> int:
    """The newest time that a step names, unix ns."""
    moments = [time for points in (step.send or {}).values() for time in points]
    moments += [] if step.watermark is None else [step.watermark]
    moments += [] if step.received is None else [step.received]
    return max(moment.after(document.start) for moment in moments)


_TOLD = {
    "beyond": "came later than `corrections` and counts nowhere",
    "rejected": "was more than two minutes ahead of its receipt, and rejected",
    "negative": "of a monotonic sum was below zero, and rejected",
    "contradictory": "contradicts itself, and counts nowhere",
}


def _notes(trial: Trial, document: CaseDocument) -> Iterator[str]:
    """What the ledgers of the tasks say that explains a number which is not as it was expected."""
    ledgers = trial.ledgers()
    for field, words in _TOLD.items():
        number = sum(each[field] for each in ledgers)
        if number:
            yield f"{number} point{'s' if number > 1 else ''}: each {words}"
    repeats = sum(each["repeats"] for each in ledgers)
    if repeats:
        sent_before = f"{repeats} request{'s' if repeats > 1 else ''}"
        yield f"{sent_before}: each was sent before, and counts once"
    for refused in sorted(
        {(one["reason"], one["detail"]) for each in ledgers for one in each["refused"]}
    ):
        reason, detail = refused
        yield f"`{document.metric}` cannot count a stream: {reason} ({detail})"
    for reason in trial.dead_letters():
        yield f"a request could not be processed: {reason}"
