"""The store as commands ask it: what goes wrong is said with its way out."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from tidemill.commands.errors import FAILED, UNREACHABLE, USAGE, CommandError
from tidemill.settings import Settings, SettingsError
from tidemill.store_address import PASSWORD, store_address
from topologies.sink.store import connect

_NO_TABLES = ("UNKNOWN_DATABASE", "UNKNOWN_TABLE")


class NoTables(LookupError):
    """Nothing was ever stored: not even the tables are there."""


@contextmanager
def store_client(
    settings: Settings, otherwise: str = "name its settings with --settings"
) -> Generator[Any]:
    """A client of the deployment's store. otherwise: what else to do where it is away.

    Raises:
        NoTables: They are not there yet.
        CommandError: The store is away, or refuses.
    """
    try:
        yield connect(store_address(settings.store_url, os.environ.get(PASSWORD, "")))
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None
    except ClickHouseError as error:
        said = str(error)
        if any(code in said for code in _NO_TABLES):
            raise NoTables(said.splitlines()[0]) from None
        if "DB::Exception" in said or "error code" in said.lower():
            raise CommandError(f"the store refused: {said.splitlines()[0]}", FAILED) from None
        raise CommandError(
            f"no store answers at {settings.store_url}: start the stack with `tidemill up`, or "
            f"{otherwise}",
            UNREACHABLE,
        ) from None
