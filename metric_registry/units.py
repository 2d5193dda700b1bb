"""Units as OpenTelemetry writes them: UCUM, case sensitive, with {annotations} for counted things.

Source: OpenTelemetry semantic conventions, "Instrument units"; The Unified Code for Units of
Measure, section 2. Only the atoms that metrics use are known here; an unknown one is a warning.
"""

from __future__ import annotations

import re

from metric_registry.ucum import (
    Conversion,
    Dimension,
    NoConversion,
    UnitError,
    conversion,
    is_known,
    parse,
)

MAX_LENGTH = 63
"""OpenTelemetry metrics API: an instrument unit has at most 63 ASCII characters."""

_METRIC_ATOMS = {"s", "By", "bit", "g", "m", "V", "A", "W", "J", "Hz", "Pa", "K", "eV", "L", "Cel"}
_OTHER_ATOMS = {"1", "%", "min", "h", "d", "wk", "mo", "a", "deg", "bar", "[degF]", "[ppm]"}
_PREFIXES = ("k", "M", "G", "T", "P", "m", "u", "n", "p", "Ki", "Mi", "Gi", "Ti", "Pi", "c", "h")
_KNOWN = (
    _METRIC_ATOMS | _OTHER_ATOMS | {prefix + atom for prefix in _PREFIXES for atom in _METRIC_ATOMS}
)
_SPELLINGS = {
    **dict.fromkeys(("bytes", "byte", "Bytes", "B", "by", "BY"), "By"),
    **dict.fromkeys(("KB", "kB", "kilobytes"), "kBy"),
    **dict.fromkeys(("MB", "megabytes"), "MBy"),
    **dict.fromkeys(("GB", "gigabytes"), "GBy"),
    **dict.fromkeys(("KiB", "kibibytes"), "KiBy"),
    **dict.fromkeys(("MiB", "mebibytes"), "MiBy"),
    **dict.fromkeys(("GiB", "gibibytes"), "GiBy"),
    **dict.fromkeys(("bits", "b"), "bit"),
    **dict.fromkeys(("seconds", "second", "sec", "secs", "S"), "s"),
    **dict.fromkeys(("milliseconds", "millisecond", "msec", "millis"), "ms"),
    **dict.fromkeys(("microseconds", "usec", "us."), "us"),
    **dict.fromkeys(("nanoseconds", "nsec", "nanos"), "ns"),
    **dict.fromkeys(("minutes", "minute"), "min"),
    **dict.fromkeys(("hours", "hour"), "h"),
    **dict.fromkeys(("days", "day"), "d"),
    **dict.fromkeys(("percent", "pct", "percentage"), "%"),
    **dict.fromkeys(("ratio", "fraction", "none", "count", "dimensionless"), "1"),
    **dict.fromkeys(("celsius", "Celsius", "C"), "Cel"),
    **dict.fromkeys(("watts", "watt"), "W"),
    **dict.fromkeys(("joules", "joule"), "J"),
    **dict.fromkeys(("hertz", "hz"), "Hz"),
}
_COMPONENT = re.compile(r"([^{}]*)(\{[^{}]*\})?")
_EXPONENT = re.compile(r"(.*[A-Za-z])[+-]?[0-9]")
_SPLIT = re.compile(r"[./](?![^{]*\})")
_THING = re.compile(r"[a-z_]+")


def malformed(unit: str) -> str:
    """Why a text cannot be a unit at all; empty if it can."""
    if not unit:
        return "a unit is not empty; what has none is `1`"
    if len(unit) > MAX_LENGTH:
        return f"a unit has at most {MAX_LENGTH} characters"
    if not unit.isascii() or not unit.isprintable() or " " in unit:
        return "a unit has ASCII characters only, and no spaces"
    if any(_COMPONENT.fullmatch(component) is None for component in _SPLIT.split(unit)):
        return "the braces do not match"
    if any(not component for component in _SPLIT.split(unit)[1:]):
        return "a unit does not end in `/` or `.`"
    return ""


def unknown_atoms(unit: str) -> list[tuple[str, str]]:
    """The parts of a unit that are not known, each with how UCUM writes it, or empty."""
    found: list[tuple[str, str]] = []
    for component in _SPLIT.split(unit):
        match = _COMPONENT.fullmatch(component)
        atom = match.group(1) if match else component
        exponent = _EXPONENT.fullmatch(atom)
        if atom and atom not in _KNOWN and not (exponent and exponent.group(1) in _KNOWN):
            found.append((atom, better(atom)))
    return found


def better(atom: str) -> str:
    """How UCUM writes what was probably meant: `bytes` is `By`, `requests` is `{request}`."""
    if atom in _SPELLINGS:
        return _SPELLINGS[atom]
    if _THING.fullmatch(atom) and len(atom) > 3:
        singular = atom[:-1] if atom.endswith("s") and not atom.endswith("ss") else atom
        return f"{{{singular}}}"
    return ""


def conversion_of(said: str, wanted: str) -> Conversion | NoConversion:
    """How values of a unit as an agent wrote it become values of another.

    What UCUM does not know is taken for what was probably meant: `bytes`, `seconds`, `requests`.
    """
    found = conversion(said, wanted)
    if isinstance(found, NoConversion):
        meant = conversion(_meant(said), _meant(wanted))
        return found if isinstance(meant, NoConversion) else meant
    return found


def _meant(unit: str) -> str:
    return unit if is_known(unit) else better(unit) or unit


def is_ratio(unit: str) -> bool:
    """Whether values are shares of something: a total of them says nothing."""
    return unit in ("1", "%")


def is_rate(unit: str) -> bool:
    """Whether values are per time already."""
    return any(unit.endswith(f"/{time}") for time in ("s", "ms", "us", "ns", "min", "h", "d"))


_STATES = frozenset(parse(unit).dimension for unit in ("K", "Hz", "W", "V", "A", "Pa"))
_TIME = parse("s").dimension


def _dimension(unit: str) -> Dimension | None:
    try:
        return parse(unit).dimension
    except UnitError:
        return None


def is_state(unit: str) -> bool:
    """Whether values say how things stand, or flow, at a moment: a temperature, a power, a rate."""
    return is_rate(unit) or _dimension(unit) in _STATES


def is_time(unit: str) -> bool:
    """Whether values are durations."""
    return _dimension(unit) == _TIME
