"""Drafts: from what was seen to definitions that somebody could begin with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from metric_registry.drafts.aggregate_words import Advice, advice_for
from metric_registry.drafts.attribute_words import Choice, choose
from metric_registry.drafts.seen import Seen, SeenMetric
from metric_registry.drafts.unit_words import unit_of
from metric_registry.durations import SECOND
from metric_registry.durations import render as duration
from metric_registry.names import LONGEST_ESCAPED, TABLES, escaped_length, for_readers

_FINEST = (10, 30, 60, 300, 900, 3600)
"""Seconds; the finest window that has a point of each stream."""
_UNKNOWN_FINEST = 60
_GRACES = (10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_./-]+")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_NO_TEXT = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))
_ROOM = 24
"""Bytes of a name that are left for what is put behind it."""
_SHOWN = 4
"""Values of an attribute that are told."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A definition, and what it was concluded from: `evidence` are lines of comment."""

    name: str
    metric: str
    instrument: str | None
    unit: str
    description: str
    kept: tuple[str, ...]
    granularities: tuple[str, ...]
    grace: str | None
    aggregate: dict[str, object]
    evidence: tuple[str, ...]

    def text(self, owner: str) -> str:
        """As a YAML document, without the dashes in front of it."""
        source = f"metric: {_scalar(self.metric)}, unit: {_scalar(self.unit)}"
        source += f", instrument: {self.instrument}" if self.instrument else ""
        time = f"granularities: [{', '.join(self.granularities)}]"
        time += f", grace: {self.grace}" if self.grace else ""
        aggregate = ", ".join(f"{name}: {_flow(value)}" for name, value in self.aggregate.items())
        lines = [
            *(f"# {line}".rstrip() for line in self.evidence),
            "apiVersion: tidemill/v1",
            "kind: Metric",
            f"name: {_scalar(self.name)}",
            f"description: {_scalar(self.description)}",
            f"owner: {_scalar(owner)}",
            f"source: {{{source}}}",
            f"space: {{keep: {_flow([*self.kept])}}}",
            f"time: {{{time}}}",
            f"aggregate: {{{aggregate}}}",
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Undrafted:
    """A metric of which there is no draft, and why."""

    metric: str
    why: str


@dataclass(frozen=True, slots=True)
class Drafts:
    """What became of all metrics, in order of their names."""

    drafts: tuple[Draft, ...]
    undrafted: tuple[Undrafted, ...]

    def text(self, owner: str) -> str:
        """A file of definitions; those of which there is no draft are comments at its end."""
        documents = "---\n".join(draft.text(owner) for draft in self.drafts)
        if not self.undrafted:
            return documents
        without = [f"# {_told(one.metric)}: {one.why}" for one in self.undrafted]
        return documents + "\n".join(["", "# Without a draft:", *without]) + "\n"


def draft(seen: Seen) -> Drafts:
    """Definitions for all that can be rolled up; they have no finding of a check."""
    drafts: list[Draft] = []
    undrafted: list[Undrafted] = []
    taken: set[str] = {for_readers(name) for name in TABLES}
    for metric in seen.metrics:
        try:
            drafts += _drafts_of(metric, _grace(seen.behind_ns), taken)
        except ValueError as error:
            undrafted.append(Undrafted(metric.name, str(error)))
    return Drafts(tuple(drafts), tuple(undrafted))


def _drafts_of(metric: SeenMetric, grace: str | None, taken: set[str]) -> Iterator[Draft]:
    if not _writable(metric.name):
        raise ValueError("its name cannot be written in a definition")
    unit, how = unit_of(metric)
    advices = advice_for(metric, unit)
    choices = [
        one
        for one in choose(metric)
        if _writable(one.attribute.name) and one.attribute.name != "tenant"
    ]
    evidence = tuple(_evidence(metric, unit, how, choices))
    for at, each in enumerate(advices):
        name = _name(metric.name, each.suffix, taken)
        taken.add(for_readers(name))
        yield Draft(
            name=name,
            metric=metric.name,
            instrument=metric.kind if "histogram" in metric.kind else None,
            unit=unit,
            description=_description(metric, each),
            kept=tuple(one.attribute.name for one in choices if one.kept),
            granularities=_granularities(metric.interval_ns),
            grace=grace,
            aggregate=each.aggregate,
            evidence=evidence if at == 0 else (f"The same: {each.words}.",),
        )


def _writable(name: str) -> bool:
    reserved = name in ("otel.metric.overflow", "resource.") or name.startswith("tidemill.")
    return name.isprintable() and name == name.strip() and 0 < len(name) <= 255 and not reserved


def _name(metric: str, suffix: str, taken: set[str]) -> str:
    """One that nobody has, as a reader of names compares them."""
    base = _NOT_IN_A_NAME.sub("_", metric.removesuffix("_total")).strip("_./-") or "metric"
    base = base if base[0].isalpha() else f"m_{base}"
    while escaped_length(base) > LONGEST_ESCAPED - _ROOM:
        base = base[:-1]
    name, number = f"{base}.{suffix}", 1
    while for_readers(name) in taken:
        number += 1
        name = f"{base}.{suffix}.{number}"
    return name


def _description(metric: SeenMetric, advice: Advice) -> str:
    said = " ".join(metric.description.split()).rstrip(".")
    said = said if said and said.isprintable() else metric.name
    return f"{said}: {advice.words}"


def _granularities(interval_ns: int | None) -> tuple[str, ...]:
    """From the finest window that has a point of each stream to a day."""
    if interval_ns is None:
        finest = _UNKNOWN_FINEST
    else:  # a little more than the window is the window: clocks waver
        fit = [size for size in _FINEST if interval_ns <= size * SECOND * 1.05]
        finest = fit[0] if fit else 86_400
    sizes = [size for size in (60, 3600) if size > finest and size % finest == 0]
    sizes = [size for size in sizes if not (size == 60 and finest > 10)]
    texts = [duration(size * SECOND) for size in (finest, *sizes)]
    return tuple(dict.fromkeys([*texts, "1d"]))


def _grace(behind_ns: int | None) -> str | None:
    """None where the usual one will do."""
    if behind_ns is None or behind_ns <= _GRACES[0] * SECOND:
        return None
    return duration(next((g for g in _GRACES if behind_ns <= g * SECOND), _GRACES[-1]) * SECOND)


def _evidence(metric: SeenMetric, unit: str, how: str, choices: list[Choice]) -> Iterator[str]:
    found = [f"{metric.streams:,} stream{'' if metric.streams == 1 else 's'}"]
    found += [f"{metric.points:,} point{'' if metric.points == 1 else 's'}"]
    if not metric.points:
        found = ["listed, not seen"]
    if metric.interval_ns is not None:
        found.append(f"every {metric.interval_ns / SECOND:.3g} s")
    if metric.least is not None and metric.greatest is not None:
        found.append(f"values from {metric.least:.6g} to {metric.greatest:.6g}")
    unit_said = f"unit {unit}" + (f" ({how})" if how else "")
    yield f"{_told(metric.name)}, {_kind(metric)}, {unit_said}: {', '.join(found)}."
    for other in metric.others:
        yield f"Some of its streams are otherwise: {_told(other)}."
    width = max((len(_told(one.attribute.name)) for one in choices), default=0)
    for one in choices:
        yield f"  {_told(one.attribute.name):{width}}  {_values(one, metric)}; {one.why}"


def _kind(metric: SeenMetric) -> str:
    if metric.kind in ("gauge", "summary"):
        return metric.kind
    only_grows = "monotonic " if metric.monotonic else ""
    return f"{metric.temporality or 'unspecified'} {only_grows}{metric.kind.replace('_', ' ')}"


def _values(one: Choice, metric: SeenMetric) -> str:
    attribute = one.attribute
    if not attribute.values:
        return "not seen"
    shown = ", ".join(_told(value) or '""' for value in attribute.values[:_SHOWN])
    if attribute.distinct > _SHOWN:
        shown += ", ..."
    least = "at least " if attribute.more else ""
    number = f"{least}{attribute.distinct:,} value{'' if attribute.distinct == 1 else 's'}"
    missing = metric.streams - attribute.streams
    absent = f", absent from {missing:,} streams" if missing else ""
    return f"{number} ({shown}){absent}"


def _told(text: str) -> str:
    """On one line, and not too long."""
    plain = text if text.isprintable() else json.dumps(text)
    return plain if len(plain) <= 40 else f"{plain[:37]}..."


def _flow(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, cast("list[object]", value))) + "]"
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return "{" + ", ".join(f"{name}: {_flow(each)}" for name, each in pairs) + "}"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


def _scalar(text: str) -> str:
    """As YAML reads it as this text: plain where that is sure, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    words = text.split(" ")
    plain = all(re.fullmatch(r"[A-Za-z0-9(),/'%_.-]+", word) for word in words)
    if len(words) > 1 and plain and text[0].isalpha() and "," not in text:
        return text
    return '"' + "".join(map(_in_quotes, text)) + '"'


def _in_quotes(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
