"""What a draft computes of a metric, as far as its kind, its unit and its name tell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metric_registry import units
from metric_registry.drafts.seen import SeenMetric
from metric_registry.drafts.unit_words import words_of
from metric_registry.names import is_mean, is_quantile, is_state
from metric_registry.ucum import UnitError, parse

_LEVELS = frozenset(parse(unit).dimension for unit in ("K", "Hz", "V", "Pa", "s"))
"""Of a temperature, a clock, a tension or a duration, several do not add up to another one."""
_LEVEL_WORD = re.compile(
    r"load|temp|temperature|util|utilization|frequency|voltage|occupancy|ratio|percent"
)
_LAST_LEVEL_WORD = re.compile(r"active|usage|level|speed|clock|quality")
_FLAG_WORD = re.compile(r"up|enabled|online|readonly|ro|healthy|ready|available|running")
_FLAG_SAID = re.compile(
    r"^whether\b|\bwhether or not\b|\bboolean\b|\b1 (?:if|for|when|means)\b", re.I
)
_ENOUGH_TO_SEE_A_FLAG = 100
"""Points, of which some are 0 and the others 1."""
_CLOUDWATCH = re.compile(r"(?:aws\.|amazonaws\.com/).*")
_LATEST_WORD = re.compile(r"last|status|state|code|version|id|value")
_CLOCK_WORD = re.compile(r"timestamp|time|created|boot|started")
_YEAR_2001 = 1e9
"""Seconds; a gauge of times that begins there is of moments, not of durations."""
_MOST_BOUNDS = 100


@dataclass(frozen=True, slots=True)
class Advice:
    """A roll-up worth having: what it is called after its metric, how it is aggregated, and that
    in words."""

    suffix: str
    aggregate: dict[str, object]
    words: str


MEAN = Advice("mean", {"over_time": "avg", "over_space": "avg"}, "mean of each, then over all")
PEAK = Advice("peak", {"over_time": "max", "over_space": "max"}, "the greatest sample of all")
TOTAL = Advice("total", {"over_time": "avg", "over_space": "sum"}, "mean of each, added up")
INCREASE = Advice("increase", {"over_time": "increase"}, "how much was added, over all")
CHANGE = Advice("change", {"over_time": "sum", "over_space": "sum"}, "what was added less taken")
LEVEL = Advice("level", {"over_time": "last", "over_space": "sum"}, "the last of each, added up")
SUM = Advice("sum", {"over_time": "sum", "over_space": "sum"}, "added up over time, and over all")
LATEST = Advice("latest", {"over_time": "max", "over_space": "max"}, "the latest of all")
SHARE = Advice("share", {"over_time": "avg", "over_space": "avg"}, "the share of time it is 1")
COUNT = Advice("count", {"over_time": "last", "over_space": "count"}, "how many report it")
OBSERVED = Advice("mean", {"over_points": "avg"}, "mean of all observations")
SPREAD = Advice("histogram", {"over_points": "exponential_histogram"}, "all observations")
P99 = Advice("p99", {"over_points": "p99"}, "what 99 in 100 observations stay below")


def advice_for(metric: SeenMetric, unit: str) -> tuple[Advice, ...]:
    """What to compute of it. Raises ValueError, and says why, if there is nothing."""
    if metric.kind == "summary":
        raise ValueError("quantiles of summaries do not add up: have it sent as a histogram")
    if metric.kind == "exponential_histogram":
        return SPREAD, P99
    if metric.kind == "histogram":
        if not 0 < len(metric.bounds) <= _MOST_BOUNDS:
            return (OBSERVED,)
        buckets: dict[str, object] = {"over_points": {"explicit_histogram": [*metric.bounds]}}
        return Advice("histogram", buckets, SPREAD.words), OBSERVED
    if metric.kind == "sum" and metric.temporality != "unspecified":
        return (_of_sum(metric, unit),)
    return _of_gauge(metric, unit)


def _of_sum(metric: SeenMetric, unit: str) -> Advice:
    level = PEAK if _sums_up_others(metric.name) else MEAN
    if unit == "%" or units.is_state(unit):  # by its unit it does not count
        return level
    if metric.monotonic:
        return INCREASE
    if metric.temporality == "delta":
        return level if units.is_ratio(unit) or is_state(metric.name) else CHANGE
    return LEVEL


def _of_gauge(metric: SeenMetric, unit: str) -> tuple[Advice, ...]:
    words = words_of(metric.name)
    if words and words[-1] == "info":
        return (COUNT,)
    if unit == "s" and _one_of(words, _CLOCK_WORD) and (metric.least or _YEAR_2001) >= _YEAR_2001:
        return (LATEST,)
    if _sums_up_others(metric.name):
        return (PEAK,)
    if unit == "1" and _is_flag(metric, words):
        return (SHARE,)
    if _one_of(words, _LATEST_WORD):
        return (PEAK,)
    level = _one_of(words, _LEVEL_WORD) or _one_of(words[-1:], _LAST_LEVEL_WORD)
    if unit == "%" or _is_level(unit) or (level and not units.is_state(unit)):
        return MEAN, PEAK
    counted = unit == "By" or unit.startswith("{")
    if counted and _CLOUDWATCH.fullmatch(metric.name) and not is_state(metric.name):
        return (SUM,)  # CloudWatch counts anew each period
    return (TOTAL,)


def _is_flag(metric: SeenMetric, words: list[str]) -> bool:
    if metric.points and not {metric.least, metric.greatest} <= {0.0, 1.0}:
        return False
    said = _FLAG_SAID.search(metric.description) or _one_of(words[-1:], _FLAG_WORD)
    return bool(said) or (metric.points > _ENOUGH_TO_SEE_A_FLAG and metric.least != metric.greatest)


def _sums_up_others(name: str) -> bool:
    return is_quantile(name) or is_mean(name)


def _one_of(words: list[str], pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(word) for word in words)


def _is_level(unit: str) -> bool:
    try:
        return parse(unit).dimension in _LEVELS
    except UnitError:
        return False
