"""A metric's definition as people write it. Validated once, here; what each field means is its
description, which the JSON Schema carries to editors.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from metric_registry import durations, zones
from metric_registry.granularities import Granularity
from metric_registry.plan import Late, OverSpace, OverTime, SourceInstrument, Temporality
from metric_registry.values import (
    KEEP_SCHEMA,
    Attribute,
    AttributeValues,
    Completeness,
    DefinitionName,
    Duration,
    EnvironmentName,
    Expiry,
    MetricName,
    MetricPattern,
    Names,
    OverPoints,
    Pattern,
    TableFile,
    WindowSize,
    ZoneName,
    failure,
)

MAX_LIST = 64
MAX_ENTRIES = 10_000
"""Of a map of attribute values."""
GAUGE = (
    "a gauge states both, as `{over_time: avg, over_space: sum}`, or takes all points together, as "
    "`{over_points: p99}`; a counter is `{over_time: increase}`"
)
"""How aggregates are stated, for those who did not."""
EXPIRE_AFTER = 5
"""Windows without data that a series of the final topic survives unless the definition says."""


class Section(BaseModel):
    """Fields are strict, and those that are not known are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourceMetric(Section):
    """One of the names under which agents send the same thing."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["metric"]}, {"required": ["match"]}]}
    )

    metric: MetricName | None = Field(default=None, description="A metric's name, as it is sent.")
    match: MetricPattern | None = Field(
        default=None, description="A pattern of names in which `*` is any text."
    )

    @model_validator(mode="after")
    def _has_one_name(self) -> SourceMetric:
        if (self.metric is None) == (self.match is None):
            advice = "write `{metric: NAME}`, or `{match: PATTERN}`"
            raise failure("TM202", "an entry names one metric, or one pattern of names", advice)
        return self


class DerivedAttribute(Section):
    """An attribute that is made of one that streams have."""

    sources: Names = Field(
        alias="from",
        description="Names of attributes, the first of which that a stream has is taken.",
    )
    lower: bool = Field(default=False, description="In lower case.")
    capture: Pattern | None = Field(
        default=None, description="A regular expression; without a match there is no value."
    )
    write: str | None = Field(
        default=None,
        description="What is written of a match: `{1}` is its first group, `{0}` all of it; the "
        "first group, or all of it, unless said.",
    )
    map: dict[str, str] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_ENTRIES,
        description="What texts become; one that is not there has no value.",
    )
    lookup: DefinitionName | None = Field(
        default=None,
        description="A lookup in whose table the text is looked up, in the place of `map`; one "
        "that is not there, or whose cell is empty, has no value.",
    )
    column: Attribute | None = Field(
        default=None,
        description="The table's column that is taken; that of the attribute's name unless said.",
    )
    default: str | None = Field(default=None, description="Where there is no value.")


def _made(value: object) -> object:
    named = isinstance(value, str | list)
    return {"from": cast(object, value)} if named else value


_ONE = {"type": "string", "minLength": 1}
_ONE_OR_SEVERAL = [_ONE, {"type": "array", "items": _ONE}]
Made = Annotated[
    DerivedAttribute,
    BeforeValidator(_made),
    WithJsonSchema({"anyOf": [*_ONE_OR_SEVERAL, DerivedAttribute.model_json_schema()]}),
]
NAMES_OF_A_SOURCE = ("metric", "match", "any_of")
"""Ways to name a source, of which a definition takes one."""


class Source(Section):
    """What is read."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [name]} for name in NAMES_OF_A_SOURCE]}
    )

    metric: MetricName | None = Field(default=None, description="The metric's name, as it is sent.")
    match: MetricPattern | None = Field(
        default=None,
        description="A pattern of metric names in which `*` is any text.",
    )
    any_of: list[SourceMetric] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_LIST,
        description="The metric's names, where agents use several for the same thing.",
    )
    attributes: dict[Attribute, Made] = Field(
        default_factory=dict[str, DerivedAttribute],
        max_length=MAX_LIST,
        description="Attributes under other names, {cluster_id: [cluster_id, kafka.cluster.id]}, "
        "or made of another; for `where` and `keep`.",
    )
    where: dict[Attribute, AttributeValues] = Field(
        default_factory=dict,
        max_length=MAX_LIST,
        description="Attributes that a point must have, each with its value or one of a list.",
    )
    unit: str = Field(
        description="Unit of the source's points in UCUM: By, s, 1, %, {request}. It holds for "
        "points that do not say theirs."
    )
    instrument: SourceInstrument | None = Field(
        default=None,
        description="What the source's points are, if they are not numbers: `histogram` (explicit "
        "buckets) or `exponential_histogram`.",
    )


class Level(Section):
    """A level of a hierarchy."""

    by: Attribute = Field(
        description="The attribute that is the finest of those that this level keeps; `all`, as "
        "the last one, keeps none of them."
    )
    name: DefinitionName | None = Field(
        default=None,
        description="Name of this level's metric, `NAME.by_ATTRIBUTE` or `NAME.all` unless said; "
        "that of the finest level is the definition's.",
    )


def _level(value: object) -> object:
    if isinstance(value, dict):
        return cast(object, value)
    if not isinstance(value, str):
        advice = "write the attribute, or `{by: ATTRIBUTE, name: ...}`"
        raise failure("TM103", "must be an attribute", advice)
    return {"by": value}


LevelEntry = Annotated[
    Level,
    BeforeValidator(_level),
    WithJsonSchema({"anyOf": [_ONE, Level.model_json_schema()]}),
]


class Space(Section):
    """What a group is."""

    keep: list[Attribute] = Field(
        max_length=MAX_LIST,
        description="Attributes that a group keeps; all others are rolled up. The tenant is "
        "always kept. `resource.NAME` asks the resource alone.",
    )
    hierarchy: list[LevelEntry] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_LIST,
        description="Attributes from the finest to the coarsest, [cluster_id, region, all]: a "
        "metric of each level, which keeps its attribute, those behind it and `keep`.",
    )


class Time(Section):
    """Windows, and how long they wait."""

    granularities: list[WindowSize] = Field(
        min_length=1,
        max_length=16,
        description="Window sizes; each a multiple of the next finer one. `1d`, `1w` and `1mo` "
        "follow the zone; `5m/1m` is five minutes, every minute.",
    )
    zone: ZoneName = Field(
        default=zones.UTC,
        description="The time zone in which days, ISO weeks and months begin: a name of the tz "
        "database.",
    )
    grace: Duration = Field(
        default=10 * durations.SECOND,
        description="How far the watermark passes a window's end before the window is sealed.",
    )
    corrections: Duration = Field(
        default=durations.UNITS_NS["h"],
        description="How late a point may be and still make a new revision; 0s for none.",
    )


class Aggregate(Section):
    """Two steps: first over time, each stream by itself; then over the streams of a group. Or one:
    over all points of a group.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["over_time"]}, {"required": ["over_points"]}]}
    )

    over_time: OverTime | None = Field(
        default=None, description="What becomes of a stream's points in a window."
    )
    over_space: OverSpace | None = Field(
        default=None,
        description="What becomes of the streams of a group; an increase or a rate is summed "
        "unless said.",
    )
    over_points: OverPoints | None = Field(
        default=None,
        description="One aggregate of all points of a group in a window, whichever stream they "
        "are of: p50, p99, {quantile: 0.95}, avg, stddev, distinct_count, ...",
    )

    @model_validator(mode="after")
    def _says_how(self) -> Aggregate:
        if self.over_time is None and self.over_points is None:
            message = "the definition does not say how it aggregates over time"
            raise failure("TM201", message, GAUGE, at="over_time")
        return self


class Publish(Section):
    """Where numbers go beside the store, and how long they stay in it."""

    final: bool = Field(default=True, description="One OTLP point a series and window, ever.")
    upsert: bool = Field(default=False, description="Keyed records that later revisions replace.")
    temporality: Temporality = Field(
        default="delta",
        description="Of a sum on the final topic: each point by itself, or since its run began.",
    )
    late: Late = Field(
        default="drop",
        description="On the final topic: drop what late points change, or carry it in the series' "
        "next point.",
    )
    expire_after: Expiry = Field(
        default=(EXPIRE_AFTER, None),
        description="Windows without data, or how long without data, until a series of the final "
        "topic ends; a sum publishes zeros meanwhile.",
        json_schema_extra={"default": EXPIRE_AFTER},
    )
    keep: Annotated[dict[WindowSize, Duration], WithJsonSchema(KEEP_SCHEMA)] = Field(
        default_factory=dict[Granularity, int],
        description="How long rows of a granularity are kept: {10s: 2d, 1h: 400d}.",
    )


class Limits(Section):
    """What a definition may cost."""

    series: int = Field(
        default=100_000,
        description="Groups of a tenant in a window; above 0. From 8,192 on up to 10 % more.",
        json_schema_extra={"minimum": 1, "maximum": 10_000_000},
    )
    beyond: Literal["other"] = Field(
        default="other",
        description="Groups beyond the limit are merged, exactly, into one with the attribute "
        "otel.metric.overflow=true.",
    )


class ServiceLevel(Section):
    """What readers may expect. Measured, and part of no version."""

    freshness: Duration | None = Field(
        default=None, description="From a window's end to its first publication."
    )
    completeness: Completeness | None = Field(
        default=None, description="Share of the points that the first publication counts."
    )


class TimeOverride(Section):
    """How long windows wait in an environment."""

    grace: Duration | None = Field(default=None, description="As `time.grace`.")
    corrections: Duration | None = Field(default=None, description="As `time.corrections`.")


class Override(Section):
    """What an environment says otherwise: how long is waited and kept, where numbers go, what they
    may cost. What a number means is the same everywhere.
    """

    owner: str | None = Field(default=None, description="Who answers for it there.")
    time: TimeOverride = Field(default_factory=TimeOverride)
    publish: Publish = Field(default_factory=Publish)
    limits: Limits = Field(default_factory=Limits)
    service_level: ServiceLevel = Field(default_factory=ServiceLevel)


class MetricDefinition(Section):
    """What is measured and how it is rolled up."""

    api_version: Literal["tidemill/v1"] = Field(alias="apiVersion", description="tidemill/v1")
    kind: Literal["Metric"] = Field(description="Metric")
    name: DefinitionName = Field(description="Name of the metric that is published.")
    description: str | None = Field(default=None, description="What the number means.")
    owner: str | None = Field(default=None, description="Who answers for it.")
    source: Source
    unit: str | None = Field(
        default=None,
        description="Unit in which values are counted and published, in UCUM; the source's unless "
        "said. Values are converted when they are read.",
    )
    space: Space
    time: Time
    aggregate: Aggregate
    publish: Publish = Field(default_factory=Publish)
    limits: Limits = Field(default_factory=Limits)
    service_level: ServiceLevel = Field(default_factory=ServiceLevel)
    include: Names = Field(
        default=(),
        description="Files that are read as well, relative to this one; one or a list.",
    )
    extends: Names = Field(
        default=(),
        description="Names of defaults whose fields hold where nothing else is said; of several "
        "the later one counts.",
    )
    environments: dict[EnvironmentName, Override] = Field(
        default_factory=dict[str, Override],
        max_length=MAX_LIST,
        description="What is otherwise in an environment: {dev: {time: {grace: 2s}}}.",
        json_schema_extra={"additionalProperties": False},
    )


class SourcePart(Source):
    """What of a source definitions have in common."""

    model_config = ConfigDict(json_schema_extra={"oneOf": None})

    unit: str | None = Field(default=None, description="As `source.unit` of a definition.")  # pyright: ignore[reportIncompatibleVariableOverride]


class TimePart(Time):
    """What of their windows definitions have in common."""

    granularities: list[WindowSize] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        min_length=1,
        max_length=16,
        description="As `time.granularities` of a definition.",
    )


class Defaults(MetricDefinition):
    """Fields that definitions take where they say nothing else: those of the folder and below, or
    by name those that extend it.
    """

    kind: Literal["Defaults"] = Field(description="Defaults")  # pyright: ignore[reportIncompatibleVariableOverride]
    name: DefinitionName | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        description="By which definitions extend it; without one it stands in `_defaults.yaml` and "
        "is for the definitions of the folder and below.",
    )
    description: str | None = Field(default=None, description="What these defaults are for.")
    source: SourcePart = Field(default_factory=SourcePart)  # pyright: ignore[reportIncompatibleVariableOverride]
    space: Space | None = Field(default=None, description="As `space` of a definition.")  # pyright: ignore[reportIncompatibleVariableOverride]
    time: TimePart = Field(default_factory=TimePart)  # pyright: ignore[reportIncompatibleVariableOverride]
    aggregate: Aggregate | None = Field(default=None, description="As `aggregate` of a definition.")  # pyright: ignore[reportIncompatibleVariableOverride]


class LookupDocument(Section):
    """A table in a file beside the definitions, in which attributes look up others."""

    api_version: Literal["tidemill/v1"] = Field(alias="apiVersion", description="tidemill/v1")
    kind: Literal["Lookup"] = Field(description="Lookup")
    name: DefinitionName = Field(description="By which attributes name it.")
    description: str | None = Field(default=None, description="What the table says.")
    owner: str | None = Field(default=None, description="Who answers for it.")
    file: TableFile = Field(description="The table, relative to this file: CSV with a header.")
    key: Attribute = Field(description="The column that is looked up; each text stands in it once.")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document, for editors: a definition, defaults, or a
    lookup.

    Sections that defaults may give are not required of a definition: an editor sees one file.
    """
    metric, defaults = (
        TypeAdapter(model).json_schema(by_alias=True, ref_template="#/$defs/{model}")
        for model in (MetricDefinition, Defaults)
    )
    inner = {**defaults.pop("$defs"), **metric.pop("$defs")}
    metric["required"] = ["apiVersion", "kind", "name"]
    for name in ("Source", "Time"):
        part = dict(inner[name])
        for key in ("required", "oneOf"):
            part.pop(key, None)
        inner[name] = part
    pairs = itertools.combinations(NAMES_OF_A_SOURCE, 2)
    inner["Source"]["not"] = {"anyOf": [{"required": list(pair)} for pair in pairs]}
    for name in ("SourcePart", "TimePart"):
        del inner[name]
    for name, model in (("source", "Source"), ("time", "Time")):
        defaults["properties"][name] = {"$ref": f"#/$defs/{model}"}
    lookup = TypeAdapter(LookupDocument).json_schema(by_alias=True)
    of_kind: dict[str, Any] = {"$ref": "#/$defs/MetricDefinition"}
    for kind in ("Defaults", "LookupDocument"):
        const = {"const": kind.removesuffix("Document")}
        of_kind = {
            "if": {"properties": {"kind": const}, "required": ["kind"]},
            "then": {"$ref": f"#/$defs/{kind}"},
            "else": of_kind,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:tidemill:schema:v1:metric",
        "title": "tidemill metric definition",
        "type": "object",
        **of_kind,
        "$defs": {
            "MetricDefinition": metric,
            "Defaults": defaults,
            "LookupDocument": lookup,
            **inner,
        },
    }
