"""`tidemill up`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import Generator, Sequence
from pathlib import Path

from rich.console import Console

from tidemill import up as stack
from tidemill.commands.deployment import Aggregates, Environment, aggregate_files, definition_files
from tidemill.commands.errors import USAGE, CommandError
from tidemill.packs import is_pack
from tidemill.settings import Settings, SettingsError, with_own_key
from tidemill.wiring import DefinitionsError

OWN_DEFINITIONS = Path("definitions")
DEFAULTS = Settings()


def up(
    *,
    data: Path = Path(DEFAULTS.data),
    definitions: Sequence[Path] = (),
    aggregates: Aggregates = (),
    environment: Environment = None,
    workers: int = DEFAULTS.workers,
    host_interval: float = DEFAULTS.host_interval,
    broker_port: int = DEFAULTS.broker_port,
    broker_metrics_port: int = DEFAULTS.broker_metrics_port,
    edge_port: int = DEFAULTS.edge_port,
    store_port: int = 8123,
    worker_port: int = DEFAULTS.worker_port,
) -> int:
    """The whole stack on this machine: broker, edge, workers, store, and a source that measures it.

    Everything listens on 127.0.0.1 and keeps its data in one folder. Ctrl-C ends all of it; the
    next start carries on.

    Parameters
    ----------
    data:
        The folder for all data and logs.
    definitions:
        Files or folders of metric definitions beside the starter set, or packs that come with
        tidemill, such as tidemill:kubernetes; ./definitions if it exists and no file is named.
    workers:
        Worker processes, which share the partitions.
    host_interval:
        Seconds between two measurements of this machine; 0 leaves it out.
    worker_port:
        Port of the first worker's web pages; the next worker has the next one.
    """
    if workers < 1:
        raise CommandError(f"--workers {workers}: at least one is needed", USAGE)
    given = tuple(definitions)
    if all(map(is_pack, given)) and OWN_DEFINITIONS.is_dir():
        given = (*given, OWN_DEFINITIONS)
    wanted = Settings(
        data=str(data),
        definitions=definition_files(given),
        aggregates=aggregate_files(aggregates),
        environment=environment or "",
        bootstrap=f"127.0.0.1:{broker_port}",
        broker_port=broker_port,
        broker_metrics_port=broker_metrics_port,
        edge_port=edge_port,
        store_url=f"http://127.0.0.1:{store_port}",
        worker_port=worker_port,
        workers=workers,
        host_interval=host_interval,
    )
    try:
        stack.check_before_start(wanted)
        with _alone_in(wanted.folder):
            settings = with_own_key(wanted)
            console = Console(soft_wrap=True)
            return asyncio.run(stack.run(settings, console))
    except (stack.UpError, SettingsError, DefinitionsError) as error:
        raise CommandError(str(error)) from None


@contextlib.contextmanager
def _alone_in(folder: Path) -> Generator[None, None, None]:
    """Hold the data folder: two stacks in one would take each other's settings and state.

    Raises:
        CommandError: Another one holds it.
    """
    with (folder / "lock").open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(
                f"another `tidemill up` runs on {folder}: end it, or use another folder: "
                "tidemill up --data OTHER"
            ) from None
        yield
