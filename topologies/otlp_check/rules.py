"""What is checked: every rule with its code, its rank, where the specification says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["violation", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `section` names a heading of the data model, or a comment of the protocol."""

    code: str
    severity: Severity
    section: str
    broken_when: str
    advice: str


_V: Severity = "violation"
_W: Severity = "warning"
_N: Severity = "note"
_TIME = "metrics.proto: Metric, TimeUnixNano"
_START = "metrics.proto: Metric, StartTimeUnixNano"
_IDENTITY = "data model: Producer recommendations"
_RESETS = "data model: Resets and Gaps"
_OVERLAP = "data model: Overlap; Single-Writer"
_RESET = "metrics.proto: AGGREGATION_TEMPORALITY_CUMULATIVE"
_SUMS = "data model: Sums"
_HISTOGRAM = "metrics.proto: HistogramDataPoint"
_EXPONENTIAL = "metrics.proto: ExponentialHistogramDataPoint"
_INDEXES = "data model: ExponentialHistogram: Consumer Recommendations"
_SUMMARY = "data model: Summary"
_NO_VALUE = "data model: No recorded value"
_ATTRIBUTES = "common: Attribute"
_ENVELOPE = "otlp: Empty Telemetry Envelopes"

_ONE_WRITER = "give each writer a resource of its own, or stop the second writer"
_NEW_START = "after losing state, begin at zero with a start time after the last point"
_ONE_IDENTITY = "rename one of the metrics, or make a View so that they agree"
_ADD_UP = "count every measurement in exactly one bucket"

_ALL = (
    # What a request is.
    Rule("undecodable-request", _V, "otlp: Binary Protobuf Encoding",
         "the bytes are no ExportMetricsServiceRequest",
         "look at what wrote them: another signal, a cut body or another encoding"),
    Rule("repeated-request", _W, "otlp: Duplicate Data",
         "the same bytes came before; their points are not examined again",
         "expected after a lost answer; else remove what delivers twice"),
    Rule("empty-envelope", _W, _ENVELOPE,
         "a resource without scopes, a scope without metrics, or a metric without points",
         "leave empty envelopes out"),
    # What a metric is.
    Rule("empty-metric-name", _V, "data model: OpenTelemetry Protocol data model",
         "the name, by which a metric is identified, is empty", "name the metric"),
    Rule("metric-without-data", _V, "metrics.proto: Metric, data",
         "the metric is neither gauge, sum, histogram, exponential histogram nor summary",
         "set one of them; a kind newer than this checker looks the same"),
    Rule("unspecified-temporality", _V, "metrics.proto: AGGREGATION_TEMPORALITY_UNSPECIFIED",
         "the temporality of a sum or histogram is not stated", "say delta or cumulative"),
    Rule("kind-conflict", _V, _IDENTITY,
         "one name in one scope and resource has two kinds of points", _ONE_IDENTITY),
    Rule("unit-conflict", _V, _IDENTITY,
         "one name in one scope and resource has two units", _ONE_IDENTITY),
    Rule("temporality-conflict", _V, _IDENTITY,
         "one name in one scope and resource is both delta and cumulative",
         "convert one of them, or rename it"),
    Rule("monotonicity-conflict", _V, _IDENTITY,
         "one name in one scope and resource is both monotonic and not", _ONE_IDENTITY),
    Rule("description-conflict", _W, _IDENTITY,
         "one metric has two descriptions", "use the longer one everywhere"),
    # What attributes are.
    Rule("duplicate-attribute-key", _V, "common: Attribute Collections",
         "a resource, scope, point or map has a key twice", "keep one value a key"),
    Rule("empty-attribute-key", _V, _ATTRIBUTES, "an attribute has no key", "name the attribute"),
    # What every point is.
    Rule("zero-time", _V, _TIME, "a point has no time", "set time_unix_nano"),
    Rule("start-after-time", _V, "data model: Temporality",
         "a point's interval (start, time] ends before it starts",
         "check units (nanoseconds) and the clocks of start and time"),
    Rule("missing-start-time", _W, _START,
         "a sum or histogram has no start time (told once a stream)",
         "set start_time_unix_nano: without it restarts and gaps are invisible"),
    Rule("missing-value", _V, "metrics.proto: NumberDataPoint, value",
         "a number point has neither an int nor a double", "set the value or leave the point out"),
    Rule("no-recorded-value-with-value", _W, _NO_VALUE,
         "a point that is flagged as without a value carries one", "send no value with the flag"),
    Rule("reserved-flags", _W, "metrics.proto: DataPointFlags",
         "reserved bits of the flags are set", "set no bit but the lowest"),
    Rule("exemplar-without-value", _V, "metrics.proto: Exemplar, value",
         "an exemplar has neither an int nor a double", "set the value or leave the exemplar out"),
    # How points of a stream follow each other.
    Rule("duplicate-point", _V, _OVERLAP,
         "a stream has two points of the same start and time", _ONE_WRITER),
    Rule("overlapping-intervals", _V, _OVERLAP,
         "two delta points of a stream cover the same time", _ONE_WRITER),
    Rule("overlapping-sequences", _V, _RESET,
         "a cumulative stream's start moved to before its last point",
         "keep the start, or begin anew after the last point; " + _ONE_WRITER),
    Rule("start-went-back", _V, "data model: Temporality",
         "a cumulative stream's start moved back", "keep the start time; " + _ONE_WRITER),
    Rule("decrease-without-reset", _V, _RESET,
         "a cumulative monotonic value or a count fell under the same start", _NEW_START),
    Rule("decrease-without-start-time", _W, _START,
         "a cumulative monotonic value fell in a stream that states no start", _NEW_START),
    Rule("bucket-decrease", _V, _RESET,
         "a bucket of a cumulative histogram fell under the same start", _NEW_START),
    Rule("extremum-shrank", _V, "metrics.proto: HistogramDataPoint, min, max",
         "min rose or max fell in a cumulative histogram under the same start",
         "take min and max over the whole interval, or leave them out"),
    Rule("sum-decrease", _W, "metrics.proto: HistogramDataPoint, sum",
         "the sum of a cumulative histogram fell while its count did not",
         "leave the sum out where measurements may be negative"),
    Rule("negative-monotonic-sum", _V, _SUMS,
         "a monotonic sum has a negative delta, or is below zero since a known start",
         "make the sum non-monotonic, or refuse negative increments"),
    Rule("out-of-order-point", _W, "data model: Sums: Delta-to-Cumulative",
         "a point is older than the last one of its stream, and overlaps none",
         "deliver a stream's points in order: consumers may drop late ones"),
    Rule("resumed-without-new-start", _W, _RESETS,
         "a cumulative stream goes on under the old start after a point without a recorded value",
         "begin a new sequence, with a start time after the missing value"),
    Rule("gap", _N, _RESETS,
         "time between two delta points is covered by none: allowed, and undefined there",
         "nothing to do if nothing was measured; else data was lost"),
    Rule("reset", _N, _RESETS,
         "a cumulative stream began anew, after its last point: allowed",
         "nothing to do; often a restart"),
    # What a histogram is.
    Rule("bucket-count-mismatch", _V, _HISTOGRAM + ", bucket_counts",
         "there are not as many buckets as bounds and one more (none without bounds is allowed)",
         "send one count more than bounds, or neither"),
    Rule("bounds-not-increasing", _V, _HISTOGRAM + ", explicit_bounds",
         "the bounds are not strictly increasing numbers", "sort the bounds, each once"),
    Rule("count-mismatch", _V, _HISTOGRAM + ", count; " + "ExponentialHistogramDataPoint, count",
         "the buckets (and the zero count) do not add up to the count", _ADD_UP),
    Rule("sum-of-nothing", _V, _HISTOGRAM + ", sum",
         "the count is zero, and the sum is not", "send zero or no sum"),
    Rule("min-above-max", _V, "data model: Histogram",
         "min is greater than max", "take both over the same measurements"),
    Rule("sum-with-negative-values", _W, _HISTOGRAM + ", sum",
         "a histogram states a sum and has negative measurements",
         "leave the sum out where measurements may be negative"),
    # What an exponential histogram is.
    Rule("scale-out-of-range", _W, _INDEXES,
         "scale is not in [-11, 20]: all doubles in one bucket, or indexes beyond 32 bits",
         "use a scale in that range"),
    Rule("bucket-index-out-of-range", _V, _INDEXES,
         "a bucket with measurements lies beyond what a double can be",
         "check scale and offset: consumers should reject this"),
    Rule("bad-zero-threshold", _V, _EXPONENTIAL + ", zero_threshold",
         "the zero threshold is negative or not a number", "send the width of the zero region"),
    Rule("zero-threshold-in-bucket", _W, "data model: Zero Count and Zero Threshold",
         "a bucket with measurements reaches below the zero threshold",
         "raise the threshold to the bucket's upper bound, and count the bucket as zero"),
    # What a summary is.
    Rule("quantile-out-of-range", _V, _SUMMARY,
         "a quantile is not in [0, 1]", "write 0.9 for the 90th percentile"),
    Rule("quantiles-not-increasing", _V, _SUMMARY,
         "the quantiles are not strictly increasing", "sort the quantiles, each once"),
    Rule("negative-quantile-value", _V, _SUMMARY,
         "the value of a quantile is negative", "summarise values that cannot be negative"),
)  # fmt: skip

RULES = {rule.code: rule for rule in _ALL}


def table() -> str:
    """The rules as a Markdown table, as the README has it."""
    rows = [f"| `{r.code}` | {r.severity} | {r.broken_when} | {r.section} |" for r in _ALL]
    return "\n".join(["| code | rank | when | section |", "|---|---|---|---|", *rows])
