"""JSON that kernels write is what msgspec writes of the same rows."""

import math
import random

import msgspec
import numpy as np
import pytest

from streams.batch import BytesColumn
from streams.codecs import Json
from streams.schema import Schema, binary, boolean, f64, i64, string, time
from streams.values import Values, values_of

SCHEMA = Schema(
    {
        "text": string.optional,
        "other": string,
        "n": i64.optional,
        "x": f64.optional,
        "ok": boolean.optional,
        "at": time.optional,
        "raw": binary.optional,
    }
)
INTEGERS = (0, 1, -1, 9, 10, -10, 2**63 - 1, -(2**63), 10**18, -(10**18) + 1)
DOUBLES = (0.0, -0.0, 0.1, 1e22, 1e21, 5e-324, 1.7976931348623157e308, 1e16, 123456789.125, 1e-7)
CHARACTERS = [chr(n) for n in range(0x80)] + ["é", "€", "\u2028", "😀", "\x7f"]


def drawn(chance, kind):
    if kind.nullable and chance.random() < 0.2:
        return None
    match kind.kind:
        case "string":
            return "".join(chance.choices(CHARACTERS, k=chance.randrange(12)))
        case "bytes":
            return chance.randbytes(chance.randrange(9))
        case "bool":
            return chance.random() < 0.5
        case "f64":
            special = (math.nan, math.inf, -math.inf)
            return chance.choice([*DOUBLES, *special, chance.gauss(0, 1), chance.gauss(0, 1e9)])
        case _:
            return chance.choice([*INTEGERS, chance.randrange(-(2**63), 2**63)])


def columns_of(chance, n):
    rows = {name: [drawn(chance, kind) for _ in range(n)] for name, kind in SCHEMA.items()}
    return {name: values_of(SCHEMA[name], row) for name, row in rows.items()}, rows


@pytest.mark.parametrize("n", [0, 1, 2, 5_000])
def test_rows_are_the_texts_that_msgspec_writes(n):
    columns, rows = columns_of(random.Random(n), n)
    names = list(rows)
    wanted = [
        msgspec.json.encode(dict(zip(names, row, strict=True)))
        for row in zip(*rows.values(), strict=True)
    ]
    assert [value for _, value in Json(SCHEMA).encode(columns, n)] == wanted


@pytest.mark.parametrize("key", [("text",), ("n",), ("text", "n"), ("at", "text", "n")])
def test_keys_are_text_or_arrays(key):
    chance = random.Random(9)
    columns, rows = columns_of(chance, 500)
    given = list(zip(*(rows[name] for name in key), strict=True))
    wanted = [msgspec.json.encode(row) for row in given]
    if len(key) == 1:
        wanted = [None if part is None else str(part).encode() for (part,) in given]
    found = Json(SCHEMA, key=key).encode(columns, 500)
    assert [k for k, _ in found] == wanted


def test_every_byte_of_a_string_is_escaped_as_msgspec_does_it():
    rows = [f"a{character}b" for character in CHARACTERS]
    made = Json(Schema(s=string)).encode({"s": values_of(string, rows)}, len(rows))
    assert [value for _, value in made] == [msgspec.json.encode({"s": row}) for row in rows]


def test_rows_without_columns_and_columns_that_are_views():
    assert [value for _, value in Json().encode({}, 2)] == [b"{}", b"{}"]
    numbers = np.arange(10)[::2]
    texts = BytesColumn(np.frombuffer(np.array([0, 1, 3]).tobytes(), np.int64), b"abc")
    made = Json().encode({"n": Values(i64, numbers[:2]), "s": Values(string, texts)}, 2)
    assert [value for _, value in made] == [b'{"n":0,"s":"a"}', b'{"n":2,"s":"bc"}']


@pytest.mark.parametrize("rows", [[b"ok", b"\xff"], ["é".encode()[:1], "é".encode()[1:]]])
def test_a_string_that_is_no_text_is_not_written(rows):
    with pytest.raises(UnicodeDecodeError):
        Json().encode({"s": Values(string, BytesColumn.of(rows))}, 2)
