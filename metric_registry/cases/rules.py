"""What is wrong with a test whose fields are valid, by the definition that it is of."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from metric_registry.cases.models import CaseDocument, Histogram, Point, Stream
from metric_registry.cases.times import Moment, render
from metric_registry.derive import NamePattern
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.durations import SECOND
from metric_registry.fields import Problem
from metric_registry.granularities import is_calendar, step_of, text_of
from metric_registry.plan import ResolvedDefinition
from metric_registry.syntax.nodes import Path
from metric_registry.values import granularity

_STATED = ("value", "histogram")


Tested = ResolvedDefinition | ResolvedDerived


def problems(
    case: CaseDocument, definition: Tested, inputs: Sequence[ResolvedDefinition]
) -> Iterator[Problem]:
    """Everything that is wrong with a test, beside what its own fields tell.

    inputs: Those that points are counted by: the definition, or what it is derived from.
    """
    for rule in (_times, _steps, _points, _expects):
        yield from rule(case)
    yield from _streams(case, definition, inputs)
    for rule in (_windows, _labels, _derived):
        yield from rule(case, definition)


def unknown_metric(name: str, known: Iterable[str]) -> Problem:
    """TM601."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return Problem(
        code="TM601",
        message=f"no definition is named `{name}`",
        path=("metric",),
        help=_offer(near, names),
        replacement=near[0] if near else None,
    )


def _offer(near: list[str], known: Iterable[str]) -> str:
    listed = ", ".join(f"`{one}`" for one in sorted(known)) or "none"
    return (f"did you mean `{near[0]}`?" if near else f"there are {listed}")[:400]


def _times(case: CaseDocument) -> Iterator[Problem]:
    """TM604: nothing happens before 1970, which OTLP cannot say."""
    every: list[tuple[Path, Moment | None]] = []
    for at, step in enumerate(case.input):
        here: Path = ("input", at)
        every += [((*here, "received"), step.received), ((*here, "watermark"), step.watermark)]
        for name, points in (step.send or {}).items():
            for time, point in points.items():
                path = (*here, "send", name, time.text)
                every += [(path, time), ((*path, "start"), point.start)]
    every += [(("streams", name, "start"), one.start) for name, one in case.streams.items()]
    for path, moment in every:
        if moment is not None and moment.after(case.start) <= 0:
            message = f"`{moment.text}` is before 1970"
            key = len(path) == 5  # of what is sent; others are values
            yield Problem(
                code="TM604", message=message, path=path, on_key=key, help="begin the test later"
            )


def _steps(case: CaseDocument) -> Iterator[Problem]:
    for at, step in enumerate(case.input):
        if (step.send is None) == (step.watermark is None):
            message = "a step sends points, or moves the watermark"
            message += ": this one says both" if step.send else ": this one says neither"
            advice = "write `send: {...}` and `watermark: ...` as steps of their own"
            yield Problem(code="TM608", message=message, path=("input", at), help=advice)
        if step.received is not None and step.send is None:
            message = "only what is sent is received"
            path = ("input", at, "received")
            yield Problem(code="TM608", message=message, path=path, help="remove it")
        for name in step.send or ():
            if name not in case.streams:
                near = difflib.get_close_matches(name, case.streams, n=1)
                yield Problem(
                    code="TM603",
                    message=f"there is no stream `{name}`",
                    path=("input", at, "send", name),
                    on_key=True,
                    help=_offer(near, case.streams),
                    replacement=near[0] if near else None,
                )


def _streams(
    case: CaseDocument, definition: Tested, inputs: Sequence[ResolvedDefinition]
) -> Iterator[Problem]:
    """TM605, TM607, TM609."""
    sent = {name for step in case.input for name in step.send or ()}
    for name, stream in case.streams.items():
        path = ("streams", name)
        if name not in sent:
            message = f"nothing of the stream `{name}` is sent"
            advice = "send some of its points, or remove it"
            yield Problem(code="TM609", message=message, path=path, on_key=True, help=advice)
        if (stream.instrument == "gauge") != (stream.temporality is None):
            gauge = stream.instrument == "gauge"
            yield Problem(
                code="TM607",
                message="a gauge has no temporality"
                if gauge
                else f"the temporality of the {stream.instrument} `{name}` is missing",
                path=(*path, "temporality") if gauge else path,
                on_key=True,
                help="remove it, or say which `instrument` it is"
                if gauge
                else "add `temporality: cumulative` (counts since its start) or `delta`",
            )
        whys = [_unread(stream, one) for one in inputs]
        why = None if None in whys else max(whys, key=lambda each: not (each and each[0]))
        if why is not None and not stream.ignored:
            at, message, advice = why
            yield Problem(code="TM605", message=message, path=(*path, *at), help=advice)
        if why is None and stream.ignored:
            yield Problem(
                code="TM605",
                message=f"`{name}` is said to be ignored, and `{definition.name}` reads it",
                path=(*path, "ignored"),
                help="remove `ignored`, or change what the definition should leave out",
            )


def _derived(case: CaseDocument, definition: Tested) -> Iterator[Problem]:
    """TM606: a derived row is computed when it is asked for, and is a number."""
    for size, rows in case.expect.items() if isinstance(definition, ResolvedDerived) else ():
        for at, row in enumerate(rows):
            for name in ("histogram", "points", "late", "revision", "deleted"):
                if getattr(row, name) not in (None, False):
                    yield Problem(
                        code="TM606",
                        message=f"a derived row has no `{name}`, only a value",
                        path=("expect", size, at, name),
                        on_key=True,
                        help="expect it of the definitions that it is derived from",
                    )


def _unread(
    stream: Stream, definition: ResolvedDefinition
) -> tuple[tuple[str, ...], str, str] | None:
    """Where a stream says that the definition does not read it, why, and the way out."""
    named = stream.metric in definition.sources
    if not named and not any(NamePattern.of(p).matches(stream.metric) for p in definition.patterns):
        wanted = [*definition.sources, *definition.patterns]
        near = difflib.get_close_matches(stream.metric, wanted, n=1)
        return (
            ("metric",),
            f"`{definition.name}` does not read `{stream.metric}`",
            f"{_offer(near, wanted)}{_ON_PURPOSE}",
        )
    if definition.matches(lookup_of(stream)):
        return None
    wanted = ", ".join(f"{name} is {' or '.join(values)}" for name, values in definition.where)
    return (
        (),
        f"`{definition.name}` does not read this stream: it asks that {wanted}",
        f"correct its attributes{_ON_PURPOSE}",
    )


_ON_PURPOSE = "; write `ignored: true` if the test shows that it does not count"


def lookup_of(stream: Stream) -> Callable[[str], str | None]:
    """A stream's attributes as definitions ask for them: the point's, then the resource's."""

    def found(attributes: Mapping[str, str | bool | int | float], name: str) -> str | None:
        value = attributes.get(name)
        return value if value is None or isinstance(value, str) else json.dumps(value)

    def lookup(name: str) -> str | None:
        if name == "tenant":
            return stream.tenant
        if name.startswith("resource."):
            inner = found(stream.resource, name.removeprefix("resource."))
            if inner is not None:
                return inner
        own = found(stream.attributes, name)
        return found(stream.resource, name) if own is None else own

    return lookup


def _points(case: CaseDocument) -> Iterator[Problem]:
    """TM607: what is sent of a stream is what its instrument has."""
    for at, step in enumerate(case.input):
        for name, points in (step.send or {}).items():
            stream = case.streams.get(name)
            for time, point in points.items() if stream else ():
                wrong = _other_shape(stream.instrument, point) if stream else ""
                if wrong:
                    yield Problem(
                        code="TM607",
                        message=f"a point of `{name}` at `{time.text}`: {wrong}",
                        path=("input", at, "send", name, time.text),
                        on_key=True,
                        help=_SHAPES[stream.instrument if stream else "gauge"],
                    )


_SHAPES = {
    "gauge": "write `{10s: 1.5}`",
    "sum": "write `{10s: 1.5}`",
    "histogram": "write `{10s: {explicit_bounds: [1, 5], bucket_counts: [3, 0, 1], sum: 9}}`",
    "exponential_histogram": "write `{10s: {scale: 0, positive: {bucket_counts: [3, 1]}, sum: 9}}`",
}


def _other_shape(instrument: str, point: Point) -> str:
    """What keeps a point from being of an instrument; empty: nothing does."""
    has = {name for name in Histogram.model_fields if getattr(point, name) is not None}
    if instrument in ("gauge", "sum"):
        return f"`{min(has)}` is of a histogram, and this is a {instrument}" if has else ""
    if point.value is not None:
        return f"a number is no point of {_a(instrument)}"
    if not has:
        return ""
    explicit = {"explicit_bounds", "bucket_counts"}
    exponential = {"scale", "zero_count", "zero_threshold", "positive", "negative"}
    other, needed = (exponential, explicit) if instrument == "histogram" else (explicit, {"scale"})
    if has & other:
        return f"`{min(has & other)}` is no field of {_a(instrument)}"
    if needed - has:
        return f"`{min(needed - has)}` is missing"
    bounds, counts = point.explicit_bounds or [], point.bucket_counts or []
    if instrument == "histogram" and len(counts) != len(bounds) + 1:
        return f"there are {len(bounds) + 1} buckets to {len(bounds)} bounds, and not {len(counts)}"
    every = [*counts, *(c for side in (point.positive, point.negative) if side
                        for c in side.bucket_counts)]  # fmt: skip
    if min((*every, point.count or 0, point.zero_count or 0)) < 0:
        return "a count is not below zero"
    return ""


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] == "e" else f"a {noun}"


def _expects(case: CaseDocument) -> Iterator[Problem]:
    """TM602."""
    if not case.expect:
        yield Problem(
            code="TM602",
            message=f"the test `{case.name}` expects nothing",
            path=("expect" if "expect" in case.model_fields_set else "name",),
            help="list the rows of a granularity: `expect: {1m: [{end: 1m, value: 3}]}`, or "
            "`expect: {1m: []}` for none",
        )
    for size, rows in case.expect.items():
        for at, row in enumerate(rows):
            stated = [name for name in _STATED if getattr(row, name) is not None]
            path = ("expect", size, at)
            if row.deleted and (stated or row.points or row.late):
                message = "a row that is taken away has no value"
                advice = "state its `end`, `labels` and `revision`"
                yield Problem(code="TM606", message=message, path=path, help=advice)
            elif len(stated) != 1 and not row.deleted:
                message = "a row has a value, or a histogram"
                code = "TM606" if stated else "TM602"
                advice = "add `value: ...`, or `histogram: {...}`"
                yield Problem(code=code, message=message, path=path, help=advice)


def _windows(case: CaseDocument, definition: Tested) -> Iterator[Problem]:
    """TM606: the definition has the granularities, and windows that end then."""
    offered = {text_of(size): size for size in definition.granularities}
    for size, rows in case.expect.items():
        text = text_of(granularity(size))
        if text not in offered:
            yield Problem(
                code="TM606",
                message=f"`{definition.name}` has no windows of {text}",
                path=("expect", size),
                on_key=True,
                help=f"there are {', '.join(f'`{one}`' for one in offered)}",
            )
            continue
        if is_calendar(offered[text]):
            continue
        step = step_of(offered[text]) * SECOND
        for at, row in enumerate(rows):
            off = row.end.after(case.start) % step
            if off:
                before = row.end.after(case.start) - off - case.start
                yield Problem(
                    code="TM606",
                    message=f"no window of {text} ends at {render(before + off)}",
                    path=("expect", size, at, "end"),
                    help=f"one ends at `{render(before)}`, the next at `{render(before + step)}`",
                )


def _labels(case: CaseDocument, definition: Tested) -> Iterator[Problem]:
    """TM606: rows have the labels that the definition keeps."""
    kept = (*definition.group_by, "otel.metric.overflow")
    for size, rows in case.expect.items():
        for at, row in enumerate(rows):
            for name in row.labels:
                if name not in kept:
                    near = difflib.get_close_matches(name, kept, n=1)
                    yield Problem(
                        code="TM606",
                        message=f"`{definition.name}` keeps no attribute `{name}`",
                        path=("expect", size, at, "labels", name),
                        on_key=True,
                        help=_offer(near, kept[:-1]),
                        replacement=near[0] if near else None,
                    )
