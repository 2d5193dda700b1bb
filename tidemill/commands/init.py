"""`tidemill init`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tidemill.announcing import Superseded, introduce
from tidemill.commands.deployment import Aggregates, Environment, aggregate_files, definition_files
from tidemill.commands.errors import TIMED_OUT, UNREACHABLE, CommandError
from tidemill.probe import Unreachable
from tidemill.settings import Settings, SettingsError, load, with_own_key
from tidemill.topics import TopicsError, create_topics
from tidemill.wiring import DefinitionsError, load_plan
from topologies.decisions import UnreadableDecision

DEFAULTS = Settings()


def init(
    *,
    data: Path = Path(DEFAULTS.data),
    bootstrap: str = DEFAULTS.bootstrap,
    store_url: str = DEFAULTS.store_url,
    definitions: Sequence[Path] = (),
    aggregates: Aggregates = (),
    environment: Environment = None,
    partitions: int = DEFAULTS.raw_partitions,
    replication: int = DEFAULTS.replication,
    timeout: float = 60.0,
) -> int:
    """Write a deployment's settings and create its topics, for processes that are started alone.

    The settings get a secret of their own the first time. Repeating it changes nothing but what is
    said anew; `tidemill up` does all this by itself.

    Parameters
    ----------
    data:
        The folder that gets settings.json and which the workers share.
    bootstrap:
        The log: our broker or any Kafka, as HOST:PORT.
    store_url:
        ClickHouse's HTTP interface.
    definitions:
        Files or folders of metric definitions beside the starter set, or packs that come with
        tidemill, such as tidemill:kubernetes.
    partitions:
        Partitions of the topics; a topic that exists must have as many.
    timeout:
        Seconds to wait for the log.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    before = Settings(data=str(data))
    try:
        base = load(before.file) if before.file.exists() else before
        settings = with_own_key(
            replace(
                base,
                data=str(data),
                bootstrap=bootstrap,
                store_url=store_url,
                definitions=definition_files(definitions),
                aggregates=aggregate_files(aggregates),
                environment=environment or "",
                raw_partitions=partitions,
                shard_partitions=partitions,
                replication=replication,
            )
        )
        load_plan(settings)  # nothing is made for definitions with mistakes
        file = settings.save()
        created = asyncio.run(create_topics(settings, timeout))
        new = asyncio.run(introduce(settings))
    except Unreachable as error:
        raise CommandError(str(error), UNREACHABLE) from None
    except TopicsError as error:
        code = TIMED_OUT if "did not answer" in str(error) else 1
        raise CommandError(str(error), code) from None
    except (SettingsError, DefinitionsError, Superseded, UnreadableDecision) as error:
        raise CommandError(str(error)) from None
    made = f"created {', '.join(created)}" if created else "all topics were there"
    print("\n".join([f"{file} written; {made}", *new]))
    return 0
