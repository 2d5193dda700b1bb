"""`tidemill topic`."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from cyclopts import App, Parameter

from streams.event_time.windows import EARLIEST, SECOND, rfc3339
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, UNREACHABLE, USAGE, CommandError
from tidemill.commands.output import Output, emit
from tidemill.log_topics import topic_states
from tidemill.probe import Unreachable
from tidemill.repartition import Change, RepartitionError, Wanted, announce, epochs_of, key_text
from tidemill.wiring import DefinitionsError
from topologies.decisions import UnreadableDecision
from topologies.epochs import LIVE, Key, Listed

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


@app.command(
    help_epilogue="Example: tidemill topic repartition --partitions 8 --at 2026-12-01T00:00:00Z"
)
def repartition(
    *,
    partitions: int | None = None,
    by: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    by_tenant: Annotated[bool, Parameter(negative=())] = False,
    by_resource: Annotated[bool, Parameter(negative=())] = False,
    at: str | None = None,
    dry_run: bool = False,
    settings: SettingsFile = None,
    output: Output = "table",
) -> int:
    """Give the live topic other partitions, or another key, from a time on.

    Points after that time go to a new topic, telemetry.raw.e2 and so on; points up to it, late ones
    too, stay where they are. No number changes by it. The time must be the end of windows of every
    size that is defined, and so far ahead that every edge has learnt of it.

    Parameters
    ----------
    partitions:
        How many partitions the live topic has from then on; else as many as now.
    by:
        An attribute of the resource that records are keyed by, with the tenant; may be repeated.
        Groups that keep all of them lie in one partition each: see `tidemill registry explain
        --statistics`.
    by_tenant:
        Records are keyed by the tenant alone.
    by_resource:
        Records are keyed by all attributes of the resource, as at first.
    at:
        When, as 2026-12-01T00:00:00Z; else as soon as may be.
    dry_run:
        Say what would be done, and do nothing.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    chosen = settings_of(settings)
    if partitions is not None and partitions < 1:
        raise CommandError("--partitions must be 1 or more", USAGE)
    if bool(by) + by_tenant + by_resource > 1:
        raise CommandError("say one of --by, --by-tenant and --by-resource", USAGE)
    if not (partitions or by or by_tenant or by_resource):
        raise CommandError("say what changes: --partitions, or --by for another key", USAGE)
    key: Key | Literal["same"] = "same"
    if by or by_tenant or by_resource:
        key = None if by_resource else tuple(sorted({*by}))
    wanted = Wanted(partitions, key, _time(at))
    try:
        work = announce(chosen, wanted, time.time_ns(), dry_run)
        decided = asyncio.run(work)
    except (DefinitionsError, RepartitionError, UnreadableDecision) as error:
        raise CommandError(str(error), FAILED) from None
    except Unreachable as error:
        raise CommandError(f"{error}: start it with `tidemill up`", UNREACHABLE) from None
    emit(
        [_row(decided, dry_run)],
        ("from", "topic", "partitions", "key", "before", "announced"),
        output,
    )
    return 0


@app.command(help_epilogue="Example: tidemill topic epochs")
def epochs(*, settings: SettingsFile = None, output: Output = "table") -> int:
    """On which topics the live domain was, is and will be, and since when."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    chosen = settings_of(settings)
    try:
        found = asyncio.run(epochs_of(chosen))
    except Unreachable as error:
        raise CommandError(f"{error}: start it with `tidemill up`", UNREACHABLE) from None
    every = [Listed(LIVE, chosen.raw_partitions, EARLIEST), *found.later]
    rows = [
        {
            "topic": one.topic,
            "partitions": one.partitions,
            "key": key_text(one.key),
            "since": "" if one.since == EARLIEST else rfc3339(one.since),
        }
        for one in every
    ]
    emit(rows, ("topic", "partitions", "key", "since"), output)
    return 0


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"--at {text!r} is no time: write it as 2026-12-01T00:00:00Z", USAGE
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return round(found.timestamp()) * SECOND


def _row(decided: Change, dry: bool) -> dict[str, object]:
    return {
        "from": rfc3339(decided.new.since),
        "topic": decided.new.topic,
        "partitions": decided.new.partitions,
        "key": key_text(decided.new.key),
        "before": f"{decided.before.topic} ({decided.before.partitions})",
        "announced": "no" if dry else "yes",
    }
