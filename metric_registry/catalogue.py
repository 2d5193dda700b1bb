"""Every code that a check can report. The one table: code, severity, title, why, and an example.

`example` is what a good definition's sections are replaced with to make the mistake, `fix` what
makes it good again; a test puts both to the check. Codes keep their meaning and are not reused.
TM0 files, TM1 fields, TM2 measurement, TM3 time, TM4 publication and limits, TM5 definitions
together, TM6 tests of definitions, TM7 live data, TM8 derived definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "information"]
"""Information is nothing to put right."""


@dataclass(frozen=True, slots=True)
class Code:
    code: str
    severity: Severity
    title: str
    explanation: str
    example: str = ""
    fix: str = ""

    def text(self) -> str:
        """For people: what the code means, with its example."""
        parts = [f"{self.code} ({self.severity}): {self.title}", self.explanation]
        for head, lines in (("Instead of", self.example), ("write", self.fix)):
            if lines:
                parts += [head, "\n".join(f"    {line}" for line in lines.split("\n"))]
        return "\n\n".join(parts)


_CODES = (
    Code(
        "TM001",
        "error",
        "file cannot be read",
        "The path does not exist, is no file, or may not be read by this user.",
    ),
    Code(
        "TM002",
        "error",
        "not UTF-8",
        "Definitions are UTF-8 text; another encoding would change names without a word.",
    ),
    Code(
        "TM003",
        "warning",
        "nothing is defined",
        "The file is empty or holds comments only.",
    ),
    Code(
        "TM004",
        "error",
        "no definitions found",
        "A directory is searched for *.yaml and *.yml files, and this one has none.",
    ),
    Code(
        "TM005",
        "error",
        "not YAML",
        "The text is not YAML 1.2, so nothing of this document was checked further.",
        "space: {keep: [region}",
        "space: {keep: [region]}",
    ),
    Code(
        "TM006",
        "error",
        "tab in the indentation",
        "YAML indents with spaces only; a tab has no width that all agree on.",
        "space:\n\tkeep: [region]",
        "space:\n  keep: [region]",
    ),
    Code(
        "TM007",
        "error",
        "field stands twice",
        "Which of the two holds would depend on the reader.",
        "owner: team-a\nowner: team-b",
        "owner: team-a",
    ),
    Code(
        "TM008",
        "error",
        "not a definition",
        "A document is a mapping of fields to values.",
        "- name: requests",
    ),
    Code(
        "TM009",
        "error",
        "YAML that is not used here",
        "Tags, directives, keys that are not words and very deep nesting have no use in a "
        "definition, and each has been a way to attack a reader.",
        "owner: !team brokers",
        "owner: brokers",
    ),
    Code(
        "TM010",
        "error",
        "file too large",
        "A file of definitions has at most 4 MiB; split it, a directory is read whole.",
    ),
    Code(
        "TM101",
        "error",
        "unknown field",
        "A field that nobody reads is a mistake: usually a misspelling, or the wrong section.",
        "limits: {serie: 10}",
        "limits: {series: 10}",
    ),
    Code(
        "TM102",
        "error",
        "field missing",
        "The definition does not say something that has no safe default.",
        "source: {metric: requests}",
        'source: {metric: requests, unit: "{request}"}',
    ),
    Code(
        "TM103",
        "error",
        "wrong type",
        "The value is of another kind than the field takes.",
        'limits: {series: "10"}',
        "limits: {series: 10}",
    ),
    Code(
        "TM104",
        "error",
        "unknown choice",
        "The field takes one of a few words.",
        "aggregate: {over_time: mean, over_space: sum}",
        "aggregate: {over_time: avg, over_space: sum}",
    ),
    Code(
        "TM105",
        "error",
        "another kind of document",
        "This program reads documents of apiVersion tidemill/v1 and kind Metric or Defaults.",
        "apiVersion: tidemill/v2",
        "apiVersion: tidemill/v1",
    ),
    Code(
        "TM106",
        "error",
        "impossible name",
        "The name could not be a metric, a topic's record or a view in the store.",
        "name: fetch requests",
        "name: fetch_requests",
    ),
    Code(
        "TM107",
        "error",
        "not a duration",
        "A duration is a whole number and one of ms, s, m, h, d, w, y (365 days).",
        "time: {granularities: [1m], grace: 15}",
        "time: {granularities: [1m], grace: 15s}",
    ),
    Code(
        "TM108",
        "error",
        "empty",
        "A value is asked for, and there is none.",
        "time: {granularities: []}",
        "time: {granularities: [1m]}",
    ),
    Code(
        "TM109",
        "error",
        "listed twice",
        "The same entry stands in a list more than once; one of them was meant otherwise.",
        "time: {granularities: [1m, 60s]}",
        "time: {granularities: [1m]}",
    ),
    Code(
        "TM110",
        "error",
        "too many entries",
        "Everything has a limit, so that a mistake cannot take the workers down.",
        "time: {granularities: [%s]}" % ", ".join(f"{2**n}s" for n in range(17)),  # noqa: UP031
        "time: {granularities: [1m]}",
    ),
    Code(
        "TM111",
        "warning",
        "no owner",
        "Somebody answers for a number; readers are told who.",
        "owner:",
        "owner: team-brokers",
    ),
    Code(
        "TM112",
        "warning",
        "no description",
        "What a number means is the part that cannot be derived from anything else.",
        'description: ""',
        "description: Requests served",
    ),
    Code(
        "TM113",
        "error",
        "reserved attribute",
        "`otel.metric.overflow` marks the group of those beyond a limit, and `tidemill.` begins "
        "what tidemill says of its own numbers; a group of that name could not be told from it.",
        "space: {keep: [region, tidemill.shard]}",
        "space: {keep: [region]}",
    ),
    Code(
        "TM114",
        "error",
        "name of a table",
        "The store has a view for each definition, named as the definition is. Under the name of "
        "one of its own tables, readers would be given that table.",
        "name: rollups",
        "name: requests.rollups",
    ),
    Code(
        "TM115",
        "error",
        "name too long for the store",
        "The store keeps a view in a file of its name, in which each `.`, `-` and `/` takes three "
        "bytes. It refuses a longer one, and nothing would be stored from then on.",
        f"name: {'.'.join(['requests'] * 20)}",
        f"name: {'.'.join(['requests'] * 10)}",
    ),
    Code(
        "TM119",
        "error",
        "name of a candidate",
        "`registry apply --candidate` computes what a definition would become beside the one in "
        "force, under its name and `.candidate`. A definition of that name would be taken for it.",
        "name: requests.candidate",
        "name: requests.next",
    ),
    Code(
        "TM201",
        "error",
        "aggregates not stated",
        "A gauge says how it is aggregated over time and how over space: there is no default that "
        "would not be wrong half of the time. Only over_time: increase and rate, the counter's "
        "forms, have one for over_space: sum.",
        "aggregate: {over_time: avg}",
        "aggregate: {over_time: avg, over_space: avg}",
    ),
    Code(
        "TM202",
        "error",
        "source named twice or not at all",
        "A source is one `metric`, or `any_of` several names for the same thing.",
        "source: {metric: a, any_of: [{metric: b}], unit: By}",
        "source: {any_of: [{metric: a}, {metric: b}], unit: By}",
    ),
    Code(
        "TM203",
        "error",
        "impossible unit",
        "A unit is at most 63 printable ASCII characters without spaces, with matching braces.",
        'source: {metric: requests, unit: "{request"}',
        'source: {metric: requests, unit: "{request}"}',
    ),
    Code(
        "TM204",
        "warning",
        "unknown unit",
        "Units are UCUM's, as in OpenTelemetry, so that readers can convert them.",
        "source: {metric: requests, unit: bytes}",
        "source: {metric: requests, unit: By}",
    ),
    Code(
        "TM205",
        "warning",
        "sum of a share over time",
        "Shares (unit 1 or %) that are added up over a window depend on how often they were "
        "sampled, and mean nothing.",
        'source: {metric: load, unit: "%"}\naggregate: {over_time: sum, over_space: sum}',
        'source: {metric: load, unit: "%"}\naggregate: {over_time: avg, over_space: sum}',
    ),
    Code(
        "TM206",
        "warning",
        "increase of what does not only grow",
        "increase and rate are for cumulative counters. A value in % or per second, a temperature "
        "or a power goes down as well, and each time it does would be taken for a restart.",
        "source: {metric: flow, unit: By/s}",
        "source: {metric: flow, unit: By}",
    ),
    Code(
        "TM207",
        "error",
        "ambiguous value",
        "YAML reads the number as another text than was written (1.10 is 1.1), so it would never "
        "match an attribute that is text.",
        'source: {metric: requests, where: {version: 1.10}, unit: "1"}',
        'source: {metric: requests, where: {version: "1.10"}, unit: "1"}',
    ),
    Code(
        "TM208",
        "error",
        "units that do not convert",
        "Values are converted from the unit of the source to the one that is published, so both "
        "measure the same: a time is no number of bytes.",
        "source: {metric: latency, unit: ms}\nunit: By",
        "source: {metric: latency, unit: ms}\nunit: s",
    ),
    Code(
        "TM209",
        "error",
        "unit of a count",
        "A count of points is in {point} and one of streams in {stream}; values are not looked at.",
        'unit: "{page}"\naggregate: {over_time: count, over_space: sum}',
        "aggregate: {over_time: count, over_space: sum}",
    ),
    Code(
        "TM210",
        "error",
        "two ways to aggregate",
        "Either there are two steps, over the points of each stream and then over the streams, or "
        "one over all points of a group.",
        "aggregate: {over_points: p99, over_space: max}",
        "aggregate: {over_points: p99}",
    ),
    Code(
        "TM211",
        "error",
        "unknown aggregate over points",
        "No aggregate has the name: neither those that come with the program, nor those that "
        "the setting `aggregates` adds.",
        "aggregate: {over_points: median}",
        "aggregate: {over_points: p50}",
    ),
    Code(
        "TM212",
        "error",
        "impossible parameter",
        "An aggregate takes one parameter, or none.",
        "aggregate: {over_points: {quantile: 95}}",
        "aggregate: {over_points: {quantile: 0.95}}",
    ),
    Code(
        "TM213",
        "error",
        "aggregate of one stream",
        "An increase, and a rate, compare samples of one stream in order of time. Those of several "
        "streams would take every change from one stream to the next for a reset.",
        "aggregate: {over_points: increase}",
        "aggregate: {over_time: increase, over_space: sum}",
    ),
    Code(
        "TM214",
        "error",
        "number of numbers",
        "What is no sum, extreme or mean of numbers cannot be made from finished numbers: a "
        "quantile of quantiles is no quantile of the points, a distinct count of counts no count "
        "of values. Such an aggregate takes all points of a group at once, and coarser windows are "
        "made by merging its states, never of what was published.",
        "aggregate: {over_time: avg, over_space: p99}",
        "aggregate: {over_points: p99}",
    ),
    Code(
        "TM215",
        "error",
        "histogram points are taken together",
        "A point of a histogram holds many values, and says of none of them when it was. So what "
        "all points of a group observed in a window is taken together, in one step.",
        "source: {metric: http.server.request.duration, unit: s, instrument: histogram}\n"
        "aggregate: {over_time: last, over_space: max}",
        "source: {metric: http.server.request.duration, unit: s, instrument: histogram}\n"
        "aggregate: {over_points: {explicit_histogram: [0.1, 0.5, 1, 5]}}",
    ),
    Code(
        "TM216",
        "error",
        "not to be made of histograms",
        "Buckets, count, sum, minimum and maximum tell how many values there were, what they add "
        "up to, and how they lie; not which of them was the last, or how many different ones there "
        "were. Histograms of one kind are none of the other: explicit buckets would have to be "
        "spread over exponential ones by a guess.",
        "source: {metric: http.server.request.duration, unit: s, instrument: histogram}\n"
        "aggregate: {over_points: exponential_histogram}",
        "source: {metric: http.server.request.duration, unit: s, "
        "instrument: exponential_histogram}\n"
        "aggregate: {over_points: exponential_histogram}",
    ),
    Code(
        "TM217",
        "error",
        "histograms are not converted",
        "A bound is a double, and in another unit most are none: values would change their bucket.",
        "source: {metric: http.server.request.duration, unit: s, instrument: histogram}\n"
        "aggregate: {over_points: count}\nunit: ms",
        "source: {metric: http.server.request.duration, unit: s, instrument: histogram}\n"
        "aggregate: {over_points: count}",
    ),
    Code(
        "TM218",
        "error",
        "pattern without a star",
        "`match` is for names that differ in a part, which is written `*`; one name is a `metric`.",
        'source: {match: requests, unit: "{request}"}',
        'source: {match: "*.requests_total", unit: "{request}"}',
    ),
    Code(
        "TM219",
        "error",
        "impossible pattern",
        "Patterns are those of regular expressions that are matched in linear time: what "
        "agents send must not be able to stop a worker. So there is nothing that looks "
        "back or ahead.",
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        '  attributes: {region: {from: zone, capture: "^(a|b"}}',
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        '  attributes: {region: {from: zone, capture: "^(a|b)"}}',
    ),
    Code(
        "TM220",
        "error",
        "attribute that cannot be made",
        "The tenant parts customers from one another, and `resource.NAME` asks what the "
        "resource has; neither is made of something else.",
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        "  attributes: {tenant: [customer]}\n"
        "  where: {tenant: acme}",
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        "  attributes: {customer: [customer, client]}\n"
        "  where: {customer: acme}",
    ),
    Code(
        "TM221",
        "error",
        "part that was not captured",
        "`write` says what is made of a match: `{1}` is what the first `(...)` of the "
        "pattern matched.",
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        '  attributes: {region: {from: zone, capture: "^([a-z]+)-", write: "{2}"}}',
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        '  attributes: {region: {from: zone, capture: "^([a-z]+)-", write: "{1}"}}',
    ),
    Code(
        "TM222",
        "warning",
        "attribute without use",
        "An attribute that is made is for `where` or `keep`.",
        'source:\n  metric: requests\n  unit: "{request}"\n  attributes: {zone: [zone, az]}',
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        "  attributes: {region: [region, cloud.region]}",
    ),
    Code(
        "TM223",
        "error",
        "condition that nothing meets",
        "The values of an attribute with a map are those that the map gives, and the default. A "
        "condition on another one holds for no point, ever.",
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        "  attributes: {tier: {from: plan, map: {acme: gold, globex: silver}}}\n"
        "  where: {tier: golden}",
        "source:\n"
        "  metric: requests\n"
        '  unit: "{request}"\n'
        "  attributes: {tier: {from: plan, map: {acme: gold, globex: silver}}}\n"
        "  where: {tier: gold}",
    ),
    Code(
        "TM224",
        "warning",
        "sum of a gauge over time",
        "A temperature, a power, a rate, a limit or a running total is there all the time, and "
        "points are looks at it. Looked at twice as often, the sum over a window is twice as much.",
        "source: {metric: room.temperature, unit: Cel}\n"
        "aggregate: {over_time: sum, over_space: sum}",
        "source: {metric: room.temperature, unit: Cel}\n"
        "aggregate: {over_time: avg, over_space: max}",
    ),
    Code(
        "TM225",
        "warning",
        "mean of means",
        "A mean, or a quantile, of what many requests took does not say how many they were, so "
        "the mean of several is not that of all requests. Of samples `{over_time: avg, over_space: "
        "avg}` is fine: each stream weighs the same.",
        "source: {metric: request.latency.avg, unit: ms}\n"
        "aggregate: {over_time: avg, over_space: avg}",
        "source: {metric: request.latency.avg, unit: ms}\n"
        "aggregate: {over_time: max, over_space: max}",
    ),
    Code(
        "TM226",
        "error",
        "level out of its place",
        "Levels stand from the finest to the coarsest. `all` keeps none of their attributes, so "
        "nothing is coarser; the tenant is part of every group, so it is no level.",
        "space: {keep: [], hierarchy: [host.name, all, region]}",
        "space: {keep: [], hierarchy: [host.name, region, all]}",
    ),
    Code(
        "TM227",
        "error",
        "hierarchy of one level",
        "A hierarchy makes a metric of each level; an attribute alone is one to keep.",
        "space: {keep: [], hierarchy: [region]}",
        "space: {keep: [], hierarchy: [region, all]}",
    ),
    Code(
        "TM228",
        "error",
        "second name of the finest level",
        "The finest level has the definition's name, and only that; the others are named beside "
        "it.",
        "space: {keep: [], hierarchy: [{by: region, name: regional}, all]}",
        "space: {keep: [], hierarchy: [region, {by: all, name: worldwide}]}",
    ),
    Code(
        "TM229",
        "error",
        "lookup beside something else",
        "A text becomes what a map says, or what a table says, and a column is one of a lookup.",
        'source:\n  metric: requests\n  unit: "{request}"\n'
        "  attributes: {region: {from: zone, column: region}}",
        'source:\n  metric: requests\n  unit: "{request}"\n'
        "  attributes: {region: {from: zone, map: {a1: a}}}",
    ),
    Code(
        "TM301",
        "error",
        "windows do not nest",
        "Coarser windows are made of finer ones, so each granularity is a multiple of the next "
        "finer one; so are the days of a zone, and the hops of windows that hop.",
        "time: {granularities: [40s, 1m]}",
        "time: {granularities: [20s, 1m]}",
    ),
    Code(
        "TM302",
        "error",
        "calendar window",
        "Days, ISO weeks and months follow the calendar of a zone. Several of them, and years, are "
        "for readers to add up.",
        "time: {granularities: [1d, 3mo]}",
        "time: {granularities: [1d, 1mo]}",
    ),
    Code(
        "TM303",
        "error",
        "impossible window",
        "A window is a whole number of seconds, from one to a year.",
        "time: {granularities: [500ms, 1s]}",
        "time: {granularities: [1s]}",
    ),
    Code(
        "TM304",
        "error",
        "grace too long",
        "Every window waits for the grace before it is sealed; what comes later than a few minutes "
        "is what corrections are for.",
        "time: {granularities: [1m], grace: 2h, corrections: 1d}",
        "time: {granularities: [1m], grace: 2m, corrections: 1d}",
    ),
    Code(
        "TM305",
        "error",
        "corrections end before the grace",
        "A late point comes after the grace, so a horizon that is shorter admits none. 0s turns "
        "corrections off.",
        "time: {granularities: [1m], grace: 1m, corrections: 30s}",
        "time: {granularities: [1m], grace: 1m, corrections: 1h}",
    ),
    Code(
        "TM306",
        "error",
        "corrections beyond the raw log",
        "A correction may have to read the window's points again, and the raw topic no longer has "
        "them.",
        "time: {granularities: [1m], corrections: 30d}",
        "time: {granularities: [1m], corrections: 1d}",
    ),
    Code(
        "TM307",
        "warning",
        "windows drift against the day",
        "Windows are counted from 1970-01-01, a Thursday. A size that does not divide a day begins "
        "at another time each day, and one of several days on a weekday that few expect.",
        "time: {granularities: [7m]}",
        "time: {granularities: [5m]}",
    ),
    Code(
        "TM308",
        "warning",
        "freshness within the grace",
        "A window is not published before its grace is over, so the promise cannot be kept.",
        "service_level: {freshness: 1s}",
        "service_level: {freshness: 1m}",
    ),
    Code(
        "TM309",
        "error",
        "impossible hop",
        "A hopping window is made of steps: its hop is less than its size and divides it. Weeks "
        "and months are of different lengths and do not hop.",
        "time: {granularities: [1m, 5m/2m]}",
        "time: {granularities: [1m, 5m/1m]}",
    ),
    Code(
        "TM310",
        "error",
        "unknown time zone",
        "A zone is named as the tz database names it, by region and city.",
        "time: {granularities: [1h, 1d], zone: Berlin}",
        "time: {granularities: [1h, 1d], zone: Europe/Berlin}",
    ),
    Code(
        "TM311",
        "warning",
        "many steps",
        "Each step's row of every stream, 132 bytes, is held until the last window that it is part "
        "of has sealed.",
        "time: {granularities: [10s, 1h/10s]}",
        "time: {granularities: [10s, 1h/1m]}",
    ),
    Code(
        "TM312",
        "warning",
        "zone without use",
        "A zone says when days, weeks and months begin; shorter windows are the same everywhere.",
        "time: {granularities: [1m, 1h], zone: Europe/Berlin}",
        "time: {granularities: [1m, 1h, 1d], zone: Europe/Berlin}",
    ),
    Code(
        "TM401",
        "error",
        "retention of another granularity",
        "`keep` names a window size that the definition does not compute.",
        "publish: {keep: {5m: 10d}}",
        "publish: {keep: {1m: 10d}}",
    ),
    Code(
        "TM402",
        "error",
        "kept for too short",
        "Rows would be deleted before their window can be corrected for the last time, and a "
        "correction would bring half of them back.",
        "publish: {keep: {1m: 30m}}",
        "publish: {keep: {1m: 14d}}",
    ),
    Code(
        "TM403",
        "warning",
        "coarse rows go first",
        "Coarse rows are the cheap ones, and are what is left when fine ones are gone.",
        "time: {granularities: [1m, 1h]}\npublish: {keep: {1m: 30d, 1h: 7d}}",
        "time: {granularities: [1m, 1h]}\npublish: {keep: {1m: 30d, 1h: 400d}}",
    ),
    Code(
        "TM404",
        "error",
        "impossible limit",
        "A limit of series is above 0 and at most ten million.",
        "limits: {series: 0}",
        "limits: {series: 1000}",
    ),
    Code(
        "TM405",
        "error",
        "not a percentage",
        "Completeness is a share of the points, above 0% and up to 100%.",
        "service_level: {completeness: 0.999}",
        "service_level: {completeness: 99.9%}",
    ),
    Code(
        "TM406",
        "error",
        "series outlive too many windows",
        "Each series publishes a zero in every window until it expires: a thousand series that "
        "survive a thousand windows are a million points that say nothing.",
        "publish: {expire_after: 1d}\ntime: {granularities: [10s]}",
        "publish: {expire_after: 10m}\ntime: {granularities: [10s]}",
    ),
    Code(
        "TM407",
        "error",
        "a gauge is neither cumulative nor carried",
        "Only what adds up can count from the start of a run, or carry what late points changed: "
        "an increase, a count or a sum that is summed over space.",
        "aggregate: {over_time: avg, over_space: max}\npublish: {temporality: cumulative}",
        "aggregate: {over_time: avg, over_space: max}\npublish: {final: true}",
    ),
    Code(
        "TM408",
        "warning",
        "nothing to carry",
        "With `corrections: 0s` late points change nothing, so no later point can carry it.",
        "time: {granularities: [1m], corrections: 0s}\npublish: {late: carry}",
        "time: {granularities: [1m], corrections: 1h}\npublish: {late: carry}",
    ),
    Code(
        "TM409",
        "error",
        "a histogram carries nothing",
        "What late points changed of a histogram can be less as well as more, and a histogram "
        "counts from zero; so no later point can have it added.",
        "aggregate: {over_points: exponential_histogram}\npublish: {late: carry}",
        "aggregate: {over_points: exponential_histogram}\npublish: {temporality: cumulative}",
    ),
    Code(
        "TM410",
        "warning",
        "more groups than the limit",
        "Conditions and maps bound how many different groups a tenant can have, and that is above "
        "the limit of the definition. Those beyond it would be one row, "
        "`otel.metric.overflow=true`.",
        "source: {metric: requests, where: {type: [Fetch, Produce, Metadata]}, unit: By}\n"
        "space: {keep: [type]}\nlimits: {series: 2}",
        "source: {metric: requests, where: {type: [Fetch, Produce, Metadata]}, unit: By}\n"
        "space: {keep: [type]}\nlimits: {series: 3}",
    ),
    Code(
        "TM411",
        "error",
        "tables that are too large",
        "What definitions look up is part of the plan, which every worker gets with each change, "
        "and versions that still have windows to close keep their tables beside the new ones.",
    ),
    Code(
        "TM501",
        "error",
        "name defined twice",
        "A name stands for one number everywhere. The second definition is refused, not merged.",
    ),
    Code(
        "TM502",
        "warning",
        "one rollup under two names",
        "Two definitions compute the same number; readers will ask which one is right.",
    ),
    Code(
        "TM503",
        "error",
        "too many definitions",
        "A plan holds at most 65,535 definitions.",
    ),
    Code(
        "TM504",
        "error",
        "rollup with a source's name",
        "A rollup has a metric name of its own; under a source's name nobody could tell raw points "
        "from rolled up ones, and a reader that sends both would count twice.",
        "name: requests",
        "name: served.requests",
    ),
    Code(
        "TM505",
        "error",
        "defaults defined twice",
        "Defaults have a name, or stand for a folder, once: which of two holds would depend on the "
        "order in which they are read.",
    ),
    Code(
        "TM506",
        "error",
        "environment that changes the meaning",
        "An environment says how long is waited, what is kept, published and allowed, and who "
        "answers for it. What a number is, is the same everywhere, or its name would lie.",
        "environments: {dev: {aggregate: {over_time: rate}}}",
        "environments: {dev: {time: {grace: 2s}}}",
    ),
    Code(
        "TM507",
        "error",
        "defaults that are not there",
        "`extends` names a document of kind Defaults among the files that are read.",
        "extends: team.brokers",
    ),
    Code(
        "TM508",
        "error",
        "defaults that extend themselves",
        "Which of them holds where both say something has no answer.",
    ),
    Code(
        "TM509",
        "error",
        "defaults for nobody",
        "Defaults have a name, by which definitions extend them, or stand in a folder's "
        "`_defaults.yaml`, and are for what lies in it and below.",
    ),
    Code(
        "TM510",
        "error",
        "unknown environment",
        "The environment that was chosen is one of which some document says something; a "
        "misspelled one would run with the settings of none.",
    ),
    Code(
        "TM511",
        "warning",
        "defaults without use",
        "No definition takes them: none extends them by their name, or none is in their folder or "
        "below.",
    ),
    Code(
        "TM512",
        "error",
        "definition among defaults",
        "`_defaults.yaml` is read with every definition below it, also with a single one, so it "
        "holds nothing that would then be computed.",
    ),
    Code(
        "TM513",
        "warning",
        "names that readers take for one",
        "On the final topic a rollup is a metric among others. OpenTelemetry does not tell names "
        "apart by case, and Prometheus writes `.`, `-` and `/` as `_`: two rollups would be one "
        "metric there.",
    ),
    Code(
        "TM514",
        "warning",
        "include without use",
        "The file holds no definitions, and none of its defaults is extended by a definition that "
        "has it read.",
    ),
    Code(
        "TM515",
        "warning",
        "environment that changes nothing",
        "What is said of the environment is so without it, by the defaults or by what the "
        "definition says for all environments.",
        "limits: {series: 1000}\nenvironments: {dev: {limits: {series: 1000}}}",
        "limits: {series: 1000}\nenvironments: {dev: {limits: {series: 10}}}",
    ),
    Code(
        "TM516",
        "error",
        "unknown lookup",
        "A lookup is found by its name, in the files that are checked and those that they include.",
        'source:\n  metric: requests\n  unit: "{request}"\n'
        "  attributes: {region: {from: zone, lookup: zones}}",
        'source:\n  metric: requests\n  unit: "{request}"\n'
        "  attributes: {region: {from: zone, map: {a1: a}}}",
    ),
    Code(
        "TM517",
        "error",
        "unknown column",
        "A table has the columns that its header names; none of them is called as the attribute, "
        "or as `column` says.",
    ),
    Code(
        "TM518",
        "error",
        "table without its columns",
        "The first line of a table names its columns, each once, and one of them is the key.",
    ),
    Code(
        "TM519",
        "error",
        "row that cannot be read",
        "A row has a cell for each column, and its key is a text that a stream can have. A row "
        "that is passed over would be a key that nobody finds.",
    ),
    Code(
        "TM520",
        "error",
        "key listed twice",
        "Two rows of one key contradict each other, or one of them is of no use.",
    ),
    Code(
        "TM521",
        "error",
        "lookup defined twice",
        "A lookup's name stands for one table.",
    ),
    Code(
        "TM522",
        "warning",
        "lookup without use",
        "A table that no attribute is looked up in changes nothing.",
    ),
    Code(
        "TM601",
        "error",
        "test of what is not defined",
        "`metric` of a test names a definition among the files that are read.",
    ),
    Code(
        "TM602",
        "error",
        "test that expects nothing",
        "A test without rows to compare passes whatever is computed. `expect: {1m: []}` says that "
        "there are no rows.",
    ),
    Code(
        "TM603",
        "error",
        "unknown stream",
        "What is sent is of a stream that the test describes under `streams`.",
    ),
    Code(
        "TM604",
        "error",
        "not a time",
        "A time of a test is so long after its start, `1m30s`, or one of the calendar with its "
        "offset, `2026-01-01T00:01:30Z`.",
    ),
    Code(
        "TM605",
        "error",
        "stream that the definition does not read",
        "Its metric or its attributes are not what the definition asks for, so its points would "
        "count nowhere: usually a misspelling. A stream that shows what is left out says so by "
        "`ignored: true`.",
    ),
    Code(
        "TM606",
        "error",
        "row that cannot be",
        "The definition has no such granularity, no window that ends then, or no such label: no "
        "input would make this row.",
    ),
    Code(
        "TM607",
        "error",
        "point that its stream cannot have",
        "A gauge or a sum has numbers, a histogram has buckets; all but a gauge have a "
        "temporality.",
    ),
    Code(
        "TM608",
        "error",
        "step that says not one thing",
        "A step sends points, or moves the watermark. Points and the watermark in one step would "
        "leave open which comes first.",
    ),
    Code(
        "TM609",
        "warning",
        "stream without points",
        "It is described and never sent.",
    ),
    Code(
        "TM610",
        "error",
        "test named twice",
        "A name tells which test has failed.",
    ),
    Code(
        "TM701",
        "warning",
        "source that no traffic has",
        "None of the metrics that the definition reads was sent while somebody looked, so it makes "
        "no row: a misspelling, an agent that does not run, or a time that was too short. Only "
        "whoever knows the agents can say which, so it is no error.",
    ),
    Code(
        "TM702",
        "information",
        "name that nobody sends",
        "One of several names or patterns that the definition reads fits no metric. It is in "
        "order where agents were renamed and the old name is gone.",
    ),
    Code(
        "TM703",
        "error",
        "sent under two names",
        "A resource sends the same thing under several of the names that the definition takes "
        "for one, at the same time and into the same group: it counts twice.",
    ),
    Code(
        "TM704",
        "error",
        "condition that no stream meets",
        "The metric is sent, and none of its streams has what `where` asks for.",
    ),
    Code(
        "TM705",
        "warning",
        "value that no stream has",
        "`where` lists a value that was not seen: usually a misspelling, or something that is "
        "gone.",
    ),
    Code(
        "TM706",
        "error",
        "streams that cannot be counted",
        "What is sent is not what the definition can count: another instrument, temporality, or "
        "buckets. These streams are in no row.",
    ),
    Code(
        "TM707",
        "error",
        "unit that does not convert",
        "Points say a unit of another dimension, or one that nobody knows; they are in no row.",
    ),
    Code(
        "TM708",
        "information",
        "unit that is converted",
        "Points say another unit than the definition, of the same dimension. Their values are "
        "converted, exactly.",
    ),
    Code(
        "TM709",
        "warning",
        "kept attribute that no stream has",
        "No group has this label: all are rolled up over it.",
    ),
    Code(
        "TM710",
        "warning",
        "kept attribute that some streams lack",
        "These streams make groups without the label, beside those that have it.",
    ),
    Code(
        "TM711",
        "warning",
        "attribute that is made by default",
        "No stream has what the attribute is made of, or nothing that its steps make something "
        "of; so it is the same for all.",
    ),
    Code(
        "TM712",
        "warning",
        "groups near their limit",
        "A window had more than 80 % of `limits.series` groups.",
    ),
    Code(
        "TM713",
        "error",
        "groups beyond their limit",
        "A window had more groups than `limits.series`; those beyond are one row, "
        "`otel.metric.overflow=true`.",
    ),
    Code(
        "TM714",
        "warning",
        "points later than the grace",
        "More than 0.1 % of the points came when their window had been sealed: they are in its "
        "later revisions, and never on the final topic.",
    ),
    Code(
        "TM715",
        "error",
        "points later than corrections",
        "They count nowhere.",
    ),
    Code(
        "TM716",
        "error",
        "points ahead of their receipt",
        "They say to be measured more than two minutes after they came, by a clock that is "
        "wrong. They count nowhere.",
    ),
    Code(
        "TM717",
        "warning",
        "samples rarer than windows",
        "Streams are sampled less often than the finest windows end: some windows hold nothing "
        "of them.",
    ),
    Code(
        "TM718",
        "warning",
        "samples that contradict one another",
        "A stream falls without a new start, starts before its last sample, or has two values "
        "at a time: two senders make one stream, or one sends totals that are none. A stream "
        "that is silent for more than 15 minutes loses what it counted meanwhile.",
    ),
    Code(
        "TM719",
        "information",
        "counters that began again",
        "A process restarted: its counter goes on from a new start, and what it counted before "
        "stays counted.",
    ),
    Code(
        "TM720",
        "error",
        "counts below zero",
        "A monotonic sum is never negative: such a point counts nowhere.",
    ),
    Code(
        "TM721",
        "error",
        "freshness that is not kept",
        "Windows were sealed later than `service_level.freshness` promises, and are published "
        "no earlier than that.",
    ),
    Code(
        "TM722",
        "error",
        "completeness that is not kept",
        "The first publication of windows counted a smaller share of the points than "
        "`service_level.completeness` promises.",
    ),
    Code(
        "TM801",
        "error",
        "unknown input",
        "A derived definition is computed from definitions that are there; a metric as agents send "
        "it is none.",
        "derive: {ratio: {of: http.error, by: http.requests}}",
        "derive: {ratio: {of: http.errors, by: http.requests}}",
    ),
    Code(
        "TM802",
        "error",
        "not one derivation",
        "A derived definition is one ratio, sum, difference, mean, quantile or share.",
        "derive: {mean: {of: http.latency}, quantile: {of: http.latency, q: 0.99}}",
        "derive: {quantile: {of: http.latency, q: 0.99}}",
    ),
    Code(
        "TM803",
        "error",
        "derived from what is derived",
        "A ratio of ratios and a sum of quantiles are none of what was measured, so derived "
        "definitions are made of such as are computed from points alone.",
        "derive: {ratio: {of: http.errors, by: http.slow_share}}",
        "derive: {ratio: {of: http.errors, by: http.requests}}",
    ),
    Code(
        "TM804",
        "error",
        "input stands twice",
        "A ratio of a number by itself is 1, and a sum that takes a number twice is a misspelling.",
        "derive: {ratio: {of: http.errors, by: http.errors}}",
        "derive: {ratio: {of: http.errors, by: http.requests}}",
    ),
    Code(
        "TM805",
        "error",
        "input of another kind",
        "Means, quantiles and shares are of definitions that make histograms, all else is of "
        "numbers.",
        "derive: {quantile: {of: http.requests, q: 0.99}}",
        "derive: {quantile: {of: http.latency, q: 0.99}}",
    ),
    Code(
        "TM806",
        "error",
        "no common window size",
        "A derived row is made of its inputs' rows of the same window, at every size that all "
        "have; days of two zones are not the same window.",
        "derive: {ratio: {of: http.errors, by: http.daily}}",
        "derive: {ratio: {of: http.errors, by: http.requests}}",
    ),
    Code(
        "TM807",
        "warning",
        "window size of two zones",
        "The inputs' days, weeks or months begin at other times, so there are no derived rows of "
        "them; of the other sizes there are.",
        "derive: {sum: {of: [http.requests.utc, http.requests.berlin]}}",
        "derive: {ratio: {of: http.errors, by: http.requests}}",
    ),
    Code(
        "TM808",
        "error",
        "share at no bound",
        "How much of a histogram does not exceed a bound is known where buckets meet, and guessed "
        "anywhere else.",
        "derive: {share: {of: http.latency, at_most: 0.3}}",
        "derive: {share: {of: http.latency, at_most: 0.5}}",
    ),
    Code(
        "TM809",
        "error",
        "group of what an input does not keep",
        "An attribute that an input has rolled up cannot be told apart again.",
        "space: {keep: [status]}",
        "space: {keep: [route]}",
    ),
    Code(
        "TM810",
        "error",
        "input that would have to be added up",
        "An input that keeps more attributes than the result is added up over the others, which "
        "only sums and counts of windows can be.",
        "derive: {ratio: {of: http.errors, by: http.active}}",
        "derive: {ratio: {of: http.errors, by: http.requests}}",
    ),
    Code(
        "TM811",
        "warning",
        "arithmetic of means or quantiles",
        "A ratio, sum or difference of means or quantiles is none of what was measured: derive it "
        "from sums and counts.",
        "derive: {ratio: {of: http.p99, by: http.requests}}",
        "derive: {ratio: {of: http.errors, by: http.requests}}",
    ),
    Code(
        "TM812",
        "error",
        "units that do not fit",
        "What the inputs give is of another dimension than `unit`, or does not add up.",
        "unit: s",
        'unit: "%"',
    ),
)

CATALOGUE: dict[str, Code] = {code.code: code for code in _CODES}
