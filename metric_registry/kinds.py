"""Kinds of values: how each is called in the reference, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metric_registry import models, values
from metric_registry.cases import models as cases
from metric_registry.cases import times
from metric_registry.derived import models as derived


@dataclass(frozen=True, slots=True)
class Value:
    """A kind of value: how it is called, and how it is written."""

    of: Any
    name: str
    written: str


VALUES = (
    Value(values.Duration, "duration",
          "A whole number and a unit: `ms`, `s`, `m`, `h`, `d`, `w` (7 days) or `y` (365 days); at "
          "most 100 years. `10s`, `90m`, `400d`."),
    Value(values.WindowSize, "window size",
          "A duration of whole seconds up to a year, `1d`, `1w` or `1mo` of the zone, or a size "
          "and a hop that divides it: `10s`, `1h`, `1mo`, `5m/1m`."),
    Value(values.ZoneName, "time zone", "A name of the tz database: `UTC`, `Europe/Berlin`."),
    Value(values.Expiry, "windows, or duration",
          "A number of windows, or how long, which is rounded up to windows of each size: `5`, "
          "`10m`."),
    Value(values.MetricName, "metric name",
          "At most 255 printable characters without space around them, as the source sends it."),
    Value(values.MetricPattern, "pattern of names",
          "A metric name in which `*` is any text, also none: `kafka.*.request_count`."),
    Value(values.Pattern, "regular expression",
          "Literals, `.`, `[a-z]`, `\\d`, groups, `|`, `* + ? {2,5}`, `^` and `$`; matched in time "
          "of its length times the text's."),
    Value(values.Attribute, "attribute name",
          "At most 255 printable characters without space around them. `tenant` is the tenant, "
          "`resource.NAME` asks the resource alone, where one asks for attributes."),
    Value(values.DefinitionName, "name",
          "A letter, then letters, digits, `_`, `.`, `-` and `/`; at most 255 characters."),
    Value(values.OverPoints, "aggregate",
          "A name, or one name with its parameter: `p99`, `stddev`, `{quantile: 0.95}`; see "
          "[aggregates over points](#aggregates-over-points)."),
    Value(values.AttributeValues, "value or list",
          "A value or a list of them, of which a point has one: `Fetch`, `[read, write]`. What is "
          "not text is compared as its JSON."),
    Value(values.TableFile, "table",
          "The path of a CSV file (RFC 4180, UTF-8), relative to the file that names it: "
          "`clusters.csv`."),
    Value(values.Completeness, "percentage", "Above 0 and up to 100: `99.9%`."),
    Value(values.Names, "name or list", "One text, or a list of them: `counters`, `[a, b]`."),
    Value(values.EnvironmentName, "environment",
          "A letter, then letters, digits, `_` and `-`; at most 63 characters."),
    Value(derived.Part, "part", "A number within 0 and 1: `0.99`."),
    Value(derived.Bound, "number", ""),
    Value(times.Time, "time",
          "So long after the test's start, or of the calendar with its offset: `1m30s`, `-5s`, "
          "`2026-01-01T00:01:30Z`."),
    Value(times.Start, "date and time", "With its offset from UTC: `2026-01-01T00:00:00Z`."),
    Value(cases.Size, "window size", ""),
    Value(cases.Number, "number", "A whole number of 64 bits, or a double: `3`, `0.5`, `.nan`."),
    Value(cases.Text, "text", "A text; what is none is its JSON."),
    Value(cases.AttributeValue, "value", "A text, a number, `true` or `false`."),
    Value(cases.Count, "count", "A whole number that is not below zero."),
    Value(cases.Index, "whole number", ""),
    Value(cases.Tolerance, "tolerance",
          "A number above zero, or a share of the value: `0.01`, `1%`."),
)  # fmt: skip
_SHORT = {
    models.Made: "attribute name, a list of them, or ",
    models.LevelEntry: "attribute name, or ",
    cases.Sent: "number, `null` for no recorded value, or ",
}
"""What may stand for a section."""


def function_of(annotation: Any) -> Any:
    """The validator of an annotated value, by which kinds of values are told apart."""
    metadata = getattr(annotation, "__metadata__", ())
    return next((one.func for one in metadata if hasattr(one, "func")), None)


STEPS = {function_of(times.Time): "TIME", function_of(cases.Size): "SIZE"}
BY_FUNCTION = {function_of(one.of): one for one in VALUES}
SHORT_BY_FUNCTION = {function_of(kind): text for kind, text in _SHORT.items()}
