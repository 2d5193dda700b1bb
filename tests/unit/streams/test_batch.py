"""A table survives its encoding, and damage to it is told and not read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.batch import BytesColumn, MalformedTable, Table, decode_table, encode_table


def example() -> Table:
    return Table(
        {
            "window_end": np.array([1, 2, 3], np.int64),
            "value": np.array([0.1, -0.0, np.nan]),
            "labels": BytesColumn.of([b"{}", b"", b'{"a":"b"}']),
        },
        {"definitions": [{"name": "x"}]},
    )


def test_a_table_comes_back_to_the_bit():
    table = example()
    back = decode_table(encode_table(table))
    assert back.meta == table.meta
    assert back.array("value").tobytes() == table.array("value").tobytes()
    assert back.array("window_end").tolist() == [1, 2, 3]
    assert list(back.strings("labels")) == [b"{}", b"", b'{"a":"b"}']


@given(st.lists(st.binary(max_size=9)), st.data())
def test_byte_strings_keep_their_rows_and_can_be_taken(rows: list[bytes], data: st.DataObject):
    back = decode_table(encode_table(Table({"s": BytesColumn.of(rows)})))
    assert list(back.strings("s")) == rows
    wanted = data.draw(st.lists(st.integers(0, max(0, len(rows) - 1)), max_size=5 if rows else 0))
    taken = back.take(np.array(wanted, np.int64))
    assert list(taken.strings("s")) == [rows[i] for i in wanted]


@given(st.integers(0, 400))
def test_a_table_that_was_cut_short_is_refused(cut: int):
    raw = encode_table(example())
    whole = raw.rstrip(b"\0")
    if cut < len(whole):
        with pytest.raises(MalformedTable):
            decode_table(raw[:cut])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        Table({"a": np.zeros(2), "b": np.zeros(3)})


def test_a_column_asked_for_as_the_wrong_type_is_named():
    with pytest.raises(TypeError, match="'labels' holds byte strings"):
        example().array("labels")


def with_header(header: bytes, body: bytes = b"") -> bytes:
    head = b"TMT1" + len(header).to_bytes(4, "little") + header
    return head + bytes(-len(head) % 8) + body


@pytest.mark.parametrize(
    "header",
    [
        b'{"meta":{},"columns":5}',
        b'{"meta":{},"columns":[["a","i8"]]}',
        b'{"meta":{},"columns":[["a","i8",1.5,8]]}',
        b'{"meta":{},"columns":[["a","i8",-1,-8]]}',
        b'{"meta":{},"columns":[[1,"i8",0,0]]}',
        b'{"meta":[],"columns":[]}',
        b'{"meta":{},"columns":[["a","i8",1,8],["b","i8",0,0]]}',
        b'{"meta":{},"columns":[["a","i8",1,8],["a","i8",1,8]]}',
        b'{"meta":{"\xff":1},"columns":[]}',
        b'{"meta":{"a":' + b"[" * 5000 + b"]" * 5000 + b'},"columns":[]}',
    ],
)
def test_a_header_that_says_no_columns_is_refused(header: bytes):
    with pytest.raises(MalformedTable):
        decode_table(with_header(header, bytes(16)))


def test_a_header_that_is_cut_short_is_refused_though_it_parses():
    header = b'{"meta":{},"columns":[]}'
    with pytest.raises(MalformedTable):
        decode_table(b"TMT1" + (len(header) + 5).to_bytes(4, "little") + header)
