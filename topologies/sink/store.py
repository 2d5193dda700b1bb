"""The one typed door to ``clickhouse-connect``: make the schema, insert, ask."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import clickhouse_connect
import cramjam
from clickhouse_connect.driver.exceptions import ClickHouseError

from topologies.sink import derived
from topologies.sink import schema as ddl
from topologies.sink.schema import Schema, SchemaTooNew

_MISMATCH = {
    16: "a column is missing", 20: "the number of columns differs", 47: "a name is unknown",
    27: "the rows were not understood", 33: "the rows were not understood",
    117: "the rows were not understood", 53: "a type differs", 70: "a type differs",
    60: "a table is missing", 81: "the database is missing", 115: "a setting is unknown",
    193: "the password is wrong", 497: "the user may not do this",
    516: "user or password are wrong",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A ClickHouse server's HTTP interface, the embedded one or any other."""

    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "default"
    password: str = field(default="", repr=False)
    secure: bool = False
    timeout_s: int = 60

    @property
    def near(self) -> bool:
        """On this machine, where compressing costs more than it saves."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class Kept:
    """What definitions say of the store.

    Attributes:
        retention_days: As `Schema.retention_days`.
        views: Definition -> the kind of its histograms, empty where it has none. Those that are not
            among them have a view as soon as rows of them come.
        derived: Derived definition -> what it is selected by. Their views are there at once, and go
            when they do.
    """

    retention_days: Mapping[int, int]
    views: Mapping[str, str] = field(default_factory=dict[str, str])
    derived: Mapping[str, str] = field(default_factory=dict[str, str])


class StoreUnreachable(Exception):
    """The store is away, busy or full: the same may work later."""


class StoreMismatch(Exception):
    """The store is not what is expected; a person must look. The message says what to do."""


class _Result(Protocol):
    result_rows: Sequence[Sequence[Any]]


class Client(Protocol):
    """What is used of a client of ``clickhouse-connect``."""

    def command(self, cmd: str) -> object: ...
    def query(self, query: str, parameters: dict[str, Any]) -> _Result: ...
    def raw_insert(
        self,
        table: str,
        *,
        column_names: Sequence[str],
        insert_block: bytes,
        settings: dict[str, Any],
        fmt: str,
        compression: str | None,
    ) -> object: ...
    def close(self) -> None: ...


def connect(address: StoreAddress) -> Client:
    """A client of its own; raises what clickhouse-connect raises."""
    for talker in ("clickhouse_connect", "urllib3.connectionpool"):
        # They warn of every try; the sink says once that the store is away.
        logging.getLogger(talker).setLevel(logging.ERROR)
    client = clickhouse_connect.get_client(  # pyright: ignore[reportUnknownMemberType]
        host=address.host,
        port=address.port,
        username=address.user,
        password=address.password,
        secure=address.secure,
        compress=not address.near,
        connect_timeout=5,
        send_receive_timeout=address.timeout_s,
        autogenerate_session_id=False,
        query_retries=0,
    )
    return cast("Client", client)


class Store:
    """A connection for one thread at a time; any failure is one of the two above."""

    def __init__(self, address: StoreAddress, schema: Schema) -> None:
        """Connect. Raises StoreUnreachable or StoreMismatch."""
        self._address = address
        self._schema = schema
        self._views: set[tuple[str, str]] = set()
        self._chosen: Mapping[str, str] | None = None
        self._due: set[tuple[str, str]] = set()
        self._derived: Mapping[str, str] = {}
        try:
            self._client = connect(address)
        except (ClickHouseError, OSError) as error:
            raise self._told(error) from error

    def close(self) -> None:
        self._client.close()

    def ensure_schema(self) -> None:
        """Make or migrate the tables; safe to repeat, and from several processes.

        Raises:
            SchemaTooNew: A later version of the program made them.
        """
        schema = self._schema
        for statement in ddl.preparation(schema):
            self.command(statement)
        rows = self.rows(f"SELECT version, lifetime FROM {schema.applied} FINAL ORDER BY version")
        found = int(rows[-1][0]) if rows else 0
        known = {str(name) for (name,) in self.rows("SELECT name FROM system.merge_tree_settings")}
        steps = ddl.migrations(schema, known)
        if found > steps[-1][0]:
            raise SchemaTooNew(
                f"the tables in '{schema.database}' have schema version {found}, this program "
                f"knows up to {steps[-1][0]}: upgrade it, or give it another database"
            )
        for version, statements in steps:
            if version > found:
                for statement in statements:
                    self.command(statement)
                self._record(version)
        if rows and str(rows[-1][1]) != schema.lifetime:
            self.command(ddl.new_lifetime(schema))
            self._record(steps[-1][0])

    def keep(self, kept: Kept) -> None:
        """Tables for these definitions, and views of those that are other than before.

        Safe to repeat, and from several processes. Raises as `ensure_schema`.
        """
        self._schema = replace(self._schema, retention_days=kept.retention_days)
        self.ensure_schema()
        before, self._chosen = self._chosen, kept.views
        self._views = {one for one in self._views if kept.views.get(one[0], one[1]) == one[1]}
        if before is not None:  # else views are made when rows come
            self._due |= kept.views.items() - before.items()
        self._due &= kept.views.items()  # those of a change that failed are due still
        self._derive(kept.derived)
        self.ensure_views(self._due)
        self._due = set()

    def _derive(self, wanted: Mapping[str, str]) -> None:
        """The views of these derived definitions, and of no others."""
        found = self.rows(
            "SELECT name FROM system.tables WHERE database = {database:String} "
            "AND engine = 'View' AND comment = {mark:String}",
            {"database": self._schema.database, "mark": derived.MARK},
        )
        there = {str(name) for (name,) in found}
        for name in sorted(there - wanted.keys()):
            self.command(derived.without_view(self._schema, name))
        for name, select in sorted(wanted.items()):
            if self._derived.get(name) != select or name not in there:
                self.command(derived.derived_view(self._schema, name, select))
        self._derived = dict(wanted)

    def ensure_views(self, rollups: set[tuple[str, str]]) -> None:
        """A view for each definition that has none yet, by the kind of its histograms.

        The one in force decides: rows of the version before it, corrected late, change no view.
        """
        chosen = self._chosen or {}
        wanted = {
            (rollup, chosen.get(rollup, kind))
            for rollup, kind in rollups
            if rollup not in self._derived  # late rows of one that had the name before
        }
        for rollup, kind in wanted - self._views:
            statement = ddl.definition_view(self._schema, rollup, kind)
            if statement is not None:
                self.command(statement)
            self._views.add((rollup, kind))

    def insert(
        self, table: str, columns: Sequence[str], form: str, body: bytes, token: str
    ) -> None:
        """Insert a body in one block; a second time with the same token does nothing."""
        settings: dict[str, Any] = {
            "insert_deduplicate": 1,
            "insert_deduplication_token": token,
            "async_insert": 0,
            # rows of one block are not merged before they are written: 2.9 -> 1.0 CPU s a million
            "optimize_on_insert": 0,
            "max_insert_threads": 1,
            # one block, whatever its size in bytes: retrying with another split doubles rows
            "min_insert_block_size_rows": 1_048_449,
            "min_insert_block_size_bytes": 0,
            "max_insert_block_size": 1_048_449,
            "max_partitions_per_insert_block": 0,
        }
        if self._schema.cluster:
            settings |= {"insert_quorum": "auto", "insert_quorum_parallel": 0}
        compression = None
        if not self._address.near:
            body = bytes(cramjam.zstd.compress(body, 1))
            compression = "zstd"
        try:
            self._client.raw_insert(
                table,
                column_names=columns,
                insert_block=body,
                settings=settings,
                fmt=form,
                compression=compression,
            )
        except (ClickHouseError, OSError) as error:
            raise self._told(error) from error

    def command(self, sql: str) -> None:
        """Run a statement without an answer."""
        try:
            self._client.command(sql)
        except (ClickHouseError, OSError) as error:
            raise self._told(error) from error

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        """The rows of an answer."""
        try:
            return self._client.query(sql, parameters=dict(parameters or {})).result_rows
        except (ClickHouseError, OSError) as error:
            raise self._told(error) from error

    def _record(self, version: int) -> None:
        lifetime = self._schema.lifetime.replace("'", "\\'")
        self.command(
            f"INSERT INTO {self._schema.applied} (version, lifetime) "
            f"VALUES ({version}, '{lifetime}')"
        )

    def _told(self, error: Exception) -> Exception:
        address = f"{self._address.host}:{self._address.port}"
        code = getattr(error, "code", None)
        if code in _MISMATCH:
            return StoreMismatch(
                f"the store at {address} refused: {_MISMATCH[code]}. Look whether its tables were "
                f"changed by hand, and whether this program may use it. It says: {error}"
            )
        return StoreUnreachable(f"the store at {address} did not do it: {error}")
