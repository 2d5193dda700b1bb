"""`tidemill registry apply`, `rollback` and `history`: what a running stack computes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from metric_registry.plan import Plan
from streams.event_time.windows import SECOND, rfc3339
from tidemill.announcing import Choose, Known, Outcome, Superseded
from tidemill.changes import (
    DerivedDifference,
    Difference,
    derived_differences,
    differences,
    differing,
)
from tidemill.commands.deployment import SettingsFile, definition_files, settings_of
from tidemill.commands.errors import FAILED, FINE, TIMED_OUT, UNREACHABLE, USAGE, CommandError
from tidemill.commands.output import Output, emit, note
from tidemill.deciding import Refused, decide, to_apply, to_roll_back, to_try, until_known
from tidemill.definitions_topic import decisions_of
from tidemill.packs import is_pack
from tidemill.probe import Unreachable
from tidemill.settings import Settings
from tidemill.wiring import DefinitionsError, load_plan
from topologies.candidates import definitions_of, pairs
from topologies.decisions import Decision, Decisions, UnreadableDecision
from topologies.deployment import Deployment

Form = Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])]
Flag = Annotated[bool, Parameter(negative=())]
T = TypeVar("T")


def apply(
    *paths: Path,
    dry_run: Flag = False,
    delete: Flag = False,
    candidate: Flag = False,
    wait: bool = True,
    timeout: float = 60.0,
    settings: SettingsFile = None,
    output: Form = "text",
) -> int:
    """Put definitions in force on the running stack, without a restart.

    They count from an announced time on, about 20 seconds ahead: windows that begin at that time or
    later are the new version's, those that begin before stay the old one's, late points included.
    All partitions are told in one transaction. Then it waits until every worker knows; exit code 5
    if one does not in time, which changes nothing about what counts.

    With --candidate what is in force goes on, and those definitions that would have another version
    are computed beside it, named NAME.candidate, for the store alone; `tidemill registry compare`
    holds both against each other. Candidates end with the next apply or rollback.

    Parameters
    ----------
    paths:
        Files, folders or packs of definitions, beside the starter set; without any, those that the
        settings name.
    dry_run:
        Say what would change and when, and do nothing.
    delete:
        Definitions in force that no file has may go.
    candidate:
        Compute them beside those in force, to compare; nothing that is in force changes.
    wait:
        Wait until all workers have gone over.
    timeout:
        Seconds to wait for them.
    """
    if candidate and delete:
        raise CommandError("--candidate takes nothing away: leave --delete out", USAGE)
    chosen = settings_of(settings)
    if paths:
        _exist(paths)
        chosen = replace(chosen, definitions=definition_files(paths))
    try:
        plan = load_plan(chosen)
    except DefinitionsError as error:
        raise CommandError(str(error)) from None
    choose = to_try(plan) if candidate else to_apply(plan, delete)
    outcome = _decided(chosen, choose, dry_run)
    code = _tell(outcome, dry_run, output)
    if candidate:
        _tell_of_candidates(outcome, plan, dry_run)
    if outcome.decided is None or dry_run or not wait:
        return code
    return _wait(chosen, outcome, timeout)


def rollback(
    *,
    to: str | None = None,
    dry_run: Flag = False,
    wait: bool = True,
    timeout: float = 60.0,
    settings: SettingsFile = None,
    output: Form = "text",
) -> int:
    """Put the definitions back in force that were before the last change, without a restart.

    It is a change like any other, from an announced time on; windows that have begun stay what they
    are. Again, it goes back one change further. It holds: a stack that starts leaves what files say
    alone until `tidemill registry apply`.

    Parameters
    ----------
    to:
        A time, as `tidemill registry history` shows it: what was in force then.
    dry_run:
        Say what would change and when, and do nothing.
    wait:
        Wait until all workers have gone over.
    timeout:
        Seconds to wait for them.
    """
    chosen = settings_of(settings)
    outcome = _decided(chosen, to_roll_back(lambda known: _target(known, to)), dry_run)
    code = _tell(outcome, dry_run, output)
    if outcome.decided is None:
        return code
    _tell_of_files(chosen, outcome.decided.deployed)
    return code if dry_run or not wait else _wait(chosen, outcome, timeout)


def history(*, settings: SettingsFile = None, output: Output = "table") -> int:
    """What was decided about definitions, the newest first: it is in force.

    `since` is from when on what changed counts. The last 50 decisions are kept.
    """
    chosen = settings_of(settings)
    decisions = said_by_the_log(decisions_of(chosen))
    rows: list[dict[str, Any]] = []
    before: Deployment | None = None
    for time in decisions.times:
        try:
            decision = decisions.of(time)
        except UnreadableDecision as error:
            rows.append({"decided": rfc3339(time), "how": "unreadable", "changes": str(error)})
            continue
        rows.append(_row(decision, before))
        before = decision.deployed
    if not rows:
        note("nothing was ever put in force: tidemill up, or tidemill init, does")
    emit(rows[::-1], ("decided", "how", "definitions", "since", "changes"), output)
    return FINE


def _exist(paths: Sequence[Path]) -> None:
    for path in paths:
        if not is_pack(path) and not path.exists():
            raise CommandError(f"there is no {path}: name a file or a folder of them", USAGE)


def said_by_the_log(work: Coroutine[Any, Any, T]) -> T:
    """What becomes of work that reads or tells the log. Raises CommandError where it fails."""
    for talker in ("aiokafka", "asyncio"):  # one that is fenced is told below, on one line
        logging.getLogger(talker).setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except Unreachable as error:
        raise CommandError(
            f"{error}: is the stack running? tidemill up starts it, --settings says which",
            UNREACHABLE,
        ) from None
    except (Superseded, Refused, DefinitionsError, UnreadableDecision) as error:
        raise CommandError(str(error), FAILED) from None


def _decided(settings: Settings, choose: Choose, dry_run: bool) -> Outcome:
    return said_by_the_log(decide(settings, choose, dry_run))


def _target(known: Known, to: str | None) -> Decision:
    """The decision that is gone back to. Raises `Refused`."""
    decisions = known.decisions
    found = decisions.before_the_change() if to is None else decisions.at(_time(to, decisions))
    if found is None:
        what = "nothing was in force before the last change" if to is None else f"nothing was, {to}"
        raise Refused(f"{what}, as far as is kept: see tidemill registry history")
    return found


def _time(text: str, decisions: Decisions) -> int:
    """Unix ns; of a decision's time as `history` shows it, to the second, that decision's."""
    shown = [time for time in decisions.times if rfc3339(time) == text]
    if shown:
        return shown[-1]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"--to {text!r} is no time: write it as 2026-12-01T00:00:00Z") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return round(found.timestamp()) * SECOND


def _tell(outcome: Outcome, dry: bool, output: Form) -> int:
    decided, sentences = outcome.decided, outcome.sentences()
    if output == "json":
        told = {
            "decided": None if decided is None or dry else rfc3339(decided.deployed.decided),
            "how": None if decided is None else decided.how,
            "changes": [] if decided is None else _changes(decided.deployed, outcome.before),
            "sentences": sentences,
        }
        print(json.dumps(told, indent=2))
    elif decided is None:
        print("that is in force: nothing changes")
    else:
        if dry:
            print("nothing is done; now it would be:")
        many = len(decided.deployed.current) + len(decided.deployed.plan.derived)
        first = f"{many} definitions, the first ones, count from the start"
        print("\n".join(sentences or [first]))
    return FINE


def _tell_of_candidates(outcome: Outcome, plan: Plan, dry: bool) -> None:
    """What runs beside what, and what does not."""
    deployed = outcome.decided.deployed if outcome.decided else outcome.before
    assert deployed is not None  # without any it is refused
    there = {one.name for one in definitions_of(deployed)}
    new = [one.name for one in plan.definitions if one.name not in there]
    if new:
        note(f"{', '.join(new)}: nothing of that name is in force, so no candidate runs beside it")
    if pairs(deployed):
        if not dry:
            note("tidemill registry compare says how the numbers differ")
    else:
        note("no definition in force has another version than these say: there are no candidates")


def _wait(settings: Settings, outcome: Outcome, timeout: float) -> int:
    waited = asyncio.run(until_known(settings, outcome, timeout, note))
    if waited.behind:
        note("\n".join(f"not yet: {each}" for each in waited.behind))
        note(
            f"the change is in force, and nothing undoes it but another: who has not gone over in "
            f"{timeout:g} s does when it comes to it on the log"
        )
        return TIMED_OUT
    note(f"{waited.workers} workers know, the tasks of {waited.sources} partitions have gone over")
    return FINE


def _tell_of_files(settings: Settings, deployed: Deployment) -> None:
    try:
        names = differing(deployed, load_plan(settings))
    except DefinitionsError as error:
        note(f"files have mistakes: {str(error).splitlines()[0]}")
        return
    if names:
        note(
            f"files say otherwise of {', '.join(names)}. A stack that starts leaves that alone; "
            "tidemill registry apply puts in force what they say: put them right before"
        )


def _changes(now: Deployment, before: Deployment | None) -> list[dict[str, Any]]:
    """What differs, by name; `from` is when the new version counts, or the old one ends."""
    return [
        {
            "name": each.name,
            "old": each.was and each.was.version,
            "new": each.now and each.now.version,
            "from": None if each.since is None else rfc3339(each.since),
        }
        for each in differences(before, now)
    ] + [
        {
            "name": one.name,
            "derived": True,
            "old": was and was.version,
            "new": new and new.version,
            "from": None,
        }
        for was, new in derived_differences(before, now)
        if (one := new or was) is not None
    ]


def _row(decision: Decision, before: Deployment | None) -> dict[str, Any]:
    """A line of the history. before: what was in force, if that is kept."""
    deployed = decision.deployed
    found = differences(before, deployed) if before else []
    derived = derived_differences(before, deployed) if before else []
    since = [each.since for each in found if each.since is not None]
    how = f"rollback to {rfc3339(decision.back_to)}" if decision.back_to else decision.how
    return {
        "decided": rfc3339(deployed.decided),
        "how": how,
        "definitions": len(deployed.current) + len(deployed.plan.derived),
        "since": rfc3339(max(since)) if since else None,
        "changes": "; ".join(_brief(found, derived)) if before else "the first that is kept",
    }


def _brief(found: Sequence[Difference], derived: Sequence[DerivedDifference]) -> Iterator[str]:
    every = [(each.name, each.was is not None, each.now is not None) for each in found]
    every += [(one.name, was is not None, now is not None) for was, now in derived
              if (one := now or was) is not None]  # fmt: skip
    kinds = {
        "new": [name for name, was, _ in every if not was],
        "changed": [name for name, was, now in every if was and now],
        "gone": [name for name, _, now in every if not now],
    }
    for kind, names in kinds.items():
        if names:
            yield f"{kind}: {', '.join(names)}"
