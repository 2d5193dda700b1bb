"""`tidemill topic`."""

from __future__ import annotations

import asyncio
import logging

from cyclopts import App

from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import UNREACHABLE, CommandError
from tidemill.commands.output import Output, emit
from tidemill.log_topics import topic_states
from tidemill.probe import Unreachable

app = App(
    name="topic",
    help="The topics of the log.",
    help_epilogue="Example: tidemill topic list",
    help_format="plaintext",
)


@app.command(name="list", help_epilogue="Example: tidemill topic list -o jsonl")
def list_topics(
    *, bootstrap: str | None = None, settings: SettingsFile = None, output: Output = "table"
) -> int:
    """Every topic with its partitions, and how many records it holds.

    Records count offsets: the marks that end transactions are among them.

    Parameters
    ----------
    bootstrap:
        The log, as HOST:PORT; else what the settings say.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    where = bootstrap or settings_of(settings).bootstrap
    try:
        found = asyncio.run(topic_states(where))
    except Unreachable as error:
        raise CommandError(
            f"{error}: start the stack with `tidemill up`, or say where it is with --bootstrap",
            UNREACHABLE,
        ) from None
    rows = [
        {"topic": one.topic, "partitions": one.partitions, "records": one.records, "end": one.end}
        for one in found
    ]
    emit(rows, ("topic", "partitions", "records", "end"), output)
    return 0
