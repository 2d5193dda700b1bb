"""What a lookup's file becomes of a source's rows, and what is said to change by it."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping

import pytest

from metric_registry import table_sources
from metric_registry.lookups import MOST_KEYS, Lookup, read_table
from metric_registry.pinning import TableChange, pinned, table_text
from metric_registry.table_sources import LastRecords, NotATable, SourceTable, of_result

Put = tuple[int, bytes | None, bytes | None]
"""Partition, key, value."""


def lookup(text: str = "id,name,tier\n") -> Lookup:
    found, problems = read_table("clusters", "id", text)
    assert found is not None, problems
    return found


def topic(*records: Put) -> SourceTable:
    found = LastRecords("t")
    for offset, (partition, key, value) in enumerate(records):
        found.take(partition, offset, key, value)
    return found.table("id")


def rows(*records: Put, header: str = "id,name,tier\n") -> Mapping[str, tuple[str, ...]]:
    return pinned(lookup(header), topic(*records))


def test_the_last_record_of_a_key_is_its_row() -> None:
    assert rows(
        (0, b"c2", b'{"name": "old", "tier": "gold"}'),
        (0, b"c1", b'{"tier": "bronze", "name": "acme", "more": [1]}'),
        (0, b"c2", b'{"name": "new"}'),
        (1, b"c3", b'{"name": "gone"}'),
        (1, b"c3", None),
        (1, b"c3", None),
    ) == {"c1": ("c1", "acme", "bronze"), "c2": ("c2", "new", "")}


def test_only_what_holds_in_the_end_must_be_a_row() -> None:
    good = b'{"name": "a", "tier": "b"}'
    assert rows((0, b"c", b"no JSON"), (0, b"c", good), (0, b"\xff", b"x"), (0, b"\xff", None)) == {
        "c": ("c", "a", "b")
    }


def test_numbers_are_the_text_that_stands_in_the_json() -> None:
    value = b'{"name": 12345678901234567890.10, "tier": 1e3, "id": 7}'
    assert rows((0, b"7", value)) == {"7": ("7", "12345678901234567890.10", "1e3")}
    assert rows((0, b"c", b'{"name": true, "tier": null}')) == {"c": ("c", "true", "")}
    assert rows((0, b"c", b'{"name": false, "tier": -0}')) == {"c": ("c", "false", "-0")}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"{", "t/0@0, key `c`: no JSON"),
        (b"", "t/0@0, key `c`: no JSON"),
        (b"\xff{}", "byte 0 is not UTF-8"),
        (b"[]", "the value is an array, and no JSON object"),
        (b"null", "the value is null, and no JSON object"),
        (b'"x"', "the value is a single value"),
        (b"7", "the value is a number"),
        (b'{"name": NaN}', "NaN is no number"),
        (b'{"name": 1, "tier": 2, "name": 3}', "`name` stands in it twice"),
        (b'{"tier": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"id": "d", "name": 1, "tier": 1}', "its `id` is `d`, and that is another key"),
        (b'{"name": {"a": 1}, "tier": 1}', "the key `c`: `name` is an object"),
        (b'{"name": 1, "tier": []}', "the key `c`: `tier` is an array"),
        (b'{"name": "\\ud800", "tier": 1}', "the key `c`: `name` holds half of a surrogate"),
        (b'{"name": "a"}', "no column `tier`, which the table has; it has `name`"),
    ],
)
def test_what_is_no_row_is_told_with_its_place(value: bytes, said: str) -> None:
    with pytest.raises(NotATable) as told:
        rows((0, b"c", value))
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([(0, b"a", b"{}"), (1, None, b"{}")], "t/1@1 has no key"),
        ([(0, b"", b"{}")], "t/0@0 has no key"),
        ([(0, b"\xff", b"{}")], "is not UTF-8"),
        ([(0, b" c", b'{"name": 1, "tier": 1}')], "has space around it"),
        ([(0, b" ", b'{"name": 1, "tier": 1}')], "is empty"),
        ([(0, b"c", b'{"name": 1}'), (1, b"c", b'{"name": 2}')], "t/0@0 and t/1@1"),
        ([(0, b"c", b'{"name": 1}'), (1, b"c", None)], "which is newer nobody can tell"),
    ],
)
def test_keys_that_are_none_are_told(records: list[Put], said: str) -> None:
    with pytest.raises(NotATable) as told:
        rows(*records)
    assert said in str(told.value)


def test_a_key_that_several_partitions_agree_on_is_one() -> None:
    value = b'{"name": "a", "tier": "b"}'
    assert rows((0, b"c", value), (1, b"c", b"{}"), (1, b"c", value)) == {"c": ("c", "a", "b")}
    assert rows((0, b"c", None), (1, b"c", None)) == {}


def test_more_than_a_table_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    many: list[Put] = [(0, b"k%d" % n, b'{"name": 1, "tier": 1}') for n in range(MOST_KEYS)]
    assert len(rows(*many)) == MOST_KEYS
    with pytest.raises(NotATable, match="20,001 keys"):
        rows(*many, (0, b"more", b'{"name": 1, "tier": 1}'))
    monkeypatch.setattr(table_sources, "MOST_HELD", 10_000)
    same: list[Put] = [(0, b"c", b'{"name": 1, "tier": 1}')] * 1000
    assert len(rows(*same)) == 1, "what is replaced is not held"
    with pytest.raises(NotATable, match="is it the right topic"):
        rows(*many)


def test_a_query_has_the_key_first_and_once() -> None:
    def result(*lines: object) -> Mapping[str, tuple[str, ...]]:
        return pinned(lookup(), of_result([json.dumps(line).encode() for line in lines], "id"))

    names = ["id", "tier", "name", "other"]
    assert result(names, [2, "a", None, []], ["1", True, 0.5, {}]) == {
        "1": ("1", "0.5", "true"),
        "2": ("2", "", "a"),
    }
    assert result(names) == {}
    for lines, said in (
        ([["tier", "id", "name"]], "the first column of the query is `tier`"),
        ([["id", "name", "name"]], "two columns of the query are called `name`"),
        ([["id", "name"]], "no column `tier`"),
        ([names, [1, 1, 1, 1], ["1", 2, 2, 2]], "two rows of the key `1`"),
        ([names, [None, 1, 1, 1]], "row 1 of the query has no key"),
        ([names, [[], 1, 1, 1]], "its key is an array"),
    ):
        with pytest.raises(NotATable, match=said):
            result(*lines)


def test_a_file_is_what_a_csv_reader_finds_in_it_and_the_same_bytes_for_the_same_rows() -> None:
    rng = random.Random(3)
    for _ in range(300):
        made = {
            (key := "k" + "".join(rng.choices('ab,"\r\n é\u2028\x00', k=rng.randrange(4))) + "z"): (
                "".join(rng.choices('ab,"\r\n \x85', k=rng.randrange(4))),
                key,
            )
            for _ in range(rng.randrange(6))
        }
        text = table_text(("na,me", "id"), made)
        assert text == table_text(("na,me", "id"), dict(reversed(made.items())))
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        assert header == ["na,me", "id"]
        assert [tuple(line) for line in lines] == [made[key] for key in sorted(made)]
        found, problems = read_table("x", "id", text)
        assert found is not None, problems
        assert dict(found.rows) == made


def test_a_file_is_written_like_this() -> None:
    made = {"b": ("b", "x, y"), "a": ("a", ""), "B": ("B", 'say "hi"')}
    assert table_text(("id", "name"), made) == 'id,name\nB,"say ""hi"""\na,\nb,"x, y"\n'


def test_what_changes_is_told_by_keys_with_a_few_examples() -> None:
    before = {"c1": ("c1", "acme", "gold"), "c2": ("c2", "hal", ""), "c9": ("c9", "x", "y")}
    after = {"c1": ("c1", "acme", "silver"), "c2": ("c2", "hal", ""), "n": ("n", "n", "")}
    change = TableChange("id", ("id", "name", "tier"), before, after)
    assert change.text() == (
        "1 key added (n: n, nothing), 1 key changed (c1: tier gold -> silver), 1 key removed (c9)"
    )
    told = change.to_dict()
    assert told["keys"] == {"before": 3, "after": 3}
    assert told["added"] == {"n": {"id": "n", "name": "n", "tier": ""}}
    assert told["changed"]["before"]["c1"]["tier"] == "gold"
    assert told["changed"]["after"]["c1"]["tier"] == "silver"
    assert [*told["removed"]] == ["c9"]
    assert change
    same = TableChange("id", ("id", "name", "tier"), before, dict(before))
    assert (bool(same), same.text()) == (False, "no key differs")
    gone = {f"k{n}\x1b[2J": (f"k{n}", "a", "b") for n in range(5000)}
    text = TableChange("id", ("id", "name", "tier"), gone, {}).text()
    assert text.startswith("5,000 keys removed (")
    assert text.endswith("; ...)")
    assert text.isprintable(), "what stands in a table does not steer a terminal"
