"""The comparison reads the table as any ClickHouse user does."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clickhouse_connect
import pytest
from demo.published import Row, Table
from oracle.arithmetic import bits
from oracle.definitions import SECOND
from oracle.oracle import Key

from tidemill.embedded_store.testing import StoreProcess
from topologies.sink.schema import Schema, migrations, preparation

END = 1_700_006_410
WHEN = datetime.fromtimestamp(END, UTC)
COLUMNS = ["rollup", "version", "tenant", "resolution", "window_end", "group", "labels", "value"]
COLUMNS += ["points", "late", "revision", "is_deleted"]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("store")
    with StoreProcess(folder) as store:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=store.port)
        schema = Schema()
        for statement in [
            *preparation(schema),
            *(s for _, all_ in migrations(schema) for s in all_),
        ]:
            client.command(statement)
        labels, other = {"host": "a", "tenant": "t"}, {"host": "b"}
        given = [
            ["m", "0" * 16, "t", 10, WHEN, 1, labels, 0.1, 3, 0, 1, 0],
            ["m", "0" * 16, "t", 10, WHEN, 1, labels, 0.30000000000000004, 4, 1, 2, 0],
            ["m", "0" * 16, "t", 10, WHEN, 2, other, float("nan"), 1, 0, 1, 0],
            ["m", "0" * 16, "t", 10, WHEN + timedelta(seconds=10), 2, other, 5.0, 1, 0, 1, 0],
            ["m", "0" * 16, "t", 10, WHEN + timedelta(seconds=10), 2, other, 0.0, 0, 0, 2, 1],
            ["other", "0" * 16, "t", 60, WHEN, 3, {}, 1.0, 1, 0, 1, 0],
        ]
        for row in given:  # one insert each: revisions are not merged yet
            client.insert("tidemill.rollups_v1", [row], column_names=COLUMNS)
        client.close()
        yield store.port


def test_the_latest_revision_of_each_row_is_read_with_its_bits(port: int) -> None:
    table = Table("127.0.0.1", port)
    rows = table.rows(["m"])
    a, b = ((("host", host), ("tenant", "t")) for host in "ab")
    end = END * SECOND
    assert rows.keys() == {Key("m", 10 * SECOND, end, a), Key("m", 10 * SECOND, end, b)}
    assert rows[Key("m", 10 * SECOND, end, a)] == [Row(0.30000000000000004, 4, 1, 2, "0" * 16)]
    assert bits(rows[Key("m", 10 * SECOND, end, b)][0].value) == 0x7FF8 << 48
    assert table.count(["m"]) == 2
    assert table.count(["m", "other"]) == 3
    table.close()
