"""Scenarios as text: what lies on the log, and what must be published. One file, one story.

    define total over_time=sum over_space=sum metric=load keep=host sizes=10s corrections=1m
    topic raw 2                                # partitions; history topics: `topic history.x 1`
    raw/0 at 4 [host=a] load{core=0}@3=1.5     # a record received at 4 s: resource, then points
    raw/0 at 5 again 0                         # the same bytes as record 0 of this partition
    raw/0 at 6 garbage                         # bytes that do not parse
    raw/1 idle 20                              # control records: idle, marker, end
    history.x/0 marker 100
    history.x/0 end
    epoch 2 partitions 3 since 40              # `raw` ends at 40 and `raw.e2` begins: each is told
    first  total 10s @10 host=a = 1.5          # every row that must be published first ...
    latest total 10s @10 host=a = 2.5 (3 points, 1 late)        # ... and latest; no others
    final  total 10s @10 host=a = 1.5          # every point of the final topic, if any is listed
    tally  total accepted=3 repeated=1

Instead of both steps `define` takes over_points=p99 (quantile:0.95, distinct_count:12, ...). What
a histogram is written as says `histograms.text`.
`match=load.*` in place of `metric=` names every metric that begins so, and `attributes=` says as
JSON what attributes are made of others. It also takes instrument=histogram (or
exponential_histogram), zone=Europe/Berlin, unit=s, source_unit=ms (else `1`),
temporality=cumulative, late=carry, limit=3 and expire=2 (or expire=1m).
A final point is written `= none` if it has no value, `since 0` if it does not start with its
window, and `of history.x` if it follows the time of a history.

Times are seconds after 2023-11-15 00:00 UTC. A point is `name{attributes}@time=value`: a gauge;
`+=` makes it a delta sum, `=value^start` a cumulative monotonic sum (`^-`: no start time); `~=` in
the place of `=` says that the sum is not monotonic.
`name{attributes}:ms@...` says the unit of the stream.
A histogram point is `+=h,bounds=1;5,counts=1;2;0`, an exponential one `=e,scale=0,counts=1;2^5`;
they take `sum=`, `min=`, `max=`, `count=` (else that of the buckets) and `none=` (no recorded
value), exponential ones `offset=`, `negative=1;2`, `negative_offset=`, `zeros=`, `threshold=`.
Values: `1.5` double, `3i` integer, `nan`, `inf`, `none` (no recorded value, or
`none/7`: the same beside a value). `@-`: no timestamp.
`at 4 tenant=x` names a tenant (else `t`), and `tenant` is left out of rows of tenant `t`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
from oracle.definitions import SECOND, Definition, parse
from oracle.log import CUMULATIVE, DELTA, LIVE, NO_VALUE, Record

EPOCH = 1_700_006_400 * SECOND
POINT = re.compile(
    r"(?P<name>[\w.]+)(\{(?P<own>[^}]*)\})?(:(?P<unit>[^@]+))?@(?P<time>-|[\d.]+)(?P<delta>\+)?(?P<falls>~)?="
    r"(?P<value>[^\s^]+)(\^(?P<start>-|[\d.]+))?"
)
FINAL = re.compile(
    r"(?P<name>\S+) (?P<size>[\w/]+) @(?P<end>[\d.]+) (?P<labels>.*?) ?= (?P<value>\S+)"
    r"(?P<rest>( since [\d.]+)?( of \S+)?)$"
)
ROW = re.compile(
    r"(?P<name>\S+) (?P<size>[\w/]+) @(?P<end>[\d.]+) (?P<labels>.*?) ?= (?P<value>\S+)"
    r"( \((?P<points>\d+) points?, (?P<late>\d+) late\))?$"
)


@dataclass(slots=True)
class Scenario:
    """The log, the definitions, and the published rows as lines of text."""

    definitions: list[Definition] = field(default_factory=list[Definition])
    log: dict[tuple[str, int], list[Record]] = field(
        default_factory=dict[tuple[str, int], list[Record]]
    )
    expected: list[str] = field(default_factory=list[str])


PAGE = Path(__file__).resolve().parents[2] / "docs" / "what-a-number-means.md"


def written() -> dict[str, str]:
    """Name -> text of every scenario: the files beside this one, and those of the page."""
    found = {p.stem: p.read_text() for p in sorted((Path(__file__).parent / "scenarios").glob("*"))}
    section = ""
    inside: list[str] | None = None
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = "-".join(re.findall(r"\w+", line.lower()))
        elif line == "```scenario":
            inside = []
        elif inside is not None and line == "```":
            name = f"page-{section}"
            found[f"{name}-{sum(n.startswith(name) for n in found) + 1}"] = "\n".join(inside)
            inside = None
        elif inside is not None:
            inside.append(line)
    return found


def nanoseconds(text: str) -> int:
    """Seconds of the story to unix nanoseconds."""
    return EPOCH + int(Decimal(text) * SECOND)


def loads(text: str, name: str = "scenario") -> Scenario:
    """Read a scenario; an error names the line."""
    scenario = Scenario()
    for number, raw in enumerate(text.splitlines(), 1):
        line = " ".join(raw.split("#")[0].split())
        if line:
            try:
                _read_line(scenario, line)
            except (ValueError, KeyError, AttributeError, IndexError) as error:
                raise ValueError(f"{name}:{number}: cannot read {raw!r}: {error}") from error
    return scenario


def _read_line(scenario: Scenario, line: str) -> None:
    word, _, rest = line.partition(" ")
    if word == "define":
        scenario.definitions.append(_definition(rest))
    elif word == "final":
        scenario.expected.append(_final(rest))
    elif word in ("first", "latest", "tally"):
        scenario.expected.append(f"{word} {rest}" if word == "tally" else _row(word, rest))
    elif word == "epoch":
        _new_epoch(scenario, *rest.split())
    elif word == "topic":
        topic, count = rest.split()
        for partition in range(int(count)):
            scenario.log.setdefault((_topic(topic), partition), [])
    else:
        topic, partition = word.split("/")
        records = scenario.log.setdefault((_topic(topic), int(partition)), [])
        records.append(_record(records, rest))


def _new_epoch(scenario: Scenario, number: str, *words: str) -> None:
    """A record in every partition of the topic that ends, and one in each of the new topic."""
    if words[::2] != ("partitions", "since"):
        raise ValueError("expected epoch N partitions N since SECOND")
    told = {"partitions": int(words[1]), "since": nanoseconds(words[3])}
    ending = _topic("raw" if number == "2" else f"raw.e{int(number) - 1}")
    for topic, partition in list(scenario.log):
        if topic == ending:
            scenario.log[topic, partition].append(
                _bounds(scenario.log[topic, partition], {"until": told["since"]})
            )
    for partition in range(told["partitions"]):
        scenario.log[_topic(f"raw.e{number}"), partition] = [_bounds([], told)]


def _bounds(before: list[Record], told: dict[str, int]) -> Record:
    return Record(len(before), {"control": b"epoch"}, json.dumps(told).encode())


def _topic(word: str) -> str:
    return LIVE if word == "raw" else f"telemetry.{word}"


def _definition(text: str) -> Definition:
    name, *settings = text.split()
    given = dict(setting.split("=", 1) for setting in settings)
    source: dict[str, object] = {"unit": given.get("source_unit", "1")}
    source |= {name: given[name] for name in ("metric", "match") if name in given}
    if "attributes" in given:
        source["attributes"] = json.loads(given["attributes"])
    if "instrument" in given:
        source["instrument"] = given["instrument"]
    if "where" in given:
        source["where"] = dict(pair.split(":") for pair in given["where"].split(","))
    return parse(
        {
            "apiVersion": "tidemill/v1",
            "kind": "Metric",
            "name": name,
            "source": source,
            "unit": given.get("unit"),
            "space": {"keep": [label for label in given.get("keep", "").split(",") if label]},
            "time": {
                "granularities": given["sizes"].split(","),
                "grace": given.get("grace", "0s"),
                "corrections": given.get("corrections", "1d"),
                "zone": given.get("zone", "UTC"),
            },
            "aggregate": _aggregate(given),
            "publish": {
                "temporality": given.get("temporality", "delta"),
                "late": given.get("late", "drop"),
                "expire_after": _expire(given.get("expire", "5")),
            },
            "limits": {"series": int(given.get("limit", "100000"))},
        }
    )


def _aggregate(given: dict[str, str]) -> dict[str, object]:
    """Two steps, or `over_points=p99`, `over_points=top_k:5`, `over_points=quantile:0.95`."""
    if "over_points" not in given:
        return {"over_time": given["over_time"], "over_space": given["over_space"]}
    name, _, parameter = given["over_points"].partition(":")
    return {"over_points": {name: json.loads(parameter)} if parameter else name}


def _expire(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _row(word: str, text: str) -> str:
    found = ROW.match(text)
    if not found:
        raise ValueError("not a row")
    value = _value(found["value"])
    counts = f" ({found['points']} points, {found['late']} late)" if word == "latest" else ""
    labels = " ".join(sorted(found["labels"].split()))
    return f"{word} {found['name']} {found['size']} @{found['end']} {labels} = {value}{counts}"


def _value(text: str) -> str:
    """A histogram, or that there is no value, as it is; a number as Python writes it."""
    return text if text == "none" or text.startswith("count=") else repr(float(text))


def _final(text: str) -> str:
    found = FINAL.match(text)
    if not found:
        raise ValueError("not a point of the final topic")
    value = _value(found["value"])
    labels = " ".join(sorted(found["labels"].split()))
    where = f"{found['name']} {found['size']} @{found['end']} {labels}"
    return f"final {where} = {value}{found['rest']}"


def _record(records: list[Record], text: str) -> Record:
    word, _, rest = text.partition(" ")
    if word in ("idle", "marker", "end"):
        mark = {"time": nanoseconds(rest or "0"), "end": word == "end"}
        kind = b"idle" if word == "idle" else b"marker"
        return Record(len(records), {"control": kind}, json.dumps(mark).encode())
    if word != "at":
        raise ValueError(f"expected at, idle, marker or end, not {word!r}")
    received, _, rest = rest.partition(" ")
    tenant = "t"
    if rest.startswith("tenant="):
        tenant, _, rest = rest.removeprefix("tenant=").partition(" ")
    timed = "@-" not in rest
    if rest.startswith("again "):
        value = records[int(rest.split()[1])].value
    elif rest == "garbage":
        value = b"\xff\xff\xff"
    else:
        value = request(rest)
    headers = {"encoding": b"otlp", "tenant": tenant.encode()}
    headers["received"] = str(nanoseconds(received)).encode()
    if timed:
        digest = hashlib.blake2b(tenant.encode() + b"\0" + value, digest_size=16)
        headers["digest"] = digest.digest()
    return Record(len(records), headers, value)


def request(text: str) -> bytes:
    """`[resource] point point ...` as the bytes of an OTLP request."""
    message = ExportMetricsServiceRequest()
    block = message.resource_metrics.add()
    resource = re.match(r"\[([^]]*)\]", text)
    if resource:
        block.resource.attributes.extend(_attributes(resource[1]))
        text = text[resource.end() :]
    metrics = block.scope_metrics.add().metrics
    for token in text.split():
        found = POINT.fullmatch(token)
        if not found:
            raise ValueError(f"{token!r} is not a point")
        _add_point(metrics.add(name=found["name"], unit=found["unit"] or ""), found)
    return message.SerializeToString()


def _add_shape(metric: Metric, found: re.Match[str]) -> None:
    kind, *fields = found["value"].split(",")
    given = {name: text.split(";") for name, text in (each.split("=") for each in fields)}
    counts = [int(one) for one in given["counts"] if one]
    data = metric.histogram if kind == "h" else metric.exponential_histogram
    data.aggregation_temporality = DELTA if found["delta"] else CUMULATIVE
    point = data.data_points.add(attributes=_attributes(found["own"] or ""))
    total = sum(counts)
    if kind == "h":
        point.explicit_bounds.extend(float(one) for one in given["bounds"] if one)
        point.bucket_counts.extend(counts)
    else:
        point.scale = int(given["scale"][0])
        point.positive.bucket_counts.extend(counts)
        point.positive.offset = int(given.get("offset", "0")[0])
        negative = [int(one) for one in given.get("negative", [])]
        point.negative.bucket_counts.extend(negative)
        point.negative.offset = int(given.get("negative_offset", ["0"])[0])
        point.zero_count = int(given.get("zeros", "0")[0])
        point.zero_threshold = float(given.get("threshold", "0")[0])
        total += sum(negative) + point.zero_count
    point.count = int(given["count"][0]) if "count" in given else total
    for name in ("sum", "min", "max"):
        if name in given:
            setattr(point, name, float(given[name][0]))
    if "none" in given:
        point.flags = NO_VALUE
    if found["time"] != "-":
        point.time_unix_nano = nanoseconds(found["time"])
    if found["start"] not in (None, "-"):
        point.start_time_unix_nano = nanoseconds(found["start"])


def _add_point(metric: Metric, found: re.Match[str]) -> None:
    if found["value"].startswith(("h,", "e,")):
        _add_shape(metric, found)
        return
    point = NumberDataPoint(attributes=_attributes(found["own"] or ""))
    if found["time"] != "-":
        point.time_unix_nano = nanoseconds(found["time"])
    if found["start"] not in (None, "-"):
        point.start_time_unix_nano = nanoseconds(found["start"])
    value = found["value"]
    if value.startswith("none"):
        point.flags = NO_VALUE
        value = value.removeprefix("none").removeprefix("/")
    if re.fullmatch(r"-?\d+i", value):
        point.as_int = int(value[:-1])
    elif value:
        point.as_double = float(value)
    if found["delta"] or found["start"]:
        metric.sum.aggregation_temporality = DELTA if found["delta"] else CUMULATIVE
        metric.sum.is_monotonic = not found["falls"]
        metric.sum.data_points.append(point)
    else:
        metric.gauge.data_points.append(point)


def _attributes(text: str) -> list[KeyValue]:
    pairs: list[KeyValue] = []
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        attribute = KeyValue(key=key)
        if re.fullmatch(r"\d+i", value):
            attribute.value.int_value = int(value[:-1])
        elif value in ("true", "false"):
            attribute.value.bool_value = value == "true"
        else:
            attribute.value.string_value = value
        pairs.append(attribute)
    return pairs
