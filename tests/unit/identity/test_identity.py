"""What makes two streams, resources or groups the same."""

import hashlib
import itertools
import json
import struct
import time
import zlib

import cramjam
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from topologies.encodings.otlp import Scanner
from topologies.identity import (
    MalformedError,
    SeriesTable,
    Stream,
    canonical_resource_key,
    group_labels,
    split_by_resource,
)
from topologies.identity.canonical import Reader, attribute_map
from topologies.identity.canonical_parts import attributes_of, metric_of, origin_of, scope_of

KEY = b"0123456789abcdef"
ATTRIBUTES = {
    "text": AnyValue(string_value="é"),
    "yes": AnyValue(bool_value=True),
    "no": AnyValue(bool_value=False),
    "int": AnyValue(int_value=-(2**63)),
    "double": AnyValue(double_value=0.1),
    "bytes": AnyValue(bytes_value=b"\0\xff"),
    "empty": AnyValue(),
    "list": AnyValue(array_value={"values": [AnyValue(int_value=1), AnyValue(string_value="b")]}),
    "map": AnyValue(kvlist_value={"values": [KeyValue(key="k", value=AnyValue(int_value=2))]}),
}
PYTHON = {
    "text": "é",
    "yes": True,
    "no": False,
    "int": -(2**63),
    "double": 0.1,
    "bytes": b"\0\xff",
    "empty": None,
    "list": [1, "b"],
    "map": {"k": 2},
}


def pairs(names) -> list[KeyValue]:
    return [KeyValue(key=name, value=ATTRIBUTES[name]) for name in names]


def request(
    *points,
    resource=(),
    scope=(),
    scope_name="",
    version="",
    metric="m",
    unit="",
    kind="gauge",
    temporality=2,
    monotonic=True,
) -> bytes:
    made = ExportMetricsServiceRequest()
    resource_metrics = made.resource_metrics.add()
    resource_metrics.resource.attributes.extend(resource)
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name = scope_name
    scope_metrics.scope.version = version
    scope_metrics.scope.attributes.extend(scope)
    into = scope_metrics.metrics.add(name=metric, unit=unit)
    if kind == "sum":
        into.sum.aggregation_temporality = temporality
        into.sum.is_monotonic = monotonic
    for attributes in points:
        getattr(into, kind).data_points.add(attributes=attributes, time_unix_nano=1, as_int=1)
    return made.SerializeToString()


def slots(table: SeriesTable, *messages: bytes, tenant: str = "acme") -> list[int]:
    points = Scanner(KEY).scan(messages, [tenant] * len(messages))
    found, malformed = table.resolve(points)
    assert malformed == ()
    return found.tolist()


@pytest.mark.parametrize("third", ["yes", "list"])  # lists go by way of the plain form
def test_order_and_encoding_of_attributes_do_not_make_another_stream(third: str):
    table = SeriesTable()
    names = ["text", "int", third, "empty"]
    orders = [pairs(order) for order in itertools.permutations(names)]
    assert set(slots(table, request(*orders))) == {0}
    resources = [request(orders[0], resource=order) for order in orders]
    assert set(slots(table, *resources)) == {1}
    scopes = [request(orders[0], scope=order) for order in orders]
    assert set(slots(table, *scopes)) == {2}


def test_a_key_that_comes_twice_counts_as_it_came_last():
    one, two = AnyValue(string_value="1"), AnyValue(string_value="2")
    last_two = [KeyValue(key="k", value=one), KeyValue(key="k", value=two)]
    only_two = [KeyValue(key="k", value=two)]
    assert slots(SeriesTable(), request(last_two, only_two, last_two[::-1])) == [0, 0, 1]


def test_everything_in_the_identity_makes_another_stream():
    messages = [
        request([]),
        request([], metric="n"),
        request([], unit="s"),
        request([], scope_name="s"),
        request([], version="1"),
        request([], scope=pairs(["int"])),
        request([], resource=pairs(["int"])),
        request(pairs(["int"])),
        request(pairs(["empty"])),
        request([], kind="sum"),
        request([], kind="sum", monotonic=False),
        request([], kind="sum", temporality=1),
        request([], kind="sum", temporality=0),
    ]
    table = SeriesTable()
    assert slots(table, *messages) == list(range(len(messages)))
    assert slots(table, request([]), tenant="other") == [len(messages)]
    assert slots(table, *messages) == list(range(len(messages)))
    assert len({table.identity(slot) for slot in range(len(table))}) == len(table)


def test_values_of_different_types_are_different_and_lengths_cannot_be_shifted():
    values = [
        AnyValue(),
        AnyValue(string_value="1"),
        AnyValue(int_value=1),
        AnyValue(double_value=1),
        AnyValue(bool_value=True),
        AnyValue(bytes_value=b"1"),
        AnyValue(array_value={"values": [AnyValue(int_value=1)]}),
        AnyValue(array_value={}),
        AnyValue(kvlist_value={}),
        AnyValue(string_value=""),
    ]
    points = [[KeyValue(key="k", value=value)] for value in values]
    points += [[KeyValue(key="k1")], [KeyValue(key="k"), KeyValue(key="1")], [KeyValue()], []]
    assert slots(SeriesTable(), request(*points)) == list(range(len(points)))


@pytest.mark.parametrize("names", [["text", "yes", "no", "int", "double", "bytes"], list(PYTHON)])
def test_a_slot_shows_its_stream(names):
    table = SeriesTable()
    message = request(
        pairs(names),
        resource=pairs(names[:3]),
        scope=pairs(names[2:]),
        scope_name="library",
        version="1.2",
        metric="requests",
        unit="{request}",
        kind="sum",
    )
    slots(table, message)
    stream = table.stream(0)
    assert stream.attributes == {name: PYTHON[name] for name in names}
    assert stream.resource == {name: PYTHON[name] for name in names[:3]}
    assert stream.scope == {name: PYTHON[name] for name in names[2:]}
    assert (stream.scope_name, stream.scope_version) == ("library", "1.2")
    assert (stream.tenant, stream.metric, stream.unit) == ("acme", "requests", "{request}")
    assert (stream.kind_name, stream.monotonic) == ("sum_cumulative", True)
    with pytest.raises(IndexError):
        table.stream(1)
    with pytest.raises(IndexError):
        table.stream(-1)


def test_canonical_bytes_and_identity_are_those_of_the_plain_form():
    table = SeriesTable()
    message = request(pairs(PYTHON), pairs(["int"]), resource=pairs(["text"]), kind="sum")
    points = Scanner(KEY).scan([message], ["acme"])
    found, _ = table.resolve(points)
    for row, slot in enumerate(found.tolist()):
        parts = origin_of, scope_of, metric_of, attributes_of
        whole = b"".join(part(points, row) for part in parts)
        assert table.canonical(slot) == whole
        assert table.identity(slot) == hashlib.blake2b(whole, digest_size=16).digest()


def test_the_canonical_layout_stays_as_it_is():
    """State and routing keys of running systems depend on these bytes."""
    table = SeriesTable()
    attributes = pairs(["int", "yes", "text"])
    slots(table, request(attributes, resource=pairs(["double"]), scope_name="s", unit="u"))
    assert table.canonical(0).hex() == (
        "01" "0400000061636d65"
        "01000000" "06000000646f75626c65" "049a9999999999b93f"
        "0100000073" "00000000" "00000000"
        "010000006d" "0100000075" "00"
        "03000000" "03000000696e74" "030000000000000080"
        "0400000074657874" "0102000000c3a9"
        "03000000796573" "0201"
    )  # fmt: skip


def test_more_attributes_than_the_compiled_form_holds_are_no_limit():
    many = [KeyValue(key=f"k{n:04}", value=AnyValue(int_value=n)) for n in range(400)]
    table = SeriesTable()
    assert slots(table, request(many, many[::-1], many[:300], [])) == [0, 0, 1, 2]
    assert len(table.stream(0).attributes) == 400


def test_slots_do_not_depend_on_how_the_log_is_cut_into_batches():
    messages = [
        request(*[[KeyValue(key="n", value=AnyValue(int_value=n * m % 97))] for n in range(50)])
        for m in range(1, 8)
    ]
    whole, single = SeriesTable(), SeriesTable()
    together = slots(whole, *messages)
    one_by_one = [slot for message in messages for slot in slots(single, message)]
    assert together == one_by_one
    assert whole.export_new(0) == single.export_new(0)


def test_a_table_grows_and_keeps_every_slot():
    table = SeriesTable(4)
    batches = [
        request(
            *[
                [KeyValue(key="n", value=AnyValue(string_value=f"{first + n}" * 20))]
                for n in range(500)
            ],
            resource=[KeyValue(key="host", value=AnyValue(int_value=first))],
        )
        for first in range(0, 10_000, 500)
    ]
    assert slots(table, *batches) == list(range(10_000))
    assert slots(table, *batches) == list(range(10_000))
    assert table.stream(9_999).attributes == {"n": "9999" * 20}


def test_a_flood_of_encodings_of_the_same_streams_is_forgotten_not_kept():
    table = SeriesTable()
    orders = list(itertools.permutations(["text", "yes", "no", "int", "double", "bytes", "empty"]))
    message = request(*[pairs(order) for order in orders])
    for dropped in range(1, 20):
        made = ExportMetricsServiceRequest.FromString(message)
        made.resource_metrics[0].resource.dropped_attributes_count = dropped
        assert set(slots(table, made.SerializeToString())) == {0}
    assert table._known.count < 19 * len(orders)
    assert set(slots(table, message)) == {0}


@pytest.mark.parametrize("shape", ["metrics", "scopes", "points", "nested points"])
def test_the_work_for_new_streams_is_linear_in_the_bytes(shape):
    """A message of unusual form must not hold a worker up: twice the bytes, twice the time."""
    twice = [KeyValue(key="k", value=AnyValue(int_value=n)) for n in range(2)]
    nested = [KeyValue(key="k", value=ATTRIBUTES["list"])]

    def made(size: int) -> bytes:
        request = ExportMetricsServiceRequest()
        resource_metrics = request.resource_metrics.add()
        resource_metrics.resource.attributes.extend(twice)
        for _ in range(size if shape == "scopes" else 1):
            scope_metrics = resource_metrics.scope_metrics.add()
            scope_metrics.scope.attributes.extend(twice)
            for n in range(size if shape == "metrics" else 1):
                points = scope_metrics.metrics.add(name=str(n)).gauge.data_points
                for m in range(size if "points" in shape else 1):
                    point = points.add(time_unix_nano=1)
                    point.attributes.extend(nested if shape == "nested points" else [])
                    point.attributes.add(key="n").value.int_value = m
        return request.SerializeToString()

    def seconds(message: bytes) -> float:
        begin = time.thread_time()
        slots(SeriesTable(), message)
        return time.thread_time() - begin

    seconds(made(10))
    small, large = made(1_000), made(8_000)
    assert min(seconds(large) for _ in range(2)) < 30 * seconds(small) + 0.05


def test_a_restored_table_gives_the_same_slots_and_goes_on():
    table = SeriesTable()
    first = request(*[[KeyValue(key=f"a{n}")] for n in range(5000)])
    second = request(*[[KeyValue(key=f"b{n}")] for n in range(10)], metric="later")
    slots(table, first)
    blocks = table.export_new(0)
    slots(table, second)
    blocks += table.export_new(5000)
    assert len(blocks) == 3
    restored = SeriesTable()
    restored.load(blocks)
    assert slots(restored, second, first) == [*range(5000, 5010), *range(5000)]
    assert slots(restored, request([KeyValue(key="new")])) == [5010]
    assert restored.export_new(0)[:1] == blocks[:1]
    assert table.export_new(5010) == []


def test_a_block_that_is_damaged_or_out_of_order_is_refused():
    table = SeriesTable()
    slots(table, request([]), request([KeyValue(key="a")]))
    early = table.export_new(0)
    slots(table, request([KeyValue(key="b")]))
    late = table.export_new(2)
    with pytest.raises(ValueError, match="load the blocks in the order"):
        SeriesTable().load(late)
    for damage in (early[0][:-1], b"", early[0][:-1] + b"\xff", b"XXXX" + early[0][4:]):
        with pytest.raises(ValueError, match="block of streams"):
            SeriesTable().load([damage])
    restored = SeriesTable()
    restored.load(early + late)
    assert len(restored) == 3


def test_a_block_whose_checksum_holds_and_whose_parts_do_not_fit_is_refused():
    table = SeriesTable()
    slots(table, request([]), request([KeyValue(key="a")]))
    (squeezed,) = table.export_new(0)
    head = struct.calcsize("<4s4I16II")
    good = b"TMS1" + squeezed[4:head] + bytes(cramjam.zstd.decompress(squeezed[head:]))
    lengths = struct.unpack_from("<16I", good, 20)
    sizes, owners = head + lengths[0], head + lengths[0] + lengths[1]
    for at, word in ((sizes, 1 << 30), (owners, 1 << 30), (owners, 0xFFFFFFFF)):
        bad = bytearray(good)
        struct.pack_into("<I", bad, at, word)
        struct.pack_into("<I", bad, head - 4, zlib.crc32(bad[head:]))
        with pytest.raises(ValueError, match="block of streams"):
            SeriesTable().load([bytes(bad)])
    bomb = bytes(cramjam.zstd.compress(bytes(64 << 20)))
    for body in (bomb, b"no frame"):
        crc = struct.pack("<I", zlib.crc32(body))
        with pytest.raises(ValueError, match="block of streams"):
            SeriesTable().load([squeezed[: head - 4] + crc + body])


STREAM = Stream(
    slot=0,
    tenant="acme",
    resource={"region": "eu", "host": "h1", "cores": 4},
    scope_name="s",
    scope_version="",
    scope={"region": "scope", "stage": "test"},
    metric="m",
    unit="",
    kind=0,
    monotonic=False,
    attributes={"stage": "point", "tenant": "forged", "ok": True, "tags": ["é", 1], "raw": b"\0"},
)


def labels(*keep: str) -> dict[str, str]:
    return json.loads(group_labels(STREAM, keep).labels)


def test_a_grouping_attribute_is_the_points_else_the_scopes_else_the_resources():
    assert labels("stage", "region", "host") == {
        "tenant": "acme",
        "stage": "point",
        "region": "scope",
        "host": "h1",
    }
    assert labels("resource.region", "region")["resource.region"] == "eu"
    assert labels("resource.stage", "nothing") == {"tenant": "acme"}


def test_the_tenant_is_always_the_records_own():
    assert labels() == {"tenant": "acme"}
    assert labels("tenant") == {"tenant": "acme"}


def test_labels_that_are_no_strings_are_json():
    assert labels("ok", "cores", "tags", "raw") == {
        "tenant": "acme",
        "ok": "true",
        "cores": "4",
        "tags": '["é",1]',
        "raw": '"AA=="',
    }


def test_labels_are_canonical_and_so_is_the_hash_of_the_group():
    one = group_labels(STREAM, ["host", "stage"])
    assert one == group_labels(STREAM, ["stage", "tenant", "host"])
    assert one.labels == b'{"host":"h1","stage":"point","tenant":"acme"}'
    digest = hashlib.blake2b(one.labels, digest_size=16).digest()
    assert (one.hi.to_bytes(8, "big") + one.lo.to_bytes(8, "big")) == digest


def resource(*names: str) -> bytes:
    return Resource(attributes=pairs(names)).SerializeToString()


def test_routing_keys_are_equal_for_equal_resources_of_a_tenant_only():
    key = canonical_resource_key("acme", resource("text", "int"))
    assert len(key) == 16
    assert key == canonical_resource_key("acme", resource("int", "text"))
    assert key == canonical_resource_key(
        "acme", Resource(attributes=pairs(["int", "text"]), dropped_attributes_count=3)
        .SerializeToString()
    )  # fmt: skip
    assert key != canonical_resource_key("other", resource("text", "int"))
    assert key != canonical_resource_key("acme", resource("text"))
    canonical = b"\x01\x04\0\0\0acme" + attribute_map(pairs(["int", "text"]))
    assert key == hashlib.blake2b(canonical, digest_size=16).digest()


def test_a_request_is_cut_by_resource_without_encoding_anything_anew():
    entries = [
        request([], resource=pairs(names), metric=metric)
        for names, metric in [
            (["text", "int"], "a"),
            (["yes"], "b"),
            (["int", "text"], "c"),
            ([], "d"),
        ]
    ]
    pieces = split_by_resource(b"".join(entries))
    assert pieces == [
        (resource("text", "int"), entries[0] + entries[2]),
        (resource("yes"), entries[1]),
        (b"", entries[3]),
    ]


def test_a_resource_in_two_parts_is_one():
    def part(payload: bytes) -> bytes:
        return b"\x0a" + bytes([len(payload)]) + payload

    both = part(part(resource("int")) + part(resource("text")))
    merged = ExportMetricsServiceRequest.FromString(both).resource_metrics[0].resource
    ((found, piece),) = split_by_resource(both)
    assert piece == both
    assert found == resource("int") + resource("text")
    assert canonical_resource_key("", found) == canonical_resource_key(
        "", merged.SerializeToString()
    )


def test_an_empty_request_has_no_pieces():
    assert split_by_resource(b"") == []


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0b\x0c",
        b"\x00",
        b"\x0a\x02\x0a\x05",
        b"\x50" + b"\xff" * 11,
        b"\x0a\x04\x0a\x02\xff\xff",
        b"\x0a\x02\x0a\x01\x0a\x00",
    ],
)
def test_a_request_that_does_not_parse_is_not_cut(damaged):
    with pytest.raises(MalformedError):
        split_by_resource(damaged)


def test_what_is_read_back_must_not_end_too_early():
    with pytest.raises(ValueError, match="too early"):
        Reader(b"\x05\0\0\0abc").text()
