"""`tidemill why`."""

from __future__ import annotations

import asyncio
import difflib
import logging

from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.explain import reads
from metric_registry.plan import ResolvedDefinition
from streams.event_time.windows import EARLIEST, LATEST
from tidemill.accounts import crowded, lateness, noticed, refused
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import UNREACHABLE, USAGE, CommandError
from tidemill.commands.output import Output, emit
from tidemill.definitions_topic import decisions_of
from tidemill.holding import Holding, Situation, clock, explain
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.situation import ask
from tidemill.wiring import DefinitionsError, load_plan
from topologies.decisions import UnreadableDecision


def why(name: str, *, settings: SettingsFile = None, output: Output = "table") -> int:
    """What holds the next window of a definition: a partition, a process or an agent, since when.

    And which streams that it names do not count, and why; and which grace would have let in what
    came late today; and who is near its limit, or over it.

    Parameters
    ----------
    name:
        The definition.
    """
    deployment = settings_of(settings)
    definition = definition_of(deployment, name)
    situation = asyncio.run(ask(deployment, definition))
    if not situation.workers:
        raise CommandError(no_worker(deployment), UNREACHABLE)
    found = explain(situation)
    if output == "table":
        print(f"{name} reads {_reads(definition)}")
        for holding in found:
            print(f"{holding.domain}:")
            for sentence in holding.sentences:
                print(f"  {sentence}")
            if not holding.held:
                print("  nothing holds it")
        for sentence in accounts_of(situation):
            print(sentence)
        return 0
    emit([as_row(holding, situation) for holding in found], (), output)
    return 0


def derived_of(settings: Settings, name: str) -> ResolvedDerived | None:
    """The derived definition of that name, if it is one.

    Raises:
        CommandError: Definitions have mistakes.
    """
    try:
        plan = load_plan(settings)
    except DefinitionsError as error:
        raise CommandError(str(error)) from None
    return next((one for one in plan.derived if one.name == name), None)


def definition_of(settings: Settings, name: str) -> ResolvedDefinition:
    """The definition of that name: of the files, else one that is in force and in none of them.

    Raises:
        CommandError: There is none, or definitions have mistakes.
    """
    try:
        plan = load_plan(settings)
    except DefinitionsError as error:
        raise CommandError(str(error)) from None
    by_name = {definition.name: definition for definition in plan.definitions}
    if name in by_name:
        return by_name[name]
    derived = {one.name: one for one in plan.derived}
    if name in derived:
        inputs = " and ".join(one.name for one in derived[name].inputs)
        raise CommandError(
            f"{name} is derived from {inputs} when it is asked for, and has no windows of its own "
            f"that could be open or held: ask that of {inputs}; its rows: tidemill query {name}",
            USAGE,
        )
    running, unknown = _running(settings)
    if name in running:
        return running[name]
    by_name |= running
    close = difflib.get_close_matches(name, by_name, 3, 0.5)
    hint = f"close to it: {', '.join(close)}" if close else f"there are {', '.join(by_name)}"
    raise CommandError(f"no definition is called {name}; {hint}{unknown}")


def _running(settings: Settings) -> tuple[dict[str, ResolvedDefinition], str]:
    """What is in force, by name; and why that is not known, to be said behind another sentence."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        newest = asyncio.run(decisions_of(settings)).newest
    except (Unreachable, UnreadableDecision) as error:
        return {}, f". What is in force besides is unknown: {error}"
    return {one.name: one for one in newest.deployed.current} if newest else {}, ""


def no_worker(settings: Settings) -> str:
    """The sentence for a deployment of which no worker answers."""
    last = settings.worker_port + settings.workers - 1
    ports = f"{settings.worker_port}" + (f" to {last}" if settings.workers > 1 else "")
    return (
        f"no worker answers on port {ports} of this machine, so nothing is computed: start the "
        "stack with `tidemill up`, or name its settings with --settings"
    )


def as_row(holding: Holding, situation: Situation) -> dict[str, object]:
    """For programs."""
    return {
        "definition": situation.definition.name,
        "domain": holding.domain,
        "published_to": None if holding.done in (EARLIEST, LATEST) else clock(holding.done),
        "next_end": None if holding.next_end == LATEST else clock(holding.next_end),
        "held": holding.held,
        "sentences": list(holding.sentences),
        "refused": refused(situation.workers, situation.definition.name),
        "noticed": noticed(situation.workers, situation.definition.name),
        "lateness": lateness(
            situation.workers, situation.definition.name, situation.definition.grace_ns
        ),
        "crowded": crowded(situation.workers, situation.definition.name),
    }


def accounts_of(situation: Situation) -> list[str]:
    """What does not count, what was noticed about counters, what came late, and what is full."""
    name, grace = situation.definition.name, situation.definition.grace_ns
    workers = situation.workers
    late = lateness(workers, name, grace)
    return [*refused(workers, name), *noticed(workers, name), *late, *crowded(workers, name)]


def _reads(definition: ResolvedDefinition) -> str:
    where = " and ".join(f"{name} is {' or '.join(v)}" for name, v in definition.where)
    return reads(definition) + (f" where {where}" if where else "")
