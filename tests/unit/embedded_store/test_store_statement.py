"""What the store reads off a statement before the engine sees it."""

from __future__ import annotations

import pytest

from tidemill.embedded_store.statement import HEAD_BYTES, read_statement


@pytest.mark.parametrize(
    ("sql", "verb", "form"),
    [
        (b"SELECT 1", "SELECT", None),
        (b"-- why\n/* FORMAT CSV */ select 1 format JSON", "SELECT", "JSON"),
        (b"SELECT 1 FORMAT TSV;", "SELECT", "TSV"),
        (b"SELECT 1 FORMAT Native SETTINGS max_threads = 1", "SELECT", "Native"),
        (b"SELECT 'FORMAT CSV'", "SELECT", None),
        (b"SELECT 1 AS format", "SELECT", None),
        (b"SELECT a format FROM t", "SELECT", None),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV", "SELECT", "CSV"),
        (b"WITH 1 AS x SELECT x", "SELECT", None),
        (b"FROM t SELECT a", "SELECT", None),
        (b"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT", None),
        (b"SHOW TABLES FORMAT CSV", "SHOW", "CSV"),
        (b"", "", None),
        (b"  -- nothing", "", None),
    ],
)
def test_verb_and_format(sql: bytes, verb: str, form: str | None) -> None:
    found = read_statement(sql)
    assert (found.verb, found.format, found.data_at) == (verb, form, None)


@pytest.mark.parametrize(
    ("sql", "head", "form", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x00\x01\n", b"INSERT INTO t ", "Native", b"\x00\x01\n"),
        (b"INSERT INTO t FORMAT CSV\r\n1\n", b"INSERT INTO t ", "CSV", b"1\n"),
        (b"INSERT INTO t FORMAT CSV  \n\n1", b"INSERT INTO t ", "CSV", b"\n1"),
        (b"INSERT INTO t (a, b) VALUES (1, 'FORMAT')", b"INSERT INTO t (a, b) ", "Values", None),
        (b"INSERT INTO values VALUES (1)", b"INSERT INTO values ", "Values", b" (1)"),
        (b"INSERT INTO db.format FORMAT TSV\n1", b"INSERT INTO db.format ", "TSV", b"1"),
        (b"INSERT INTO `x FORMAT y` FORMAT TSV\n1", b"INSERT INTO `x FORMAT y` ", "TSV", b"1"),
        (
            b"INSERT INTO t SETTINGS async_insert=1 FORMAT JSONEachRow {}",
            b"INSERT INTO t SETTINGS async_insert=1 ",
            "JSONEachRow",
            b"{}",
        ),
        (b"INSERT INTO FUNCTION null('a Int8') VALUES (1)", None, "Values", b" (1)"),
    ],
)
def test_where_the_data_of_an_insert_begins(
    sql: bytes, head: bytes | None, form: str, data: bytes | None
) -> None:
    found = read_statement(sql)
    assert found.verb == "INSERT"
    assert found.format == form
    assert found.data_at is not None
    if head is not None:
        assert sql[: found.head_end] == head
    if data is not None:
        assert sql[found.data_at :] == data


def test_an_insert_without_data_is_run_as_it_is() -> None:
    for sql in (b"INSERT INTO t SELECT 1 FORMAT CSV", b"INSERT INTO t"):
        assert read_statement(sql).data_at is None


@pytest.mark.parametrize(
    ("sql", "files"),
    [
        (b"SELECT 1 INTO OUTFILE 'x'", True),
        (b"SELECT 1 into /* */ outfile 'x' FORMAT CSV", True),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", True),
        (b"SELECT 'INTO OUTFILE'", False),
        (b"SELECT outfile FROM infile", False),
    ],
)
def test_files_are_noticed(sql: bytes, files: bool) -> None:
    assert read_statement(sql).files is files


def test_only_formats_without_head_and_foot_are_streamed() -> None:
    for form in (b"Native", b"TSV", b"CSV", b"JSONEachRow", b"RowBinary"):
        assert read_statement(b"SELECT 1 FORMAT " + form).streamed
    for form in (b"JSON", b"CSVWithNames", b"Parquet", b"Pretty", b"XML"):
        assert not read_statement(b"SELECT 1 FORMAT " + form).streamed
    assert not read_statement(b"SHOW TABLES").streamed


def test_data_of_any_size_and_kind_does_not_slow_the_reading() -> None:
    body = b"INSERT INTO t FORMAT Native\n" + bytes(range(256)) * (HEAD_BYTES // 256)
    assert read_statement(body).data_at == 28
