"""The unit of a metric that does not say one: by its name, else by its description.

Sources: OpenMetrics 1.0, "Units and Base Units" (a name ends in its unit); OpenTelemetry semantic
conventions, "Instrument units".
"""

from __future__ import annotations

import re

from metric_registry import units
from metric_registry.drafts.seen import SeenMetric

_WORDS = {
    "ratio": "1",
    "utilization": "1",
    "percent": "%",
    "percentage": "%",
    "pct": "%",
    "seconds": "s",
    "milliseconds": "ms",
    "microseconds": "us",
    "nanoseconds": "ns",
    "ms": "ms",
    "bytes": "By",
    "bits": "bit",
    "celsius": "Cel",
    "hertz": "Hz",
    "volts": "V",
    "amperes": "A",
    "amps": "A",
    "watts": "W",
    "joules": "J",
    "meters": "m",
    "grams": "g",
    "kelvin": "K",
    "pascals": "Pa",
}
"""Last words of names."""
_SAID = {"C": "Cel", "MB": "MBy", "MiB": "MiBy", "KiB": "KiBy", "GiB": "GiBy", "KB": "kBy"}
"""What people write in brackets, where UCUM means another unit by it or none."""
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IN_BRACKETS = re.compile(r"\((?:in )?([A-Za-z%/]+)\)")
_IN_WORDS = re.compile(r"\bin (bytes|bits|seconds|milliseconds|microseconds|nanoseconds)\b")
_PER_SECOND = re.compile(r"\b(bytes|bits) per second\b")
_SHARE = re.compile(r"^(?:the )?(?:ratio|fraction|share|proportion)\b|\b(?:ratio|fraction) of\b")
_THING = re.compile(r"[a-z][a-z0-9_]{1,39}")
_COUNTERS_END = ("total", "count", "counter", "bucket", "sum")


def words_of(name: str) -> list[str]:
    """The words of a metric's name, in lower case."""
    spread = _SEPARATORS.sub(" ", name)
    if not spread.isupper():
        spread = _CAMEL.sub(" ", spread)
    return spread.lower().split()


def unit_of(metric: SeenMetric) -> tuple[str, str]:
    """The unit for a draft, in UCUM as far as it is known, and how it was found: empty if said.

    Raises ValueError if what is said can be no unit.
    """
    if metric.unit:
        if why := units.malformed(metric.unit):
            raise ValueError(f"its unit {metric.unit[:80]!r} is none: {why}")
        atoms = units.unknown_atoms(metric.unit)
        if len(atoms) == 1 and atoms[0][0] == metric.unit and atoms[0][1]:
            return atoms[0][1], f"said as `{metric.unit}`"
        return metric.unit, ""
    if metric.kind == "gauge" and (flow := _PER_SECOND.search(metric.description.lower())):
        return f"{_WORDS[flow[1]]}/s", "by its description"
    words = words_of(metric.name)
    if words and words[-1] in _COUNTERS_END:
        words = words[:-1]
    if len(words) > 2 and words[-2] == "per" and words[-3] in _WORDS and words[-1] == "second":
        return f"{_WORDS[words[-3]]}/s", "by its name"
    if words and words[-1] in _WORDS:
        return _WORDS[words[-1]], "by its name"
    if found := _described(metric.description):
        return found, "by its description"
    if metric.kind == "sum" and words:
        return _things(words[-1]), "it counts"
    return "1", "nobody says it"


def _described(text: str) -> str:
    for match in _IN_BRACKETS.finditer(text):
        said = _SAID.get(match[1], match[1])
        better = units.better(said)
        if not units.malformed(said) and not units.unknown_atoms(said):
            return said
        if better and not better.startswith("{"):
            return better
    lower = text.lower()
    if match := _IN_WORDS.search(lower):
        return _WORDS[match[1]]
    return "1" if _SHARE.search(lower) else ""


def _things(word: str) -> str:
    """What is counted as an annotation: {request} of requests."""
    if not _THING.fullmatch(word):
        return "1"
    plural = word.endswith("s") and not word.endswith(("ss", "es", "us"))
    return f"{{{word[:-1] if plural and len(word) > 3 else word}}}"
