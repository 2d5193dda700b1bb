"""New streams are matched compiled as the plain form matches each of them."""

from __future__ import annotations

import json
import operator
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from metric_registry.check import check_files
from metric_registry.derive import Derivation
from metric_registry.load import SourceFile
from metric_registry.plan import Plan, ResolvedDefinition
from metric_registry.tables import Table
from topologies.encodings.otlp import Scanner
from topologies.identity import SeriesTable
from topologies.preaggregate.groups import Groups
from topologies.preaggregate.ledger import Refusal
from topologies.preaggregate.matching import Matcher
from topologies.preaggregate.members import matched

DEFINITION = b"""
apiVersion: tidemill/v1
kind: Metric
name: one
description: A test
owner: tests
source: {metric: m, unit: s}
space: {keep: [a]}
time: {granularities: [10s], grace: 1s, corrections: 1h}
aggregate: {over_time: sum, over_space: sum}
"""
(BASE,) = check_files([SourceFile("one.yaml", DEFINITION)]).definitions
NAMES = ["a", "b", 'q"\n', "é", "tenant", "resource.a", "resource.b"]
TEXTS = ["", "\n\t\r\b\f", "x", "7", "true", "null", '\\"/', "\x00\x1f\x7f", "é😀", "x" * 400]
VALUES = [
    *(AnyValue(string_value=text) for text in TEXTS),
    *(AnyValue(int_value=number) for number in (0, 7, -(2**63), 2**63 - 1)),
    AnyValue(bool_value=True), AnyValue(bool_value=False), AnyValue(),
    AnyValue(double_value=0.1), AnyValue(bytes_value=b"\0\xff"),
    AnyValue(array_value={"values": [AnyValue(int_value=1)]}),
]  # fmt: skip
KINDS = [
    ("gauge", 0, False),
    ("histogram", 1, False),
    ("sum", 1, True),
    ("sum", 2, True),
    ("sum", 2, False),
]

attributes = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=5)
contexts = st.tuples(
    attributes, attributes, st.sampled_from(["m", "n"]), st.sampled_from(["s", "ms", "By", ""]),
    st.sampled_from(KINDS), st.lists(attributes, min_size=1, max_size=6),
)  # fmt: skip
conditions = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3), max_size=2
)


derivations = st.builds(
    Derivation,
    name=st.sampled_from(["a", "b", "new"]),
    sources=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(tuple),
    lower=st.booleans(),
    capture=st.sampled_from(["", "(x|7)", "^[a-z]+$"]),
    write=st.just("{0}!"),
    mapped=st.sampled_from([None, (("7", "seven"), ("x", "ex"), ("x!", "ex!"))]),
    default=st.sampled_from([None, "", "x"]),
    table=st.sampled_from([None, None, Table({"7": "sept", "x": "7", "ex": "é"})]),
)
name_of = operator.attrgetter("name")


@st.composite
def definition(draw: st.DrawFn) -> ResolvedDefinition:
    made = tuple(sorted(draw(st.lists(derivations, max_size=2, unique_by=name_of)), key=name_of))
    where = sorted((name, tuple(sorted(set(texts)))) for name, texts in draw(conditions).items())
    over_time = draw(st.sampled_from(["sum", "increase", "max"]))
    return replace(
        BASE,
        sources=tuple(sorted(draw(st.sets(st.sampled_from(["m", "n"]), min_size=1)))),
        patterns=tuple(sorted(draw(st.sets(st.sampled_from(["*", "m*", "*n", "x*"]), max_size=1)))),
        attributes=made,
        where=tuple(where),
        keep=tuple(sorted(draw(st.sets(st.sampled_from([*NAMES, "new"]), max_size=4)))),
        over_time=over_time,
        over_space="sum" if over_time == "increase" else draw(st.sampled_from(["sum", "max"])),
        read_unit=draw(st.sampled_from(["s", "min"])),
    )


def pairs(values: dict[str, AnyValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def message(resource, scope, metric: str, unit: str, kind, points) -> bytes:
    made = ExportMetricsServiceRequest()
    of_resource = made.resource_metrics.add()
    of_resource.resource.attributes.extend(pairs(resource))
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.attributes.extend(pairs(scope))
    into = of_scope.metrics.add(name=metric, unit=unit)
    name, temporality, monotonic = kind
    if name == "sum":
        into.sum.aggregation_temporality, into.sum.is_monotonic = temporality, monotonic
    for number, each in enumerate(points):
        point = getattr(into, name).data_points.add(attributes=pairs(each), time_unix_nano=1)
        if name == "histogram":  # points of other bounds are other streams
            into.histogram.aggregation_temporality = temporality
            point.explicit_bounds.extend([1.0, 2.0 + number])
            point.bucket_counts.extend([0, 1, 0])
            point.count = 1
        else:
            point.as_int = 1
    return made.SerializeToString()


Row = tuple[int, int, object, int, bytes, tuple[int, int], str]


def compiled(matcher: Matcher, groups: Groups, first: int, last: int):
    """What the matcher says: of members, and of refusals by stream."""
    found = matcher.match(first, last)
    members = found.members
    labels = list(groups.labels(members.group))
    high, low = (half.tolist() for half in groups.hashes(members.group))
    rows: list[Row] = [
        (slot, definition, found.conversions[by], kind, label, (a, b), groups.tenants[tenant])
        for slot, definition, by, kind, label, a, b, tenant in zip(
            members.slot.tolist(), members.definition.tolist(), found.conversion.tolist(),
            members.kind.tolist(), labels, high, low, members.tenant.tolist(), strict=True,
        )
    ]  # fmt: skip
    return rows, found.refusals


def plainly(plan: Plan, table: SeriesTable, first: int, last: int):
    rows: list[Row] = []
    refusals: dict[int, list[Refusal]] = {}
    for slot in range(first, last):
        stream = table.stream(slot)
        for index, read, kind, group in matched(plan, stream):
            if isinstance(read, Refusal):
                refusals.setdefault(slot, []).append(read)
                continue
            row = slot, index, read, kind, group.labels, (group.hi, group.lo), stream.tenant
            rows.append(row)
    return rows, refusals


@given(
    st.lists(definition(), min_size=1, max_size=5),
    st.lists(contexts, min_size=1, max_size=4),
    st.lists(contexts, max_size=2),
)
@settings(max_examples=80, deadline=None)
def test_streams_belong_to_what_the_plain_form_says(definitions, early, late):
    plan = Plan(tuple(replace(each, name=f"d{i}") for i, each in enumerate(definitions)))
    table, groups = SeriesTable(), Groups()
    matcher = Matcher(plan, table, groups)
    first = 0
    for number, contexts_of in enumerate((early, late)):
        messages = [message(*each) for each in contexts_of]
        table.resolve(Scanner(b"0" * 16).scan(messages, [f"t{number}"] * len(messages)))
        last = len(table)
        assert compiled(matcher, groups, first, last) == plainly(plan, table, first, last)
        first = last
    another = Groups()
    anew = compiled(Matcher(plan, table, another), another, 0, last)
    assert anew == plainly(plan, table, 0, last)


def test_every_text_is_written_into_labels_as_the_plain_form_writes_it():
    plan = Plan((replace(BASE, keep=("a",)),))
    table, groups = SeriesTable(), Groups()
    marks = [AnyValue(string_value=f"a{chr(number)}b") for number in range(0x100)]
    points = [{"a": value} for value in [*VALUES, *marks]]
    table.resolve(Scanner(b"0" * 16).scan([message({}, {}, "m", "s", KINDS[0], points)], ["t"]))
    rows, refusals = compiled(Matcher(plan, table, groups), groups, 0, len(table))
    assert (rows, refusals) == plainly(plan, table, 0, len(table))
    written = {json.loads(row[4])["a"] for row in rows}
    assert written >= {each.string_value for each in marks}


def test_many_groups_with_long_labels_find_room():
    plan = Plan((replace(BASE, keep=("a", "b")),))
    table, groups = SeriesTable(), Groups()
    long = [AnyValue(string_value="\x01" * 3000 + str(i)) for i in range(400)]
    points = [{"a": value, "b": long[-i]} for i, value in enumerate(long)]
    kind = KINDS[0]
    table.resolve(Scanner(b"0" * 16).scan([message({}, {}, "m", "s", kind, points)], ["t"]))
    rows, refusals = compiled(Matcher(plan, table, groups), groups, 0, len(table))
    assert (rows, refusals) == plainly(plan, table, 0, len(table))
    assert len({row[4] for row in rows}) == 400 == len(groups)
    assert json.loads(rows[7][4])["a"] == "\x01" * 3000 + "7"


def test_what_nobody_reads_has_no_members():
    table, groups = SeriesTable(), Groups()
    table.resolve(Scanner(b"0" * 16).scan([message({}, {}, "other", "s", KINDS[0], [{}])], ["t"]))
    assert compiled(Matcher(Plan((BASE,)), table, groups), groups, 0, 1) == ([], {})
    assert len(groups) == 0
    assert groups.labels(np.zeros(0, np.int32)).data == b""
