"""Aggregates over points: one number of all points of a group in a window, in one step.

The table of those that come with the program; users add `Own` ones. Each is written by its name, or
with its parameter as `{name: parameter}`; `p95` is `{quantile: 0.95}`. What `spelled` makes of it
stands in plans, and is what `streams.aggregates.registry.made` reads. One of the users' own is
spelled with its version, `apdex@1(0.5)`: so another version of it makes another version of the
definition, and states of both can be told apart.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, cast

Refusal = Callable[[object], str]
"""Why a parameter (None: there is none) cannot be; empty if it can. As a sentence goes on after the
name: `takes a number: ...`, with an example after the colon, or without.
"""
Result = Literal["number", "histogram", "exponential_histogram"]
"""What is published of a row; histograms by the names of OTLP's data."""
MOST_BOUNDS = 500
"""Of an explicit histogram."""
_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,6})?)")
_SPELLED = re.compile(r"([^(@]+)(@[0-9]+)?(?:\((.*)\))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Written:
    """An aggregate over points as a definition states it; parameter: None if there is none."""

    name: str
    parameter: object = None


@dataclass(frozen=True, slots=True)
class Known:
    """An aggregate that comes with the program.

    Attributes:
        refusal: What its parameter may be.
        unit: That of its result, given the source's.
        default: The parameter where none is stated.
        result: What it makes.
    """

    refusal: Refusal
    unit: Callable[[str], str]
    default: object = None
    result: Result = "number"


@dataclass(frozen=True, slots=True)
class Own:
    """An aggregate that users have added.

    Attributes:
        version: That new definitions mean.
        refusal: What its parameter may be.
        unit: That of its result, given the source's.
    """

    version: int
    refusal: Refusal
    unit: Callable[[str], str]


Added = Mapping[str, Own]
"""By name."""
NONE_ADDED: Added = {}


def _none(parameter: object) -> str:
    return "" if parameter is None else "takes no parameter"


def _number_of(parameter: object) -> float | None:
    if isinstance(parameter, int | float) and not isinstance(parameter, bool):
        return float(parameter)
    return None


def _share(parameter: object) -> str:
    given = _number_of(parameter)
    if given is None or not 0 <= given <= 1:
        return "takes a number within 0 and 1: `{quantile: 0.95}`, or `p95`"
    return ""


def _whole(least: int, most: int, example: str) -> Refusal:
    def refusal(parameter: object) -> str:
        whole = isinstance(parameter, int) and not isinstance(parameter, bool)
        if whole and least <= cast("int", parameter) <= most:
            return ""
        return f"takes a whole number from {least} to {most}: `{example}`"

    return refusal


def _bounds(parameter: object) -> str:
    if parameter is None:
        return ""
    given = [_number_of(one) for one in _listed(parameter)]
    finite = [one for one in given if one is not None and math.isfinite(one)]
    if not 1 <= len(given) <= MOST_BOUNDS or len(finite) < len(given):
        return f"takes a list of 1 to {MOST_BOUNDS} bounds: `{_BOUNDS}`"
    if any(not before < after for before, after in itertools.pairwise(finite)):
        return f"takes bounds that rise, each once: `{_BOUNDS}`"
    return ""


_BOUNDS = "{explicit_histogram: [0.1, 0.5, 1, 5]}"


def _listed(parameter: object) -> list[object]:
    return cast("list[object]", parameter) if isinstance(parameter, list) else []


def _same(unit: str) -> str:
    return unit


def _as(unit: str) -> Callable[[str], str]:
    def always(_: str) -> str:
        return unit

    return always


def _squared(unit: str) -> str:
    if unit in ("1", "%") or unit.startswith("{"):
        return unit if unit == "1" else f"({unit})2"
    return f"{unit}2" if unit.isalpha() else f"({unit})2"


DEFAULT_BOUNDS = (
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
    10000.0,
)  # fmt: skip
"""Of a histogram for which nobody states others, as in OpenTelemetry's SDKs."""

KNOWN: Mapping[str, Known] = {
    "count": Known(_none, _as("{point}")),
    "sum": Known(_none, _same),
    "avg": Known(_none, _same),
    "min": Known(_none, _same),
    "max": Known(_none, _same),
    "first": Known(_none, _same),
    "last": Known(_none, _same),
    "variance": Known(_none, _squared),
    "variance_sample": Known(_none, _squared),
    "stddev": Known(_none, _same),
    "stddev_sample": Known(_none, _same),
    "any": Known(_none, _as("1")),
    "all": Known(_none, _as("1")),
    "quantile": Known(_share, _same),
    "distinct_count": Known(_whole(4, 21, "{distinct_count: 12}"), _as("{value}"), 12),
    "explicit_histogram": Known(_bounds, _same, [*DEFAULT_BOUNDS], "histogram"),
    "exponential_histogram": Known(
        _whole(4, 4096, "{exponential_histogram: 160}"), _same, 160, "exponential_histogram"
    ),
}
OF_ONE_STREAM = ("increase", "rate")
"""Their points must be a stream's, in order of time: aggregates over time."""


def settled(written: Written) -> Written:
    """A percentile as the quantile that it is, and the parameter that goes without saying."""
    found = _PERCENTILE.fullmatch(written.name)
    if found and written.parameter is None:
        return Written("quantile", float(Decimal(found.group(1)) / 100))
    known = KNOWN.get(written.name)
    if known is not None and written.parameter is None:
        return Written(written.name, known.default)
    return written


OF_HISTOGRAMS: Mapping[str, tuple[str, ...]] = {
    "histogram": ("explicit_histogram", "count", "sum", "avg", "min", "max"),
    "exponential_histogram": (
        "exponential_histogram", "quantile", "count", "sum", "avg", "min", "max",
    ),
}  # fmt: skip
"""By the source's instrument, what can be made of its points: of what they observed."""
_OBSERVED = {"avg": "histogram_avg", "sum": "histogram_sum", "count": "histogram_count"}
"""Of what histogram points observed, as plans spell it."""
SUMS = ("sum", "count", "histogram_sum", "histogram_count")
"""As plans spell them: what adds up over windows."""


def spelled(written: Written, added: Added = NONE_ADDED, instrument: str = "") -> str:
    """As it stands in a plan: equal aggregates are spelled alike.

    instrument: That of the source; empty: numbers.
    """
    found = settled(written)
    if instrument and found.name in _OBSERVED:
        return _OBSERVED[found.name]
    name = f"{found.name}@{added[found.name].version}" if found.name in added else found.name
    if found.parameter is None:
        return name
    given = found.parameter
    if found.name == "quantile":
        given = float(cast("float", given))
    elif found.name == "explicit_histogram":
        given = [float(cast("float", each)) + 0.0 for each in _listed(given)]
    text = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{name}({text})"


def name_in(spelling: str) -> str:
    """The name of the aggregate that `spelled` wrote."""
    found = _SPELLED.fullmatch(spelling)
    return found.group(1) if found else spelling


def bounds_of(spelling: str) -> tuple[float, ...] | None:
    """Those of an explicit histogram that `spelled` wrote; None of any other aggregate."""
    found = _SPELLED.fullmatch(spelling)
    if not found or found.group(1) != "explicit_histogram":
        return None
    return tuple(json.loads(found.group(3)))


def result_of(spelling: str) -> Result:
    """What the aggregate makes of a row's points; users' own make numbers."""
    known = KNOWN.get(name_in(spelling))
    return known.result if known else "number"


def unit_of(spelling: str, source_unit: str, added: Added = NONE_ADDED) -> str:
    """The unit of the published value."""
    name = name_in(spelling)
    if name == "histogram_count":
        return "{observation}"
    found = KNOWN.get(name) or added.get(name)
    return found.unit(source_unit) if found else source_unit


def refusal_of(written: Written, added: Added) -> str | None:
    """Why this cannot be; empty if it can, None if nothing has the name."""
    stated = settled(written)
    found = KNOWN.get(stated.name) or added.get(stated.name)
    return None if found is None else found.refusal(stated.parameter)


def is_reserved(name: str) -> bool:
    """Whether the name means something already, so that no user's aggregate can have it."""
    return (
        name in (*KNOWN, *OF_ONE_STREAM, *_OBSERVED.values())
        or _PERCENTILE.fullmatch(name) is not None
    )


def read(value: Any) -> Written | None:
    """What a document holds: a name, or one name with its parameter. None: neither."""
    if isinstance(value, str) and value.strip():
        return Written(value)
    if isinstance(value, dict):
        entries = list(cast("dict[Any, Any]", value).items())
        if len(entries) == 1 and isinstance(entries[0][0], str) and entries[0][1] is not None:
            return Written(*entries[0])
    return None
