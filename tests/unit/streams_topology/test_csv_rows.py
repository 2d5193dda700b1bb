"""CSV: read as Python's csv module reads it, what is written is read back, bad rows go alone."""

import csv
import io
import math
import random

import numpy as np
import pytest

from streams.codecs import Csv
from streams.errors import Rejected
from streams.schema import Schema, TopologyError, binary, boolean, f64, i64, string, time
from streams.task.processor import InputRecord
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.topology.testing import TopologyTestDriver
from streams.values import values_of

SCHEMA = Schema(
    name=string, n=i64.optional, x=f64.optional, ok=boolean.optional, note=string.optional
)
ALPHABET = ["a", "b", ",", '"', '""', "\n", "\r\n", "\r", " ", "é", ";", ""]


def record(value):
    return InputRecord(0, 0, None, value)


def read(codec, *values):
    return codec.decode([record(value) for value in values])


def lists(decoded):
    return {name: values.to_list() for name, values in decoded.columns.items()}


def rows_of(text):
    """As csv reads it: rows, and whether it refused one; blank lines are passed over."""
    lines, rows = io.StringIO(text, newline=""), []
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return rows, False
        except csv.Error:
            return rows, True
        if row:
            rows.append(row)


def test_any_text_is_cut_as_the_csv_module_cuts_it():
    chance, whole, refused = random.Random(1), 0, 0
    codec = Csv(Schema(a=string, b=string))
    for _ in range(4_000):
        text = "".join(chance.choices(ALPHABET, k=chance.randrange(1, 24)))
        wanted, failed = rows_of(text)
        if not wanted and not failed:
            continue
        found = read(codec, text.encode())
        cut = list(zip(*lists(found).values(), strict=True))
        fits = [tuple(row) for row in wanted if len(row) == 2]
        if failed:  # csv goes no further; here the other lines count
            refused += 1
            assert cut[: len(fits)] == fits, text
            assert found.refused
        else:
            whole += 1
            assert cut == fits, text
            assert len(found.refused) == len(wanted) - len(fits), text
    assert whole > 1_000
    assert refused > 500


def drawn(chance, kind):
    if kind.nullable and chance.random() < 0.3:
        return None
    match kind.kind:
        case "string":
            return "".join(chance.choices(ALPHABET, k=chance.randrange(5)))
        case "f64":
            return chance.choice(
                [0.1, -0.0, 1e300, 5e-324, math.inf, -math.inf, chance.gauss(0, 1)]
            )
        case "bool":
            return chance.random() < 0.5
        case _:
            return chance.choice([0, -1, 2**63 - 1, -(2**63), chance.randrange(10**6)])


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_is_written_is_read_back_here_and_by_the_csv_module(header, delimiter):
    chance = random.Random(3)
    given = {name: [drawn(chance, kind) for _ in range(300)] for name, kind in SCHEMA.items()}
    columns = {name: values_of(SCHEMA[name], rows) for name, rows in given.items()}
    codec = Csv(SCHEMA, header=header, delimiter=delimiter)
    written = [value for _, value in codec.bound(SCHEMA).encode(columns, 300)]
    assert lists(read(codec, *written)) == given
    theirs = [
        list(csv.reader(io.StringIO(value.decode(), newline=""), delimiter=delimiter))[-1]
        for value in written
    ]
    assert [row[0] for row in theirs] == given["name"]
    assert [row[1] for row in theirs] == ["" if n is None else str(n) for n in given["n"]]


def test_every_double_is_read_to_the_bit():
    chance = np.random.default_rng(4)
    bits = chance.integers(0, 2**63, 20_000).view(np.float64)
    doubles = bits[np.isfinite(bits)].tolist()
    texts = [repr(value) for value in doubles]
    texts += [
        "1e400",
        "-1e400",
        ".5",
        "5.",
        "+1",
        "1E5",
        "nan",
        "-inf",
        "Infinity",
        "007",
        "1e-400",
    ]
    found = read(Csv(Schema(x=f64)), "\n".join(texts).encode()).columns["x"].numbers
    assert found.tobytes() == np.array([float(text) for text in texts]).tobytes()


@pytest.mark.parametrize(
    ("column", "kind", "bad"),
    [
        (
            "n",
            i64,
            ["x", "1.0", "9223372036854775808", "-9223372036854775809", "-", " 1", "1_0", ""],
        ),
        ("x", f64, ["x", " 1", "1_0", "1e", "--1", "\u0661", ""]),
        ("ok", boolean, ["yes", "2", "tru", ""]),
        ("at", time, ["2026-01-01", "9223372036854775", ""]),
        ("s", i64.optional, ["x"]),
    ],
)
def test_a_field_of_another_kind_refuses_its_row_alone_and_says_where(column, kind, bad):
    codec = Csv(Schema({column: kind, "z": string}), times="ms")
    lines = [line for cell in bad for line in (f"{cell},bad", "1,good")]
    found = read(codec, "\r\n".join(["1,good", *lines]).encode())
    assert found.columns["z"].to_list() == ["good"] * (len(bad) + 1)
    assert [row.row for row in found.refused] == [f"{cell},bad".encode() for cell in bad]
    assert [row.line for row in found.refused] == list(range(2, 2 * len(bad) + 1, 2))
    assert {row.code for row in found.refused} == {"malformed-field"}
    assert all(f"'{column}'" in row.reason for row in found.refused)


def test_rows_that_are_malformed_are_refused_with_the_line_they_begin_in():
    text = b'a,1\n"b\n\n",2\nc\n"d"e,3\nd,4,5\n\xff,6\n\ng,7\n"h,8\n'
    found = read(Csv(Schema(s=string, n=i64)), text)
    assert lists(found) == {"s": ["a", "b\n\n", "g"], "n": [1, 2, 7]}
    assert [(row.line, row.row, row.reason) for row in found.refused] == [
        (5, b"c", "it has 1 fields and should have 2"),
        (6, b'"d"e,3', "text follows a closing quote"),
        (7, b"d,4,5", "it has 3 fields and should have 2"),
        (8, b"\xff,6", "column 's': '\ufffd' is no text in UTF-8"),
        (11, b'"h,8\n', "a quote is not closed"),
    ]


def test_a_header_names_the_fields_of_its_record_in_any_order():
    codec = Csv(Schema(s=string, n=i64), header=True)
    found = read(
        codec, b"n,more,s\n1,x,a\n2,y,b\n", b's,"n"\r\nc,3\r\n', b"s,n\n", b"n,s\n4,d\n5\n"
    )
    assert lists(found) == {"s": ["a", "b", "c", "d"], "n": [1, 2, 3, 4]}
    assert found.records.tolist() == [0, 0, 1, 3]
    assert [(row.record, row.line, row.row) for row in found.refused] == [(3, 3, b"5")]


@pytest.mark.parametrize("bad", [b"", b"\n\r\n", b"s\n1", b"s,n,n\na,1,2", b's,"n\na,1', None])
def test_a_record_without_lines_or_with_another_header_is_rejected(bad):
    with pytest.raises(Rejected) as caught:
        read(Csv(Schema(s=string, n=i64), header=True), b"s,n\na,1", bad)
    assert (caught.value.index, caught.value.code) == (1, "malformed-csv")


def test_fields_that_the_schema_does_not_name_are_passed_over():
    codec = Csv(Schema(n=i64, s=string), columns=["s", "other", "n"])
    assert lists(read(codec, b"a,x,1\nb,,2")) == {"n": [1, 2], "s": ["a", "b"]}


def test_what_cannot_be_csv_is_refused_when_the_codec_is_made():
    for made in (
        lambda: Csv(Schema(b=binary)),
        lambda: Csv(Schema(a=i64), columns=["b"]),
        lambda: Csv(delimiter='"'),
        lambda: Csv(delimiter=",,"),
        lambda: Csv().bound(Schema(a=i64.optional)),
    ):
        with pytest.raises(TopologyError):
            made()


def test_a_bad_row_is_a_dead_letter_and_the_rest_of_its_record_counts():
    builder = StreamsBuilder("sales")
    stream = builder.stream("rows", Csv(Schema(shop=string, amount=i64)), partitions=1)
    stream.group_by("shop").aggregate(total=agg.sum("amount")).to("totals", Csv())
    driver = TopologyTestDriver(builder.build())
    driver.pipe_record("rows", b"a,1\nb,x\na,2\n")
    driver.pipe_record("rows", b"a,3")
    driver.run()
    driver.restart()
    assert [record.value for record in driver.read_records("totals")][-1] == b"a,6.0\n"
    (letter,) = driver.dead_letters()
    assert (letter.key, letter.value) == (b"rows/0/0", b"b,x")
    said = dict(letter.headers)
    assert (said["line"], said["code"]) == (b"2", b"malformed-field")
    assert said["reason"] == b"column 'amount': 'x' is no integer of 64 bits"
