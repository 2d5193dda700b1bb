"""Units by the few rules that the stories need, and values in them as exact rationals.

A unit is written as `prefix atom`, with an exponent, in products and quotients; `{anything}` is 1.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction

from oracle.arithmetic import to_double
from oracle.definitions import Definition
from oracle.log import Point

POWERS = {"k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "m": -3, "u": -6, "n": -9, "p": -12, "": 0}
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4}
ATOMS = {  # (what it measures, how much of it)
    "s": ("time", Fraction(1)),
    "min": ("time", Fraction(60)),
    "h": ("time", Fraction(3600)),
    "d": ("time", Fraction(86400)),
    "bit": ("data", Fraction(1)),
    "By": ("data", Fraction(8)),
    "J": ("energy", Fraction(1)),
    "%": ("", Fraction(1, 100)),
    "1": ("", Fraction(1)),
}
SCALES = {  # kelvin = value * first + second
    "K": (Fraction(1), Fraction(0)),
    "Cel": (Fraction(1), Fraction(27315, 100)),
    "[degF]": (Fraction(5, 9), Fraction(45967, 100) * Fraction(5, 9)),
}
WORDS = {"seconds": "s", "milliseconds": "ms", "bytes": "By", "percent": "%", "requests": "1"}


def convert(definition: Definition, point: Point) -> int | float | None:
    """The value of a point as the definition reads it; None: its unit measures something else."""
    assert point.value is not None
    said, wanted = point.unit or definition.source_unit, definition.unit
    if point.content and definition.over_points == ("count", None):
        return point.value
    if point.content and said != wanted:
        here, there = (_read(WORDS.get(one, one)) for one in (said, wanted))
        return point.value if here == there and here is not None else None
    if said == wanted:
        return point.value
    if said in SCALES and wanted in SCALES:
        (factor, zero), (into, other) = SCALES[said], SCALES[wanted]
        if zero != other and point.kind != "gauge":
            return None
        return _value(point, factor / into, (zero - other) / into)
    here, there = _read(WORDS.get(said, said)), _read(WORDS.get(wanted, wanted))
    if here is None or there is None or here[0] != there[0]:
        return None
    return _value(point, here[1] / there[1], Fraction(0))


def as_read(definition: Definition, point: Point) -> Point:
    """The point with its value in the definition's unit."""
    return replace(point, value=convert(definition, point))


def _value(point: Point, factor: Fraction, more: Fraction) -> int | float:
    value = point.value
    assert value is not None
    if (factor, more) == (1, 0) or (isinstance(value, float) and not math.isfinite(value)):
        return value
    if value == 0 and not more:
        return value
    exact = Fraction(value) * factor + more
    if isinstance(value, int) and exact.denominator == 1 and -(2**63) <= exact < 2**63:
        return int(exact)
    return to_double(exact)


def _read(unit: str) -> tuple[dict[str, int], Fraction] | None:
    """({what it measures: to which power}, how much of it)."""
    measures: dict[str, int] = {}
    size = Fraction(1)
    for sign, part in re.findall(r"([./]?)((?:\{[^}]*\}|[^./{])+)", unit):
        text = re.sub(r"\{[^}]*\}", "", part) or "1"
        found = re.fullmatch(r"(.*?)([+-]?\d)?", text)
        whole = _atom(text)
        power = 1
        if whole is None and found:
            whole, power = _atom(found[1]), int(found[2] or 1)
        if whole is None:
            return None
        power = -power if sign == "/" else power
        size *= whole[1] ** power
        if whole[0]:
            measures[whole[0]] = measures.get(whole[0], 0) + power
    return {what: power for what, power in measures.items() if power}, size


def _atom(text: str) -> tuple[str, Fraction] | None:
    if text in ATOMS:
        return ATOMS[text]
    for atom in ("s", "By", "bit", "J"):
        prefix = text.removesuffix(atom)
        if text.endswith(atom) and (prefix in POWERS or prefix in BINARY):
            size = Fraction(10) ** POWERS[prefix] if prefix in POWERS else 1024 ** BINARY[prefix]
            return ATOMS[atom][0], ATOMS[atom][1] * size
    return None
