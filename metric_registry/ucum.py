"""What a unit is, exactly: a factor, an offset and a dimension; and how values convert.

Source: The Unified Code for Units of Measure, sections 2 (syntax) and 4 (tables), case sensitive;
OpenTelemetry semantic conventions, "Instrument units". An annotation in braces is 1. Bits and bytes
have a dimension of their own (UCUM: none), since no reader wants a share in bytes; so have plane
angles. A temperature scale has its zero only where it stands alone: `Cel/h` is about differences.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

PREFIXES = {
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "h": Fraction(100),
    "c": Fraction(1, 100),
    "m": Fraction(1, 10**3),
    "u": Fraction(1, 10**6),
    "n": Fraction(1, 10**9),
    "p": Fraction(1, 10**12),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
}

Dimension = tuple[tuple[str, int], ...]
"""Base quantities with their exponents, in order, none of them 0."""


class Quantity(NamedTuple):
    """A unit: `factor` of its dimension's base unit, whose zero is at `-offset / factor`."""

    factor: Fraction
    dimension: Dimension
    offset: Fraction = Fraction(0)

    def times(self, other: Quantity, exponent: int = 1) -> Quantity:
        """This and the other to the exponent, as one unit."""
        powers = dict(self.dimension)
        for base, power in other.dimension:
            powers[base] = powers.get(base, 0) + exponent * power
        dimension = tuple(sorted((base, power) for base, power in powers.items() if power))
        return Quantity(self.factor * other.factor**exponent, dimension)


def _of(factor: int | Fraction, offset: Fraction = Fraction(0), /, **powers: int) -> Quantity:
    return Quantity(Fraction(factor), tuple(sorted(powers.items())), offset)


METRIC = {
    "s": _of(1, time=1),
    "By": _of(8, information=1),
    "bit": _of(1, information=1),
    "g": _of(1, mass=1),
    "m": _of(1, length=1),
    "K": _of(1, temperature=1),
    "Cel": _of(1, Fraction(27315, 100), temperature=1),
    "A": _of(1, current=1),
    "Hz": _of(1, time=-1),
    "Pa": _of(1000, mass=1, length=-1, time=-2),
    "J": _of(1000, mass=1, length=2, time=-2),
    "W": _of(1000, mass=1, length=2, time=-3),
    "V": _of(1000, mass=1, length=2, time=-3, current=-1),
    "eV": _of(Fraction(1602176634, 10**25), mass=1, length=2, time=-2),
    "L": _of(Fraction(1, 1000), length=3),
}
"""Atoms that take prefixes."""

_DAY = 86_400
OTHER = {
    "1": _of(1),
    "%": _of(Fraction(1, 100)),
    "[ppm]": _of(Fraction(1, 10**6)),
    "10*": _of(10),
    "10^": _of(10),
    "min": _of(60, time=1),
    "h": _of(3600, time=1),
    "d": _of(_DAY, time=1),
    "wk": _of(7 * _DAY, time=1),
    "mo": _of(Fraction(1461, 48) * _DAY, time=1),
    "a": _of(Fraction(1461, 4) * _DAY, time=1),
    "deg": _of(1, angle=1),
    "bar": _of(10**8, mass=1, length=-1, time=-2),
    "[degF]": _of(Fraction(5, 9), Fraction(45967, 180), temperature=1),
}
"""Atoms that take none."""

_TOKEN = re.compile(
    r"(?P<open>\()|(?P<close>\))|(?P<op>[./])|(?P<note>\{[^{}]*\})|(?P<atom>[^{}()./]+)"
)
_POWER = re.compile(r"(?P<atom>.*?[^0-9+-])(?P<power>[+-]?[0-9]{1,2})")
_NUMBER = re.compile(r"[0-9]{1,18}")
_DEEPEST = 8


class UnitError(ValueError):
    """A text that is no known unit; `atom` is the part that is not, or empty."""

    def __init__(self, text: str, atom: str = "") -> None:
        whose = f"`{atom}` of `{text}`" if atom not in ("", text) else f"`{text}`"
        super().__init__(f"{whose} is no known unit")
        self.atom = atom


@dataclass(slots=True)
class _Reader:
    """A recursive descent over the tokens of one unit."""

    text: str
    at: int = 0

    def peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self.text, self.at)

    def term(self, depth: int) -> Quantity:
        """[/] component {(. | /) component}: from left to right."""
        found, exponent, first = _of(1), 1, True
        while True:
            token = self.peek()
            if token is not None and token["op"] and (first or exponent == 0):
                if first and token["op"] == ".":
                    raise UnitError(self.text)
                self.at = token.end()
                exponent = -1 if token["op"] == "/" else 1
            elif not first:
                return found
            part = self.component(depth)
            found = part if first and exponent == 1 else found.times(part, exponent)
            exponent, first = 0, False

    def component(self, depth: int) -> Quantity:
        token = self.peek()
        if token is None or token["close"] or token["op"] or depth > _DEEPEST:
            raise UnitError(self.text)
        self.at = token.end()
        if token["open"]:
            inner = self.term(depth + 1)
            closing = self.peek()
            if closing is None or not closing["close"]:
                raise UnitError(self.text)
            self.at = closing.end()
            return inner._replace(offset=Fraction(0))
        if token["note"]:
            return _of(1)
        found = self.simple(token["atom"])
        note = self.peek()
        if note is not None and note["note"]:
            self.at = note.end()
        return found

    def simple(self, text: str) -> Quantity:
        if (known := _atom(text)) is not None:
            return known
        if _NUMBER.fullmatch(text) and int(text):
            return _of(int(text))
        power = _POWER.fullmatch(text)
        known = _atom(power["atom"]) if power else None
        if power is None or known is None:
            raise UnitError(self.text, power["atom"] if power else text)
        return _of(1).times(known, int(power["power"]))


def _atom(text: str) -> Quantity | None:
    """An atom, with a prefix or without; what is an atom as it stands has none."""
    found = OTHER.get(text) or METRIC.get(text)
    if found is not None:
        return found
    for size in (2, 1):
        prefix, metric = PREFIXES.get(text[:size]), METRIC.get(text[size:])
        if prefix is not None and metric is not None:
            return metric._replace(factor=metric.factor * prefix)
    return None


@lru_cache(4096)
def parse(unit: str) -> Quantity:
    """What a unit is. Raises UnitError."""
    reader = _Reader(unit)
    found = reader.term(0)
    if reader.at != len(unit):
        raise UnitError(unit)
    return found


def is_known(unit: str) -> bool:
    """Whether a text is a unit whose atoms are known."""
    try:
        parse(unit)
    except UnitError:
        return False
    return True


MOST_BITS = 63
"""Of each integer that a conversion is made of, beside powers of two."""


class Conversion(NamedTuple):
    """A value v of one unit is `v * p / q + offset` of the other; p and q above 0, reduced."""

    p: int = 1
    q: int = 1
    offset: Fraction = Fraction(0)

    def integers(self) -> tuple[int, int, int, int, int]:
        """(a, j, b, k, c): the same as `(v * a * 2**j + b * 2**k) / c`, with a, b and c odd."""
        p, j = _odd(self.p)
        q, less = _odd(self.q)
        b, k = _odd(self.offset.numerator)
        under, fewer = _odd(self.offset.denominator)
        c = q * under // math.gcd(q, under)
        return p * (c // q), j - less, b * (c // under), k - fewer, c


SAME = Conversion()


@dataclass(frozen=True, slots=True)
class NoConversion:
    """Why values do not convert."""

    reason: str


def _odd(number: int) -> tuple[int, int]:
    """An integer as an odd one and a power of two; 0 as 0 and 0."""
    power = (number & -number).bit_length() - 1 if number else 0
    return number >> power, power


@lru_cache(4096)
def conversion(source: str, target: str) -> Conversion | NoConversion:
    """How values in `source` become values in `target`. Equal texts are equal, known or not."""
    if source == target:
        return SAME
    try:
        here, there = parse(source), parse(target)
    except UnitError as error:
        return NoConversion(str(error))
    if here.dimension != there.dimension:
        return NoConversion(
            f"`{source}` is {described(here.dimension)} and `{target}` is "
            f"{described(there.dimension)}"
        )
    factor = here.factor / there.factor
    offset = (here.offset - there.offset) / there.factor
    found = Conversion(factor.numerator, factor.denominator, offset)
    if max(abs(part).bit_length() for part in found.integers()) > MOST_BITS:
        return NoConversion(f"from `{source}` to `{target}` takes a factor of too many digits")
    return found


def described(dimension: Dimension) -> str:
    """A dimension for people: `information per time`, `a number`."""
    over = [base if power == 1 else f"{base}^{power}" for base, power in dimension if power > 0]
    under = [base if power == -1 else f"{base}^{-power}" for base, power in dimension if power < 0]
    if not dimension:
        return "a number"
    above = " times ".join(over) or "a number"
    return f"{above} per {' and '.join(under)}" if under else above
