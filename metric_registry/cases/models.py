"""A test as people write it. Validated once, here; what each field means is its description."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema

from metric_registry.cases.times import START, Start, Time
from metric_registry.models import Section
from metric_registry.values import (
    GRANULARITY_SCHEMA,
    Attribute,
    DefinitionName,
    MetricName,
    failure,
    granularity,
)

MOST = 10_000
"""Of anything that a test lists: a test is read by people."""

_PERCENTAGE = re.compile(r"([0-9]{1,3}(\.[0-9]{1,9})?)%")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> int | float:
    if not _is_number(value):
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        raise failure("TM103", f"must be a number, and not `{text[:80]}`", "write it unquoted")
    number = cast("int | float", value)
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        raise failure("TM103", f"`{number}` is no integer of 64 bits", "write it as `1e20`")
    return number


def _integer(least: int, most: int) -> BeforeValidator:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            low = " not below zero" if least == 0 else ""
            message = f"must be a whole number{low} of {most.bit_length() + 1} bits, and not "
            raise failure("TM103", f"{message}`{text[:80]}`", "write it unquoted")
        return value

    return BeforeValidator(check)


def _utf8(value: object) -> str:
    """Text that can be sent."""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise failure("TM103", "is no text that UTF-8 can hold", "write the character") from error
    return text


def _text(value: object) -> str:
    """The text of a label: what is not a string is its JSON, as in published rows."""
    if isinstance(value, str):
        return _utf8(value)
    if value is None or isinstance(value, dict | list):
        raise failure("TM103", "must be a value", 'write a text; `""` is an empty one')
    return json.dumps(value)


def _attribute_value(value: object) -> str | bool | int | float:
    if not isinstance(value, str | bool | int | float):
        raise failure("TM103", "must be a text, a number, `true` or `false`", "write the value")
    if isinstance(value, str):
        return _utf8(value)
    return value if isinstance(value, bool) else _number(value)


def _tolerance(value: object) -> tuple[float, bool]:
    """(how much, whether of the value)."""
    if _is_number(value):
        found, relative = float(cast("int | float", value)), False
    else:
        match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            advice = "write a number such as `0.01`, or a share of the value such as `1%`"
            raise failure("TM103", f"must be how far a value may be off, and not `{value}`", advice)
        found, relative = float(match.group(1)) / 100, True
    if not 0 < found < math.inf:
        raise failure("TM103", "must be above zero", "leave it out: values are compared exactly")
    return found, relative


def _size(value: object) -> str:
    granularity(value)
    return str(value)


Size = Annotated[str, BeforeValidator(_size), WithJsonSchema(GRANULARITY_SCHEMA)]
"""A window size as it is written."""
Number = Annotated[int | float, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Text = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
AttributeValue = Annotated[
    str | bool | int | float,
    BeforeValidator(_attribute_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Count = Annotated[int, _integer(0, 2**63 - 1), WithJsonSchema({"type": "integer", "minimum": 0})]
Index = Annotated[int, _integer(-(2**31), 2**31 - 1), WithJsonSchema({"type": "integer"})]
Tolerance = Annotated[
    tuple[float, bool],
    BeforeValidator(_tolerance),
    WithJsonSchema({"type": ["number", "string"], "examples": [0.01, "1%"]}),
]


class Buckets(Section):
    """One side of an exponential histogram."""

    offset: Index = Field(default=0, description="The index of the first bucket.")
    bucket_counts: list[Count] = Field(max_length=MOST, description="From the first one on.")


class Histogram(Section):
    """A histogram by OTLP's names: with `explicit_bounds`, or with a `scale`."""

    count: Count | None = Field(default=None, description="How many values; of a point, the sum of "
                              "its buckets unless said.")  # fmt: skip
    sum: Number | None = Field(default=None, description="Of the values.")
    min: Number | None = Field(default=None, description="The least value.")
    max: Number | None = Field(default=None, description="The greatest value.")
    explicit_bounds: list[Number] | None = Field(
        default=None, max_length=MOST, description="Upper bounds of all buckets but the last."
    )
    bucket_counts: list[Count] | None = Field(
        default=None, max_length=MOST, description="One more than bounds."
    )
    scale: Index | None = Field(default=None, description="Of an exponential histogram.")
    zero_count: Count | None = Field(default=None, description="Values at zero.")
    zero_threshold: Number | None = Field(default=None, description="What counts as zero.")
    positive: Buckets | None = Field(default=None, description="Buckets above zero.")
    negative: Buckets | None = Field(default=None, description="Buckets below zero.")


class Point(Histogram):
    """One point of a stream: a number, or a histogram; neither says that nothing was recorded."""

    value: Number | None = Field(default=None, description="The number.")
    start: Time | None = Field(
        default=None, description="When what it counts began; the stream's `start` unless said."
    )


def _point(value: object) -> object:
    return cast(object, value) if isinstance(value, dict) else {"value": value}


Sent = Annotated[Point, BeforeValidator(_point)]


class Stream(Section):
    """Who sends points: everything about them but time and value."""

    metric: MetricName = Field(description="The metric's name, as it is sent.")
    instrument: Literal["gauge", "sum", "histogram", "exponential_histogram"] = Field(
        default="gauge", description="What its points are."
    )
    temporality: Literal["delta", "cumulative"] | None = Field(
        default=None, description="Of all but a gauge: each point by itself, or since `start`."
    )
    monotonic: bool = Field(default=True, description="Of a sum: that it never falls.")
    unit: Text = Field(default="", description="In UCUM; empty: the points do not say theirs.")
    resource: dict[Attribute, AttributeValue] = Field(
        default_factory=dict[str, "str | bool | int | float"],
        description="Attributes of the resource that sends.",
    )
    attributes: dict[Attribute, AttributeValue] = Field(
        default_factory=dict[str, "str | bool | int | float"],
        description="Attributes of the points.",
    )
    tenant: Text = Field(default="default", min_length=1, description="Whose it is.")
    start: Time | None = Field(
        default=None, description="When its counter started; left out, points do not say."
    )
    ignored: bool = Field(
        default=False,
        description="That the definition does not read it, on purpose: else such a stream is taken "
        "for a misspelling.",
    )


class Step(Section):
    """What happens next: points are sent, or the watermark moves."""

    send: dict[str, dict[Time, Sent]] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST,
        description="Points by stream and time: {requests: {0s: 100, 10s: 107}}. What one resource "
        "sends in a step is one request: none of it is late by the rest.",
    )
    received: Time | None = Field(
        default=None,
        description="When the request came, by the clock of who took it in; the newest time of the "
        "test so far unless said.",
    )
    watermark: Time | None = Field(
        default=None,
        description="Time has come so far, whoever is silent: windows that end `grace` before it "
        "are sealed, and what comes for them from now on is late.",
    )


class Row(Section):
    """A published row. It is compared with what is stated of it."""

    end: Time = Field(description="The end of its window.")
    labels: dict[Attribute, Text] = Field(
        default_factory=dict[str, str],
        description="The labels of its group, all of them but the tenant `default`.",
    )
    value: Number | None = Field(default=None, description="Its number, to the bit.")
    within: Tolerance | None = Field(
        default=None, description="How far the number may be off, `0.01` or `1%`; not at all "
        "unless said.",
    )  # fmt: skip
    histogram: Histogram | None = Field(
        default=None, description="Its histogram, as far as it is stated."
    )
    points: Count | None = Field(default=None, description="How many points it counts.")
    late: Count | None = Field(
        default=None, description="How many of them came after the first publication."
    )
    revision: Count | None = Field(
        default=None,
        description="Which revision is meant, 1 for the first publication; the latest unless said.",
    )
    deleted: bool = Field(default=False, description="That the revision takes the row away.")


class CaseDocument(Section):
    """Example inputs of a definition, and the rows that become of them."""

    api_version: Literal["tidemill/v1"] = Field(alias="apiVersion", description="tidemill/v1")
    kind: Literal["Test"] = Field(description="Test")
    metric: DefinitionName = Field(description="Name of the definition that is tested.")
    name: str = Field(min_length=1, max_length=255, description="What the test shows, in words.")
    start: Start = Field(
        default=START,
        description="When the test starts; all times may be written as so long after it.",
        json_schema_extra={"default": "2026-01-01T00:00:00Z"},
    )
    streams: dict[str, Stream] = Field(
        min_length=1, max_length=MOST, description="Who sends, each under a short name."
    )
    input: list[Step] = Field(
        min_length=1, max_length=MOST, description="What happens, in this order."
    )
    close: bool = Field(
        default=True,
        description="Time goes on behind the last step until every window is closed and late "
        "points have settled.",
    )
    expect: dict[Size, list[Row]] = Field(
        default_factory=dict[str, "list[Row]"],
        max_length=16,
        description="All rows of a granularity, `[]` for none; of granularities that are left out "
        "nothing is expected.",
    )


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a test, for editors."""
    found = TypeAdapter(CaseDocument).json_schema(by_alias=True)
    number: list[Any] = [{"type": ["number", "null"]}, {"$ref": "#/$defs/Point"}]
    found["$defs"]["Sent"] = {"anyOf": number}
    sent = found["$defs"]["Step"]["properties"]["send"]["anyOf"][0]
    sent["additionalProperties"]["additionalProperties"] = {"$ref": "#/$defs/Sent"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:tidemill:schema:v1:test",
        **found,
        "title": "test of a tidemill metric definition",
    }
