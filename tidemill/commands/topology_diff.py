"""`tidemill topology manifest` and `diff`: what a new version of a topology would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streams.topology.manifest import differences, manifest
from streams.topology.plan import Plan
from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, CommandError
from tidemill.commands.output import Output, emit
from tidemill.product import product
from tidemill.topology_file import NoTopology, load
from tidemill.wiring import DefinitionsError, load_plan
from topologies.deployment import Deployment

PRODUCT = "tidemill.product"
"""The place of the product's own topology."""


def show_manifest(where: str = PRODUCT, /, *, settings: SettingsFile = None) -> int:
    """What a topology keeps, reads and writes, as JSON: save it with each release, for `diff`.

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon. By default the
        product's own.
    """
    print(json.dumps(_manifest(where, settings), indent=2))
    return 0


def diff(
    old: str,
    new: str = PRODUCT,
    /,
    *,
    output: Output = "table",
    settings: SettingsFile = None,
) -> int:
    """What becomes of each store and output when workers of NEW replace those of OLD.

    Ends with 1 if something is refused: workers of NEW would stop where they meet the state of OLD.

    Parameters
    ----------
    old:
        What runs: a .json that `manifest` wrote, a file.py or a module (shops.py:hours).
    new:
        What is to run; by default the product's own topology.
    """
    try:
        found = differences(_manifest(old, settings), _manifest(new, settings))
    except ValueError as error:
        raise CommandError(str(error), FAILED) from None
    rows: list[dict[str, Any]] = [
        {"what": each.what, "name": each.name, "outcome": each.outcome, "reason": each.reason}
        for each in found
    ]
    emit(rows, ("what", "name", "outcome", "reason"), output)
    return FAILED if any(each.outcome == "refused" for each in found) else 0


def plan_of(where: str, settings: Path | None) -> Plan:
    """The plan at a place; the product's is that of the deployment of a settings file.

    Raises:
        CommandError: There is none, or it cannot be planned.
    """
    try:
        if where == PRODUCT:
            chosen = settings_of(settings)
            return product(chosen, Deployment(load_plan(chosen)))
        return load(where)
    except (NoTopology, DefinitionsError) as error:
        raise CommandError(str(error), FAILED) from None


def _manifest(where: str, settings: Path | None) -> Any:
    if where.endswith(".json"):
        try:
            return json.loads(Path(where).read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{where}: {error}; write it with: manifest", FAILED) from None
    return manifest(plan_of(where, settings))
