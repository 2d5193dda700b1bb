"""The values of fields: what people write, and what becomes of it. Refusals carry a code of the
catalogue and the way out.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from metric_registry import durations, over_points, zones
from metric_registry.granularities import Granularity
from metric_registry.pattern_syntax import PatternError
from metric_registry.patterns import compiled

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")
_ENVIRONMENT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_PERCENTAGE = re.compile(r"([0-9]{1,3}(\.[0-9]{1,9})?)%")


def failure(code: str, message: str, advice: str = "", **extra: Any) -> PydanticCustomError:
    """A validation error that carries a code of the catalogue and how to put it right."""
    context = {"message": message, "help": advice, **extra}
    return PydanticCustomError(cast(Any, code), "{message}", context)


def _duration(value: object) -> int:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    try:
        return durations.parse(text)
    except durations.DurationError as error:
        if isinstance(value, int) and not isinstance(value, bool):
            advice = f"write `{text}s` if seconds are meant"
            raise failure("TM107", f"`{text}` has no unit", advice) from error
        if error.calendar:
            advice = "write a number of days, such as `30d`"
            raise failure("TM107", str(error), advice) from error
        advice = f"write `{error.better}`" if error.better else "write it like `10s`, `5m` or `2d`"
        raise failure("TM107", str(error), advice, replacement=error.better) from error


def granularity(value: object) -> Granularity:
    """A window size: whole seconds, or the text of a calendar or hopping window."""
    text = value if isinstance(value, str) else ""
    size, sign, hop = text.partition("/")
    if sign:
        return _hopping(text, size.strip(), hop.strip())
    if text in ("1w", "1mo"):
        return text
    if text.endswith(("w", "y")) or _is_calendar(text):
        raise failure(
            "TM302",
            f"`{text}` is no window that is offered: of calendar windows there are `1d`, `1w` "
            "and `1mo`",
            "use one of these, and add up where you read",
        )
    nanoseconds = _duration(value)
    if nanoseconds == 0 or nanoseconds % durations.SECOND:
        raise failure("TM303", f"`{text}` is not a whole number of seconds", "the finest is `1s`")
    if nanoseconds > durations.UNITS_NS["y"]:
        raise failure("TM303", f"`{text}` is longer than a year", "use `1mo` for the coarsest")
    return nanoseconds // durations.SECOND


def _hopping(text: str, size: str, hop: str) -> str:
    """`5m/1m`: five minutes, every minute."""
    for part in (size, hop):
        if part in ("1w", "1mo") or _is_calendar(part):
            raise failure(
                "TM309",
                f"`{text}`: weeks and months do not hop, their lengths differ",
                "use days, such as `7d/1d` or `30d/1d`",
            )
    window, step = granularity(size), granularity(hop)
    assert isinstance(window, int)
    assert isinstance(step, int)
    if window <= step or window % step:
        below = max(step * (window // step), step)
        near = " or ".join(
            f"`{durations.render_seconds(one)}/{durations.render_seconds(step)}`"
            for one in (below, below + step)
            if one > step
        )
        raise failure(
            "TM309",
            f"windows of {durations.render_seconds(window)} are not made of whole steps of "
            f"{durations.render_seconds(step)}"
            if window > step
            else f"`{text}` says that a new window comes every {durations.render_seconds(step)}, "
            "which is not less than its size",
            f"the hop divides the size: use {near}",
        )
    return f"{durations.render_seconds(window)}/{durations.render_seconds(step)}"


def _zone(value: object) -> str:
    name = _text(value)
    if name in zones.names():
        return name
    near = zones.nearest(name)
    raise failure(
        "TM310",
        f"there is no time zone `{name[:80]}`",
        f"did you mean `{near}`?" if near else "write a name of the tz database, `Europe/Berlin`",
        replacement=near,
    )


def _is_calendar(text: str) -> bool:
    try:
        durations.parse(text)
    except durations.DurationError as error:
        return error.calendar
    return False


def _metric_name(value: object) -> str:
    text = _text(value)
    if len(text) > 255 or not text.isprintable() or text != text.strip():
        raise failure(
            "TM106",
            "a metric's name has at most 255 printable characters and no space around them",
            "copy the name as the source sends it",
        )
    return text


def _metric_pattern(value: object) -> str:
    text = _metric_name(value)
    if "*" not in text:
        raise failure(
            "TM218",
            f"`{text[:80]}` is a name, and no pattern of names: it has no `*`",
            "write `metric` in place of `match`, or put a `*` where names differ",
        )
    return text


def _pattern(value: object) -> str:
    text = _text(value)
    try:
        compiled(text)
    except PatternError as error:
        raise failure(
            "TM219",
            f"character {error.at + 1} of the pattern: {error}",
            "literals, `.`, `[a-z]`, `\\d`, `(...)`, `|`, `* + ? {2,5}`, `^` and `$` are offered",
        ) from error
    return text


def _definition_name(value: object) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text):
        proposal = re.sub(r"[^A-Za-z0-9_./-]+", "_", text.strip())
        proposal = proposal if _NAME.fullmatch(proposal) else ""
        raise failure(
            "TM106",
            f"`{text[:80]}` cannot be the name of a metric",
            "a name begins with a letter and goes on with letters, digits, `_`, `.`, `-`, `/`"
            + (f": write `{proposal}`" if proposal else ""),
            replacement=proposal,
        )
    return text


def _attribute(value: object) -> str:
    text = _text(value)
    if len(text) > 255 or not text.isprintable() or text != text.strip() or text == "resource.":
        raise failure(
            "TM106",
            "an attribute's name has at most 255 printable characters and no space around them",
            "copy the name as the source sends it",
        )
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be text")
    if not value.strip():
        raise failure("TM108", "is empty", "write a name")
    return value


def _attribute_values(value: object) -> tuple[str, ...]:
    """One value or a list of them; what is not text is compared as its JSON."""
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    if not values:
        raise failure("TM108", "is an empty list, which nothing matches", "name a value")
    found: list[str] = []
    for index, one in enumerate(values):
        at = {"at": index} if isinstance(value, list) else {}
        if isinstance(one, dict | list) or one is None:
            raise failure("TM103", "must be a value or a list of values", "write the value", **at)
        if isinstance(one, float) and not math.isfinite(one):
            raise failure("TM103", "must be a finite number", "quote it if it is text", **at)
        found.append(one if isinstance(one, str) else json.dumps(one))
    return tuple(found)


def _names(value: object) -> tuple[str, ...]:
    """One name or a list of them."""
    if not isinstance(value, list | str):
        raise failure("TM103", "must be a name or a list of names", "write a name, or `[a, b]`")
    if isinstance(value, str):
        return (_text(value),)
    found: list[str] = []
    for index, one in enumerate(cast("list[object]", value)):
        if not isinstance(one, str):
            raise failure("TM103", "must be text", "write a name", at=index)
        if not one.strip():
            raise failure("TM108", "is empty", "write a name", at=index)
        found.append(one)
    return tuple(found)


def _environment(value: object) -> str:
    text = _text(value)
    if not _ENVIRONMENT.fullmatch(text):
        raise failure(
            "TM106",
            f"`{text[:80]}` cannot be the name of an environment",
            "a name begins with a letter and goes on with letters, digits, `_` and `-`",
        )
    return text


def _over_points(value: object) -> over_points.Written:
    found = over_points.read(value)
    if found is None:
        raise failure(
            "TM103",
            "must be the name of an aggregate, or one name with its parameter",
            "write it like `p99`, `stddev` or `{quantile: 0.95}`",
        )
    return found


TABLE_SUFFIX = ".csv"
"""Of files that hold the tables of lookups."""


def is_table(path: str) -> bool:
    """Whether a file, by its name, holds the table of a lookup."""
    return path.endswith(TABLE_SUFFIX)


def _table_file(value: object) -> str:
    if not isinstance(value, str) or not is_table(value) or value == TABLE_SUFFIX:
        advice = "write its path, relative to this file, such as `clusters.csv`"
        raise failure("TM103", "must be the path of a *.csv file", advice)
    return value


def _completeness(value: object) -> float:
    """A share, 0 to 1."""
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 0 < float(match.group(1)) <= 100:
        raise failure(
            "TM405", f"`{value}` is not a percentage above 0 and up to 100", "write it like `99.9%`"
        )
    return float(match.group(1)) / 100


def _expiry(value: object) -> tuple[int, int | None]:
    """(windows, None), or (0, a duration in ns)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, None
    if isinstance(value, str):
        return 0, _duration(value)
    text = json.dumps(value, default=str)
    raise failure(
        "TM103",
        f"must be a number of windows, or a duration, and not `{text}`",
        "write a number such as `5`, or a duration such as `10m`",
    )


_DURATION_SCHEMA = {"type": "string", "pattern": durations.PATTERN, "examples": ["10s", "1h"]}
Duration = Annotated[int, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Nanoseconds."""
GRANULARITY_SCHEMA = {
    "type": "string",
    "pattern": r"^([0-9]{1,8}(s|m|h|d)( ?/ ?[0-9]{1,8}(s|m|h|d))?|1w|1mo)$",
    "examples": ["10s", "1mo", "5m/1m"],
}
WindowSize = Annotated[
    Granularity, BeforeValidator(granularity), WithJsonSchema(GRANULARITY_SCHEMA)
]
"""As `granularities` has it, but that a day is 86400 in any zone."""
_ZONE_SCHEMA = {"type": "string", "examples": ["UTC", "Europe/Berlin"]}
ZoneName = Annotated[str, BeforeValidator(_zone), WithJsonSchema(_ZONE_SCHEMA)]
Expiry = Annotated[
    tuple[int, int | None],
    BeforeValidator(_expiry),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _DURATION_SCHEMA]}),
]
"""Windows; or nanoseconds, in the second place."""
KEEP_SCHEMA = {
    "type": "object",
    "propertyNames": GRANULARITY_SCHEMA,
    "additionalProperties": _DURATION_SCHEMA,
}
_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 255}
MetricName = Annotated[str, BeforeValidator(_metric_name), WithJsonSchema(_NAME_SCHEMA)]
MetricPattern = Annotated[
    str, BeforeValidator(_metric_pattern), WithJsonSchema({**_NAME_SCHEMA, "pattern": r"\*"})
]
Pattern = Annotated[str, BeforeValidator(_pattern), WithJsonSchema(_NAME_SCHEMA)]
"""A regular expression of `patterns`."""
Attribute = Annotated[str, BeforeValidator(_attribute), WithJsonSchema(_NAME_SCHEMA)]
DefinitionName = Annotated[
    str,
    BeforeValidator(_definition_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"}),
]
OverPoints = Annotated[
    over_points.Written,
    BeforeValidator(_over_points),
    WithJsonSchema(
        {"anyOf": [_NAME_SCHEMA, {"type": "object", "minProperties": 1, "maxProperties": 1}]}
    ),
]
_VALUE_SCHEMA = {"type": ["string", "number", "boolean"]}
AttributeValues = Annotated[
    tuple[str, ...],
    BeforeValidator(_attribute_values),
    WithJsonSchema(
        {"anyOf": [_VALUE_SCHEMA, {"type": "array", "items": _VALUE_SCHEMA, "minItems": 1}]}
    ),
]
TableFile = Annotated[
    str,
    BeforeValidator(_table_file),
    WithJsonSchema({"type": "string", "pattern": r".\.csv$", "examples": ["clusters.csv"]}),
]
Completeness = Annotated[
    float,
    BeforeValidator(_completeness),
    WithJsonSchema({"type": "string", "pattern": r"^(100(\.0{1,9})?|[0-9]{1,2}(\.[0-9]{1,9})?)%$"}),
]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA}]}),
]
"""One name or several."""
EnvironmentName = Annotated[
    str,
    BeforeValidator(_environment),
    WithJsonSchema({"type": "string", "pattern": f"^{_ENVIRONMENT.pattern}$"}),
]
