"""Codecs: what is written is read back; what is malformed is rejected, and named."""

import math
import random

import numpy as np
import pytest

from streams.batch import BytesColumn, Table, decode_table, encode_table
from streams.codecs import Columnar, Json, Raw, Text
from streams.errors import Rejected
from streams.schema import Schema, TopologyError, binary, boolean, f64, i64, string, time
from streams.task.processor import InputRecord
from streams.values import to_table, values_of

SCHEMA = Schema(
    word=string, n=i64, x=f64.optional, ok=boolean, at=time, note=string.optional, raw=binary
)


def record(value, key=None, offset=0):
    return InputRecord(offset, 0, key, value)


def random_columns(chance, n):
    def draw(kind):
        if kind.nullable and chance.random() < 0.3:
            return None
        return {
            "i64": chance.choice([0, -1, 2**63 - 1, -(2**63)]),
            "f64": chance.choice([0.0, -0.0, 1.5, 1e300]),
            "bool": chance.random() < 0.5,
            "string": chance.choice(["", "a", "é\n", '"}\n{"']),
            "bytes": chance.choice([b"", b"\xff\0"]),
            "time": chance.randrange(-(10**15), 10**15),
        }[kind.kind]

    rows = {name: [draw(kind) for _ in range(n)] for name, kind in SCHEMA.items()}
    return {name: values_of(SCHEMA[name], row) for name, row in rows.items()}


def lists(columns):
    return {name: values.to_list() for name, values in columns.items()}


@pytest.mark.parametrize("codec", [Json(SCHEMA), Json(SCHEMA, key=("word", "n")), Columnar(SCHEMA)])
@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_what_is_written_is_read_back(codec, n):
    columns = random_columns(random.Random(n), n)
    written = codec.bound(SCHEMA).encode(columns, n)
    found = codec.decode([record(value, key) for key, value in written])
    assert lists(found.columns) == lists(columns)
    assert len(found.records) == n


def test_times_are_written_in_the_unit_that_is_asked_for():
    schema = Schema(at=time)
    codec = Json(schema, times="ms")
    ((_, value),) = codec.encode({"at": values_of(time, [1_234_000_000])}, 1)
    assert value == b'{"at":1234}'
    assert lists(codec.decode([record(value)]).columns) == {"at": [1_234_000_000]}


def test_a_record_may_hold_several_lines_and_rows_know_their_record():
    codec = Json(Schema(n=i64))
    found = codec.decode([record(b'{"n":1}\n{"n":2}\n'), record(b'{"n":3}'), record(b' {\n"n":4}')])
    assert lists(found.columns) == {"n": [1, 2, 3, 4]}
    assert found.records.tolist() == [0, 0, 1, 2]


BAD = [
    b"", b"null", b"[]", b"{", b'{"n":1', b'{"n":"1"}', b'{"n":1.5}', b'{"n":9223372036854775808}',
    b'{"m":1}', b'{"n":1} {"n":2}', b'{"n":1},{"n":2}', b'{"n":1}x', b'{"n":1}\n{"n":', b"\xff",
    b'{"n":null}',
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_malformed_record_is_rejected_by_its_place_wherever_it_stands(bad, place):
    records = [record(b'{"n":%d}' % n) for n in range(3)]
    records.insert(place, record(bad))
    with pytest.raises(Rejected) as caught:
        Json(Schema(n=i64)).decode(records)
    assert (caught.value.index, caught.value.code) == (place, "malformed-json")


def rejected(codec, records):
    """The place of the record that is rejected; None: none is."""
    try:
        codec.decode(records)
    except Rejected as error:
        return error.index
    return None


def test_halves_of_an_object_in_two_records_are_not_put_together():
    """Three records, three objects, and yet each record is malformed."""
    records = [record(b'{"n":1,'), record(b'"n":2}'), record(b'{"n":1} {"n":3}')]
    assert rejected(Json(Schema(n=i64)), records) == 0


@pytest.mark.parametrize("key", [None, b"\xff", b"[1]", b'["a"]', b'["a","b"]', b'["a",1,2]'])
def test_a_malformed_key_is_rejected(key):
    codec = Json(Schema(word=string, n=i64, x=f64), key=("word", "n"))
    with pytest.raises(Rejected) as caught:
        codec.decode([record(b'{"x":1}', b'["a",1]'), record(b'{"x":1}', key)])
    assert (caught.value.index, caught.value.code) == (1, "malformed-key")


def test_doubles_that_are_no_numbers_become_null_in_json():
    schema = Schema(x=f64)
    columns = {"x": values_of(f64, [math.nan, math.inf])}
    assert [value for _, value in Json(schema).encode(columns, 2)] == [b'{"x":null}'] * 2


def test_columnar_records_of_other_columns_are_rejected():
    ((_, other),) = Columnar().encode({"n": values_of(f64, [1.0])}, 1)
    for bad in (other, b"TMT1", b""):
        with pytest.raises(Rejected):
            Columnar(Schema(n=i64)).decode([record(bad)])


def test_text_and_raw_bytes():
    assert lists(Text("line").decode([record(b"a"), record(b"")]).columns) == {"line": ["a", ""]}
    for bad in (b"\xff", None):
        with pytest.raises(Rejected):
            Text().decode([record(bad)])
    raw = Raw().decode([record(b"v", b"k"), record(b"w")])
    assert lists(raw.columns) == {"key": [b"k", None], "value": [b"v", b"w"]}
    assert list(Raw().encode(raw.columns, 2)) == [(b"k", b"v"), (None, b"w")]
    with pytest.raises(Rejected):
        Raw().decode([record(None)])


def test_a_key_column_is_of_a_type_that_text_can_say():
    with pytest.raises(TopologyError, match="is to be i64, string, time"):
        Json(SCHEMA, key="x")


def test_a_record_that_nests_without_end_is_rejected_and_others_are_read():
    codec = Json(Schema(n=i64))
    deep = b'{"n":1,"more":' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(Rejected) as refused:
        codec.decode([record(b'{"n":1}'), record(deep)])
    assert refused.value.index == 1
    with pytest.raises(Rejected):
        Json(Schema(a=string, b=string), key=("a", "b")).decode([record(b"{}", deep)])


def test_columns_of_strings_that_are_no_text_are_rejected():
    def written(*rows):
        return encode_table(Table({"word": BytesColumn.of(rows)}))

    codec = Columnar(Schema(word=string))
    assert codec.decode([record(written("é".encode(), b"", b"a"))]).columns["word"].to_list() == [
        "é", "", "a",
    ]  # fmt: skip
    for bad in (written(b"\xff"), written(b"\xc3", b"\xa9"), written(b"a", b"\xc3")):
        with pytest.raises(Rejected):
            codec.decode([record(bad)])


def test_a_mask_of_byte_strings_is_rejected():
    found = encode_table(to_table({"x": values_of(f64.optional, [None])}))
    (name,) = set(decode_table(found).columns) - {"x"}
    table = Table({"x": np.zeros(1), name: BytesColumn.of([b"1"])})
    with pytest.raises(Rejected):
        Columnar(Schema(x=f64.optional)).decode([record(encode_table(table))])
